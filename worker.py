"""The worker: `python worker.py` works on every queue, `python worker.py --queues deploy` on some.

Where there are several site hosts, the worker on each also listens to the host's own queue: `deploy-<its name>`.

The parent makes the application once and forks: an RQ worker for each kind of work that waits for somebody else, and
the ticker. What dies, it forks again; that is why it never has a thread, a connection or a lock of its own.
"""

import argparse
import ctypes
import gc
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.context import ForkProcess

import structlog
from flask import Flask
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from portal import create_app
from portal.core import db, periodic, queues
from portal.core.queues import QueueName
from portal.quotes.measuring import isolation

log = structlog.get_logger("portal.worker")

# Each group has an RQ worker of its own, so that a payment is settled at once whatever the others wait for: a provider,
# a mail server or a merchant's program that does not answer, or a long measurement. Decision 0029.
GROUPS = (
    (QueueName.INBOX,),
    (QueueName.WEBHOOKS,),
    (QueueName.MAIL,),
    (QueueName.DEFAULT,),
    (QueueName.FILES, QueueName.DEPLOY),
)
_MAINTENANCE_SECONDS = 30
_WORKER_TTL_SECONDS = 45
_GRACE_SECONDS = 20
# How soon a part that died is started again.
_LOOK_SECONDS = 1.0
# Waited for, not handled: they are blocked but in the workers, for which RQ handles them.
_ENDING = {signal.SIGTERM, signal.SIGINT}
_PR_SET_PDEATHSIG = 1
_HOST_QUEUE = re.compile(rf"{QueueName.DEPLOY}-[a-z0-9]{{1,9}}")


class PatientWorker(Worker):
    """Asks a Redis that was away every few seconds; by itself RQ would wait up to a minute longer than the outage."""

    max_connection_wait_time = 4.0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Work on the portal's queues.")
    parser.add_argument("--queues", nargs="+", type=_queue, metavar="QUEUE")
    parser.add_argument("--no-ticker", action="store_true", help="leave the periodic work to another worker host")
    arguments = parser.parse_args()
    return supervise(arguments.queues or every_queue_here(), with_ticker=not arguments.no_ticker)


def _queue(name: str) -> str:
    if name not in set(QueueName) and not _HOST_QUEUE.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{name} is no queue; there are {', '.join(QueueName)} and deploy-<host>")
    return name


def every_queue_here() -> list[str]:
    """All shared queues, and that of this site host, if it has a name."""
    host = os.environ.get("SITES_HOST_NAME", "").strip()
    return [*map(str, QueueName), *([queues.host_queue(host)] if host else [])]


def work(app: Flask, names: list[str]) -> int:
    """One RQ worker: forks for each job, so a job that dies takes nothing with it."""
    # What the work-horse of each job needs is ready before it is forked.
    db.meet(app)
    with app.app_context():
        connection = queues.connection()
    if QueueName.FILES in names:
        # What measures model files forks from here on.
        isolation.warm_up()
    rq_queues = [Queue(name, connection=connection, serializer=JSONSerializer) for name in names]
    worker = PatientWorker(
        rq_queues,
        connection=connection,
        serializer=JSONSerializer,
        maintenance_interval=_MAINTENANCE_SECONDS,
        worker_ttl=_WORKER_TTL_SECONDS,
    )
    try:
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("worker_without_redis", error=type(error).__name__)
        return 1
    return 0


def supervise(names: list[str], *, with_ticker: bool) -> int:
    """Fork the workers and the ticker, fork again what died, end everything in order on a signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    app = create_app()
    parts: dict[str, Callable[[], int]] = {
        f"worker of {', '.join(group)}": partial(work, app, group)
        for group in (_chosen(kinds, names) for kinds in GROUPS)
        if group
    }
    if with_ticker:
        parts["ticker"] = partial(tick, app)
    # What is here by now stays where it is, so that the children go on sharing it.
    gc.collect()
    gc.freeze()
    children = {name: _fork(name, part) for name, part in parts.items()}
    log.info("worker_started", queues=names)
    while not _is_told_to_end(within=_LOOK_SECONDS):
        for name, part in parts.items():
            if not children[name].is_alive():
                log.warning("worker_died", part=name, code=children[name].exitcode)
                children[name] = _fork(name, part)
    return _end(list(children.values()))


def tick(app: Flask) -> int:
    """The ticker: enqueues what is done again and again, until it is told to end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    with app.app_context():
        periodic.run_until(_is_told_to_end)
    return 0


def _is_told_to_end(*, within: float) -> bool:
    return signal.sigtimedwait(_ENDING, within) is not None


def _chosen(kinds: tuple[QueueName, ...], names: list[str]) -> list[str]:
    return [name for name in names if queues.kind_of(name) in kinds]


def _fork(name: str, part: Callable[[], int]) -> ForkProcess:
    child = multiprocessing.get_context("fork").Process(target=_live, args=(part,), name=name)
    child.start()
    return child


def _live(part: Callable[[], int]) -> None:
    # A killed parent leaves nothing behind (Linux).
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    sys.exit(part())


def _end(children: list[ForkProcess]) -> int:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        child.join(max(deadline - time.monotonic(), 0.1))
        if child.is_alive():
            child.kill()
            child.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
