"""Periodic work: one list, run by the worker's ticker; a slot in Redis keeps two tickers from doing it twice.

The sweep is not on the list: it reads the database and wakes queues, so it works whatever Redis remembers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog
from redis.exceptions import RedisError
from rq import Queue
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from sqlalchemy.exc import SQLAlchemyError

from portal.core import clock, outbox, queues
from portal.core.db import db
from portal.core.queues import QueueName

log = structlog.get_logger(__name__)

_SWEEP_SECONDS = 2.0
_CLEAN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Periodic:
    """A job to enqueue once in every `every`."""

    job: str
    every: timedelta
    queue: str = QueueName.DEFAULT


_jobs: list[Periodic] = []
_sweeps: list[Callable[[], None]] = []


def every(interval: timedelta, job: str, *, queue: str = QueueName.DEFAULT) -> None:
    """Put a job on the list; registering it again changes nothing."""
    entry = Periodic(job, interval, queue)
    if entry not in _jobs:
        _jobs.append(entry)


def jobs() -> list[Periodic]:
    """The whole list."""
    return list(_jobs)


def sweeps(function: Callable[[], None]) -> Callable[[], None]:
    """Register something that looks for rows left behind; it must be quick and wake a queue rather than work."""
    if function not in _sweeps:
        _sweeps.append(function)
    return function


def sweep() -> None:
    """Wake every queue that has work waiting, as the database tells it."""
    at = clock.now()
    for queue in queues.names():
        if outbox.has_due(queue, at=at):
            queues.wake_again(queue)
    for function in _sweeps:
        try:
            function()
        except Exception as error:  # a bug in one domain must not stop what the others rely on
            log.error("sweep_failed", function=function.__qualname__, exc_info=error)
            db.session.rollback()


def tick() -> None:
    """Enqueue each periodic job once in its slot. Raises RedisError when Redis is away."""
    now = clock.now().timestamp()
    for entry in _jobs:
        queues.enqueue_once(entry.job, slot=str(int(now // entry.every.total_seconds())), queue=entry.queue)


def clean_up_lost_jobs() -> None:
    """Tell RQ to look for jobs whose worker died: by itself an idle worker does so only after many minutes."""
    connection = queues.connection()
    for name in queues.names():
        queue = Queue(name, connection=connection, serializer=JSONSerializer)
        StartedJobRegistry(queue=queue).cleanup()


class Ending(Protocol):
    """Waits for so many seconds, unless it is time to end: then it says so at once."""

    def __call__(self, *, within: float) -> bool: ...


def run_until(is_over: Ending) -> None:
    """The ticker's loop; whatever is away is waited for, nothing ends it but `is_over`."""
    cleaned_at = 0.0
    while True:
        try:
            sweep()
            tick()
            if time.monotonic() - cleaned_at > _CLEAN_SECONDS:
                clean_up_lost_jobs()
                cleaned_at = time.monotonic()
        except RedisError as error:
            log.warning("ticker_without_redis", error=type(error).__name__)
        except SQLAlchemyError as error:
            log.warning("ticker_without_database", error=type(error).__name__)
        finally:
            db.session.remove()
        if is_over(within=_SWEEP_SECONDS):
            return
