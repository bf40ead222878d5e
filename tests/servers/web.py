"""The portal itself as real processes: granian and worker.py, started with given settings, killed when asked."""

import http.client
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from redis import Redis
from redis.exceptions import RedisError
from rq import Worker

from portal.core.queues import QueueName
from portal.dev import launcher
from portal.dev.processes import descendants
from tests.servers import processes, warm
from worker import GROUPS

ROOT = warm.ROOT
T = TypeVar("T", bound="Process")


@dataclass
class Process:
    """One running part of the portal."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    process: warm.Forked | None = field(default=None)

    def start(self) -> None:
        """Start it, on the same port and settings each time, and wait until it works."""
        self.process = warm.start(self.command, log=self.log, environment=self.environment)
        processes.wait_for_server(self.process, self._is_ready, seconds=60, what=f"the {self.name}", log=self.log)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            processes.stop(self.process, seconds=30)
            self.process = None

    def kill(self) -> None:
        """End it and every process it has started, with SIGKILL."""
        if self.process is not None:
            processes.kill(self.process)
            self.process = None

    def output(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(errors="replace")

    def pids(self) -> set[int]:
        """Its process and all their children."""
        return {self.process.pid, *descendants(self.process.pid)} if self.process is not None else set()

    def _is_ready(self) -> bool:
        raise NotImplementedError


@dataclass
class Web(Process):
    """The web server."""

    port: int = 0

    @property
    def url(self) -> str:
        """Where it answers, without a slash at the end."""
        return f"http://localhost:{self.port}"

    def _is_ready(self) -> bool:
        return _status(self.port, "/healthz") == http.HTTPStatus.OK


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status
    except http.client.HTTPException:
        return None
    finally:
        connection.close()


@dataclass
class Sites(Web):
    """The server of the hosted sites, ready when it sends whoever asks for nothing to the portal."""

    def _is_ready(self) -> bool:
        return _status(self.port, "/") == http.HTTPStatus.FOUND


@dataclass
class WorkerProcess(Process):
    """The worker, ready when RQ knows every worker it has started."""

    expected: int = 1

    def _is_ready(self) -> bool:
        pids = self.pids()
        try:
            with Redis.from_url(self.environment["REDIS_URL"], socket_timeout=2) as connection:
                return sum(worker.pid in pids for worker in Worker.all(connection=connection)) >= self.expected
        except RedisError:
            return False


@contextmanager
def web(
    settings: Mapping[str, str], *, port: int | None = None, workers: int = 1, app: str = "wsgi:app"
) -> Iterator[Web]:
    """The web server with these settings; PORTAL_URL is its own address unless given."""
    with _folder() as folder:
        port = port or processes.free_port()
        command = launcher.web_command(port=port, workers=workers, app=app)
        environment = _environment({"PORTAL_URL": f"http://localhost:{port}", **settings})
        yield from _running(Web("web server", command, environment, folder / "web.log", port=port))


@contextmanager
def sites(settings: Mapping[str, str], *, port: int) -> Iterator[Sites]:
    """The hosted sites without nginx, as `make run` serves them."""
    with _folder() as folder:
        command = launcher.web_command(port=port, workers=1, app="portal.sites.embedded:app")
        yield from _running(Sites("sites", command, _environment(settings), folder / "sites.log", port=port))


@contextmanager
def worker(settings: Mapping[str, str], *arguments: str) -> Iterator[WorkerProcess]:
    """worker.py with these settings; it is ready when each of its groups of queues has an RQ worker."""
    names = arguments or tuple(QueueName)
    expected = sum(any(queue in names for queue in group) for group in GROUPS)
    with _folder() as folder:
        command = [sys.executable, "worker.py", *arguments]
        yield from _running(
            WorkerProcess("worker", command, _environment(settings), folder / "worker.log", expected=expected)
        )


def flask(settings: Mapping[str, str], *arguments: str, seconds: float = 120) -> None:
    """Run a flask command to its end; its failure is an error with its words."""
    with _folder() as folder:
        log = folder / "flask.log"
        command = [sys.executable, "-m", "flask", "--app", "wsgi", *arguments]
        done = warm.start(command, log=log, environment=_environment(settings))
        try:
            code = done.wait(seconds)
        finally:
            processes.kill(done)
        if code:
            raise RuntimeError(f"flask {' '.join(arguments)} ended with code {code}\n{processes.tail(log)}")


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    return processes.clean_environment(**{"PORTAL_ENV": "testing", "PYTHONUNBUFFERED": "1", **settings})


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="portal-run-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _running(part: T) -> Iterator[T]:
    try:
        part.start()
        yield part
    finally:
        part.stop()
