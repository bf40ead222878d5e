"""RQ as an alarm clock: wake-up jobs that say "look", never work that exists only in Redis."""

import functools
from collections.abc import Callable
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

    WEBHOOKS = "webhooks"
    MAIL = "mail"
    FILES = "files"
    DEPLOY = "deploy"
    DEFAULT = "default"


DRAIN_OUTBOX = "portal.core.jobs.drain_outbox"
FORGET_DONE = "portal.core.jobs.forget_done_effects"
DRAIN_INBOX = "portal.payments.jobs.drain_inbox"
# A wake-up flag that outlives its job would silence the queue for good; this bounds the silence.
_FLAG_SECONDS = 20
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


def connection() -> "Redis":
    """The application's Redis client."""
    return cast("Redis", current_app.extensions["redis"])


def wake(queue: str, job: str = DRAIN_OUTBOX) -> bool:
    """Make sure that a job will soon look for work of `queue`; many calls make one job.

    Returns False when Redis is away: the rows are in the database and the sweeper asks again.
    """
    try:
        redis = connection()
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
