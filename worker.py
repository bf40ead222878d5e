"""The worker: `python worker.py` works on every queue, `python worker.py --queues deploy` on some.

Where there are several site hosts, the worker on each also listens to the host's own queue: `deploy-<its name>`.

The parent starts one RQ worker for quick work (webhooks, mail, the rest) and one for slow work (files, deployments), so
that a long measurement never holds up a payment; it runs the ticker and starts a worker again that died.
"""

import argparse
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

import structlog
from redis.exceptions import RedisError
from rq import Queue, Worker
from rq.serializers import JSONSerializer

from portal import create_app
from portal.core import periodic, queues
from portal.core.queues import QueueName
from portal.quotes.measuring import isolation

log = structlog.get_logger("portal.worker")

QUICK = (QueueName.WEBHOOKS, QueueName.MAIL, QueueName.DEFAULT)
SLOW = (QueueName.FILES, QueueName.DEPLOY)
_MAINTENANCE_SECONDS = 30
_WORKER_TTL_SECONDS = 45
_GRACE_SECONDS = 20
_PR_SET_PDEATHSIG = 1
_HOST_QUEUE = re.compile(rf"{QueueName.DEPLOY}-[a-z0-9]{{1,9}}")


class PatientWorker(Worker):
    """Asks a Redis that was away every few seconds; by itself RQ would wait up to a minute longer than the outage."""

    max_connection_wait_time = 4.0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Work on the portal's queues.")
    parser.add_argument("--queues", nargs="+", type=_queue, metavar="QUEUE")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-ticker", action="store_true", help="leave the periodic work to another worker host")
    arguments = parser.parse_args()
    wanted = arguments.queues or every_queue_here()
    if arguments.child:
        return work(wanted)
    return supervise(wanted, with_ticker=not arguments.no_ticker)


def _queue(name: str) -> str:
    if name not in set(QueueName) and not _HOST_QUEUE.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{name} is no queue; there are {', '.join(QueueName)} and deploy-<host>")
    return name


def every_queue_here() -> list[str]:
    """All shared queues, and that of this site host, if it has a name."""
    host = os.environ.get("SITES_HOST_NAME", "").strip()
    return [*map(str, QueueName), *([queues.host_queue(host)] if host else [])]


def work(names: list[str]) -> int:
    """One RQ worker: forks for each job, so a job that dies takes nothing with it."""
    app = create_app()
    with app.app_context():
        connection = queues.connection()
    if QueueName.FILES in names:
        # What measures model files forks from here on; the work-horse of each job finds it ready.
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
    """Start the workers, run the ticker, start again what died, end everything in order on a signal."""
    app = create_app()
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    groups = [group for group in (_chosen(QUICK, names), _chosen(SLOW, names)) if group]
    children = {tuple(group): _spawn(group) for group in groups}
    log.info("worker_started", queues=names)

    def look_after_children() -> bool:
        for group, child in children.items():
            if child.poll() is not None and not stopping:
                log.warning("worker_died", queues=list(group), code=child.returncode)
                children[group] = _spawn(list(group))
        return stopping

    if with_ticker:
        with app.app_context():
            periodic.run_forever(look_after_children)
    else:
        while not look_after_children():
            time.sleep(periodic.SWEEP_SECONDS)
    return _end(list(children.values()))


def _chosen(group: tuple[QueueName, ...], names: list[str]) -> list[str]:
    return [name for name in names if queues.kind_of(name) in group]


def _spawn(names: list[str]) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(Path(__file__).resolve()), "--child", "--queues", *names]
    # The command is our own, and this process has one thread at this point.
    return subprocess.Popen(command, preexec_fn=_die_with_parent)  # noqa: S603, PLW1509  # as said above


def _die_with_parent() -> None:
    """A killed supervisor leaves no worker behind (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end(children: "list[subprocess.Popen[bytes]]") -> int:
    for child in children:
        child.terminate()
    deadline = time.monotonic() + _GRACE_SECONDS
    for child in children:
        try:
            child.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
