"""RQ as an alarm clock: wake-up jobs that say "look", never work that exists only in Redis."""

import functools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ParamSpec, TypeVar, cast

import structlog
from flask import Flask, current_app, has_app_context
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from portal.core import context
from portal.core.db import db

P = ParamSpec("P")
R = TypeVar("R")

log = structlog.get_logger(__name__)


class QueueName(StrEnum):
    """Every queue there is; `worker.py` listens to all of them unless told otherwise."""

    # Applying what providers have said, which waits for nobody; asking them is WEBHOOKS.
    INBOX = "inbox"
    WEBHOOKS = "webhooks"
    MAIL = "mail"
    FILES = "files"
    DEPLOY = "deploy"
    DEFAULT = "default"


def host_queue(host: str) -> str:
    """The queue of one of several site hosts: each has to do the same work itself."""
    return f"{QueueName.DEPLOY}-{host}" if host else str(QueueName.DEPLOY)


def kind_of(queue: str) -> str:
    """The queue's name without a host's."""
    return str(QueueName.DEPLOY) if queue.startswith(f"{QueueName.DEPLOY}-") else queue


def names() -> list[str]:
    """Every queue of this installation, those of its site hosts too."""
    hosts = str(current_app.config["SITES_HOSTS"]).split(",")
    return [*map(str, QueueName), *(host_queue(host.strip()) for host in hosts if host.strip())]


DRAIN_OUTBOX = "portal.core.jobs.drain_outbox"
FORGET_DONE = "portal.core.jobs.forget_done_effects"
DRAIN_INBOX = "portal.payments.jobs.drain_inbox"
# A wake-up flag that outlives its job would silence the queue for good. The sweeper takes it away where the queue is
# empty; this bounds the silence where other jobs wait.
_FLAG_SECONDS = 20
# How long wake-ups are gathered: short beside the work they announce, long beside a flood of webhooks.
_GATHER_SECONDS = 0.02
_JOB_SECONDS = 180
_RESULT_SECONDS = 60
_FAILURE_SECONDS = 7 * 24 * 3600

_app: Flask | None = None


def init_app(app: Flask) -> None:
    """Attach Redis to the application. Nothing is contacted before it is needed."""
    global _app
    _app = app
    app.extensions["redis"] = Redis.from_url(
        app.config["REDIS_URL"], socket_timeout=2, socket_connect_timeout=1, health_check_interval=30
    )
    app.extensions["gathered_wake_ups"] = GatheredWakeUps()


def connection() -> "Redis":
    """The application's Redis client."""
    return cast("Redis", current_app.extensions["redis"])


def wake(queue: str, job: str = DRAIN_OUTBOX) -> bool:
    """Make sure that a job will soon look for work of `queue`; many calls make one job.

    Returns False when Redis is away: the rows are in the database and the sweeper asks again.
    """
    return _wake(connection(), queue, job)


def wake_again(queue: str, job: str = DRAIN_OUTBOX) -> None:
    """As `wake`, for the sweeper, which has seen work wait: where no wake-up is in the queue, another is sent.

    The one before has ended with the process that took it up. Should it only be on its way, there is one look too many.
    """
    redis = connection()
    try:
        if Queue(queue, connection=redis, serializer=JSONSerializer).is_empty():
            redis.delete(_flag(queue, job))
    except RedisError as error:
        log.warning("wake_up_failed", queue=queue, error=type(error).__name__)
        return
    wake(queue, job)


def wake_often(queue: str, job: str = DRAIN_OUTBOX) -> None:
    """As `wake`, for callers that come by the hundred a second: call it after the commit."""
    cast("GatheredWakeUps", current_app.extensions["gathered_wake_ups"]).wake(connection(), queue, job)


def _wake(redis: "Redis", queue: str, job: str) -> bool:
    try:
        # As the bare command: the wake-up is a tenth of a webhook, and half of that was option handling.
        if not cast("Any", redis).execute_command("SET", _flag(queue, job), "1", "NX", "EX", _FLAG_SECONDS):
            return True
        Queue(queue, connection=redis, serializer=JSONSerializer).enqueue(
            job,
            queue,
            job_timeout=_JOB_SECONDS,
            result_ttl=_RESULT_SECONDS,
            failure_ttl=_FAILURE_SECONDS,
        )
    except RedisError as error:
        log.warning("wake_up_failed", queue=queue, error=type(error).__name__)
        return False
    return True


@dataclass(slots=True)
class _Moment:
    """When a queue was last woken from this process, and the wake-up that is still to come."""

    last: float = float("-inf")
    planned: threading.Timer | None = None


@dataclass
class GatheredWakeUps:
    """Wake-ups of one process: the first goes out at once, those that follow closely are gathered into one.

    A gathered wake-up always goes out after the commits of all who asked for it. Should the process die before, the
    sweeper finds their rows, as it does after a death between commit and wake-up.
    """

    _moments: dict[tuple[int, str, str], _Moment] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wake(self, redis: "Redis", queue: str, job: str) -> None:
        """Wake the queue now, or within a fiftieth of a second."""
        with self._lock:
            # A forked process inherits the moments but not the threads.
            moment = self._moments.setdefault((os.getpid(), queue, job), _Moment())
            if moment.planned is not None:
                return
            now = time.monotonic()
            wait = moment.last + _GATHER_SECONDS - now
            if wait > 0:
                moment.planned = threading.Timer(wait, self._wake_gathered, (redis, moment, queue, job))
                moment.planned.start()
                return
            moment.last = now
        _wake(redis, queue, job)

    def wait(self) -> None:
        """Return when no wake-up is planned any more."""
        for moment in list(self._moments.values()):
            planned = moment.planned
            if planned is not None:
                planned.join()

    def _wake_gathered(self, redis: "Redis", moment: _Moment, queue: str, job: str) -> None:
        with self._lock:
            # First, so that whoever commits from here on plans another one.
            moment.planned = None
            moment.last = time.monotonic()
        _wake(redis, queue, job)


def awake(queue: str, job: str = DRAIN_OUTBOX) -> None:
    """Called first by a wake-up job: from here on a new row needs a new wake-up."""
    try:
        connection().delete(_flag(queue, job))
    except RedisError as error:
        log.warning("wake_up_flag_stuck", queue=queue, error=type(error).__name__)


def _flag(queue: str, job: str) -> str:
    return f"wake:{job}:{queue}"


def enqueue_once(job: str, *, slot: str, queue: str = QueueName.DEFAULT) -> bool:
    """Enqueue a periodic job once per slot, whoever else runs a ticker. Raises RedisError when Redis is away."""
    redis = connection()
    if not redis.set(f"periodic:{job}:{slot}", "1", nx=True, ex=24 * 3600):
        return False
    Queue(queue, connection=redis, serializer=JSONSerializer).enqueue(
        job, job_timeout=_JOB_SECONDS, result_ttl=_RESULT_SECONDS, failure_ttl=_FAILURE_SECONDS
    )
    return True


def job(function: Callable[P, R]) -> Callable[P, R]:
    """Mark an RQ entry point: gives it an application context, a request id and a clean session."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        context.begin()
        if has_app_context():
            return function(*args, **kwargs)
        if _app is None:
            raise RuntimeError("no application was created in this process")
        with _app.app_context():
            try:
                return function(*args, **kwargs)
            finally:
                db.session.remove()

    cast("Any", run).is_job = True
    return run
