"""Starts Redis, the database's migrations, sites, web and worker; shows their output; ends them all together."""

import contextlib
import fcntl
import http.client
import os
import re
import selectors
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from portal.dev import forking, processes, settings, valkey
from portal.dev.terminal import say, show, step, try_to_say

ROOT = Path(__file__).resolve().parent.parent.parent
_HOST = "127.0.0.1"
_READY_SECONDS = 90
_REDIS_SECONDS = 20
_LEFTOVERS_SECONDS = 30
_GRACE_SECONDS = {"sites": 10, "web": 10, "worker": 20, "redis": 10}
_RULE = "-" * 72


class CannotStart(Exception):
    """The portal cannot run here as asked; the message is for the person at the terminal."""


class Stopped(BaseException):
    """Somebody asked us to end."""


@dataclass
class Child:
    """One of the programs that make up the portal; a quiet one's last lines are shown only when it fails."""

    name: str
    process: processes.Process
    output: IO[bytes]
    is_quiet: bool = False
    unfinished: bytes = b""
    kept: deque[bytes] = field(default_factory=lambda: deque(maxlen=30))

    def take(self, line: bytes) -> None:
        """Show a line that it has written, or keep it."""
        if self.is_quiet:
            self.kept.append(line)
        else:
            show(self.name, line)

    def tell(self) -> None:
        """Show what was kept: it did not end as it should."""
        while self.kept:
            show(self.name, self.kept.popleft())


class Launcher:
    """The portal on one machine: `run()` returns the exit code when everything has ended."""

    def __init__(self, *, data: Path, port: int, sites_port: int, given: Mapping[str, str]) -> None:
        self._data = data
        self._port = port
        self._sites_port = sites_port
        self._given = given
        self._env: dict[str, str] = {}
        self._lock = -1
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._hurry = False
        self._log_ins = ""

    def run(self) -> int:
        """Start everything, stay until asked to stop or until a part ends by itself, then end the rest."""
        processes.adopt_orphans()
        try:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._on_first_signal)
            self._data.mkdir(parents=True, exist_ok=True)
            # The children end inside the lock: whoever starts next must not meet their sockets and files.
            with _only_one(self._data, self._port) as lock:
                self._lock = lock
                return self._serve_and_stop()
        except CannotStart as error:
            say(f"The portal did not start: {error}")
            return 1
        except Stopped:
            return 0

    def _serve_and_stop(self) -> int:
        try:
            return self._serve()
        except CannotStart as error:
            try_to_say(f"The portal did not start: {error}")
            return 1
        except Stopped:
            return 0
        except BrokenPipeError:
            return 1  # Nobody reads our output any more: there is nobody to tell, only children to end.
        finally:
            self._stop_all()

    def _serve(self) -> int:
        _check_free(self._port)
        _check_free(self._sites_port, "SITES_PORT")
        try:
            self._env = settings.environment(
                data=self._data,
                port=self._port,
                sites_port=self._sites_port,
                given=self._given,
                env_file=ROOT / ".env",
            )
        except settings.BadEnvironmentFile as error:
            raise CannotStart(str(error)) from error
        self._start_redis()
        self._prepare_data()
        self._start_sites()
        self._start_web_and_worker()
        self._announce()
        return self._watch()

    # Starting

    def _start_redis(self) -> None:
        if self._env.get("REDIS_URL"):
            say("Using the Redis of REDIS_URL")
            return
        with step("Starting the embedded Redis"):
            try:
                server = valkey.find_server()
                folder = self._data / server.name
                folder.mkdir(mode=0o700, exist_ok=True)
                address = valkey.socket_for(self._data)
            except (valkey.NoServer, OSError) as error:
                raise CannotStart(str(error)) from error
            child = self._spawn("redis", valkey.command(server, address, folder), is_quiet=True)
            deadline = time.monotonic() + _REDIS_SECONDS
            while not valkey.answers(address):
                self._pump(0.05)
                self._check_alive(child)
                if time.monotonic() > deadline:
                    raise CannotStart(f"the embedded Redis did not answer within {_REDIS_SECONDS} s")
            self._env["REDIS_URL"] = f"unix://{address}"

    def _prepare_data(self) -> None:
        with step("Bringing the database up to date"):
            self._flask("db", "upgrade")
        with step("Loading the demo shop"):
            self._log_ins = self._flask("load-demo")

    def _flask(self, *arguments: str) -> str:
        """Run a flask command to its end; its output is shown only when it fails."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = forking.fork(
                "flask", ["-m", "flask", "--app", "wsgi", *arguments],
                env=self._env, cwd=ROOT, output=out.fileno(), errors=err.fileno(),
            )  # fmt: skip
            code = process.wait()
            said, complained = (_all_of(file) for file in (out, err))
        if code:
            raise CannotStart(f"`flask {' '.join(arguments)}` failed.\n{(said + complained).rstrip()}")
        return said

    def _start_sites(self) -> None:
        """The hosted sites' own server, before the worker that deploys onto it and looks whether it answers."""
        with step("Starting the hosted sites"):
            sites = self._fork(
                "sites", web_command(port=self._sites_port, workers=1, app="portal.sites.embedded:app")[1:]
            )
            deadline = time.monotonic() + _READY_SECONDS
            while not _answers(self._sites_port, "/"):
                self._pump(0.2)
                self._check_alive(sites)
                if time.monotonic() > deadline:
                    raise CannotStart(f"the server of the hosted sites was not ready within {_READY_SECONDS} s")

    def _start_web_and_worker(self) -> None:
        with step("Starting web and worker"):
            web = self._fork("web", web_command(port=self._port)[1:])
            worker = self._fork("worker", ["worker.py"])
            deadline = time.monotonic() + _READY_SECONDS
            while not _is_ready(self._port):
                self._pump(0.2)
                self._check_alive(web)
                self._check_alive(worker)
                if time.monotonic() > deadline:
                    raise CannotStart(f"the web server was not ready within {_READY_SECONDS} s")

    def _spawn(self, name: str, command: Sequence[str | Path], *, is_quiet: bool = False) -> Child:
        """Start a program of somebody else's."""
        # Killed, we let go of the lock; the children, who inherit it, hold it until the last has ended.
        return self._watched(
            name,
            lambda output: processes.start(command, env=self._env, cwd=ROOT, output=output, keep=(self._lock,)),
            is_quiet=is_quiet,
        )

    def _fork(self, name: str, arguments: Sequence[str]) -> Child:
        """Start a part of the portal, which is imported already. It has the lock as well."""
        return self._watched(name, lambda output: forking.fork(name, arguments, env=self._env, cwd=ROOT, output=output))

    def _watched(self, name: str, start: Callable[[int], processes.Process], *, is_quiet: bool = False) -> Child:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = start(writing)
        finally:
            os.close(writing)
        child = Child(name, process, os.fdopen(reading, "rb"), is_quiet)
        self._children.append(child)
        self._selector.register(child.output, selectors.EVENT_READ, child)
        return child

    def _check_alive(self, child: Child) -> None:
        code = child.process.poll()
        if code is not None:
            self._drain(child)
            child.tell()
            raise CannotStart(f"{child.name} ended {_how(code)}; its own words are above")

    def _announce(self) -> None:
        url = self._env["PORTAL_URL"]
        lines = [_RULE, "The portal is ready.", "", f"  Shop         {url}", f"  Back office  {url}/admin"]
        lines.append(f"  Sites        {url}/sites")
        if self._env["EMAIL_BACKEND"] == "console":
            lines.append(f"  Mailbox      {url}/dev/mailbox")
        lines += ["", *(f"  {line}".rstrip() for line in self._log_ins.strip().splitlines())]
        lines += ["", f"  Data is kept in {_shown(self._data)}. Stop with Ctrl-C.", _RULE]
        say("\n".join(lines))

    # Running

    def _watch(self) -> int:
        """Pass on the children's output until one ends; a part that is gone is never restarted in silence."""
        while True:
            self._pump(0.5)
            for child in self._children:
                code = child.process.poll()
                if code is not None:
                    self._drain(child)
                    child.tell()
                    say(f"{child.name} ended {_how(code)}. Stopping the rest; `make run` starts again.")
                    return 1

    def _pump(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            self._read(key.data)

    def _read(self, child: Child) -> bool:
        """Show what a child has written; False at its end."""
        try:
            block = os.read(child.output.fileno(), 65536)
        except BlockingIOError:
            return False
        if not block:
            with contextlib.suppress(KeyError):
                self._selector.unregister(child.output)
            return False
        *lines, child.unfinished = (child.unfinished + block).split(b"\n")
        for line in lines:
            child.take(line)
        return True

    def _drain(self, child: Child) -> None:
        while self._read(child):
            pass
        if child.unfinished:
            child.take(child.unfinished)
            child.unfinished = b""

    # Stopping

    def _on_first_signal(self, _number: int, _frame: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_next_signal)
        raise Stopped

    def _on_next_signal(self, _number: int, _frame: object) -> None:
        self._hurry = True

    def _stop_all(self) -> None:
        """End web, then worker, then the rest: nothing loses what it still talks to. A second Ctrl-C cuts it short."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_next_signal)
        order = {"web": 0, "worker": 1, "sites": 2, "redis": 3}
        said = False
        for child in sorted(self._children, key=lambda child: order[child.name]):
            if child.process.poll() is not None:
                continue
            if not said:
                try_to_say("\nStopping ...")
                said = True
            self._stop(child)
        processes.kill_descendants()
        if said:
            try_to_say("Stopped.")

    def _stop(self, child: Child) -> None:
        child.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS[child.name]
        while child.process.poll() is None and time.monotonic() < deadline and not self._hurry:
            with contextlib.suppress(BrokenPipeError):
                self._pump(0.05)
        if child.process.poll() is None:
            try_to_say(f"{child.name} did not end by itself and was killed.")
            processes.kill(child.process)
        with contextlib.suppress(BrokenPipeError):
            self._drain(child)


def web_command(*, port: int, host: str = _HOST, workers: int = 2, app: str = "wsgi:app") -> list[str]:
    """The web server as `make run` starts it; deploy/systemd starts it alike. Other applications are not the portal."""
    server = "portal.serving" if app == "wsgi:app" else "granian"
    return [
        sys.executable, "-m", server, "--interface", "wsgi", "--http", "1", "--no-ws", "--host", host,
        "--port", str(port), "--workers", str(workers), "--blocking-threads", "4", "--workers-kill-timeout", "3",
        "--log-level", "warning", app,
    ]  # fmt: skip


@contextlib.contextmanager
def _only_one(data: Path, port: int) -> Iterator[int]:
    """Hold the data folder; gives the lock's descriptor. Raises CannotStart when another portal has the folder."""
    with (data / "running").open("a+") as lock:
        _take(lock, data)
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, http://localhost:{port}")
        lock.flush()
        yield lock.fileno()


def _take(lock: IO[str], data: Path) -> None:
    deadline = time.monotonic() + _LEFTOVERS_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = lock.read().strip() or "another process"
            # A killed one is gone while its children still end; that takes a moment.
            pid = re.match(r"process (\d+)", other)
            if pid and not Path("/proc", pid[1]).exists() and time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise CannotStart(
                f"a portal already runs on {_shown(data)} ({other}). Stop that one first,"
                " or start this one on a folder of its own: python -m portal.dev --data FOLDER"
            ) from None
        return


def _check_free(port: int, name: str = "PORT") -> None:
    """Raises CannotStart when somebody listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except PermissionError as error:
            raise CannotStart(f"port {port} needs root. Choose one above 1023: make run {name}=8010") from error
        except OSError as error:
            raise CannotStart(f"port {port} is in use. Choose another: make run {name}={port + 10}") from error


def _is_ready(port: int) -> bool:
    return _answers(port, "/readyz", http.HTTPStatus.OK)


def _answers(port: int, path: str, wanted: int | None = None) -> bool:
    """Whether a server gives an answer, or this one."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status == wanted or wanted is None
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _all_of(file: IO[bytes]) -> str:
    """What was written to a file by whoever had its descriptor."""
    file.seek(0)
    return file.read().decode(errors="replace")


def _how(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by signal {signal.Signals(-code).name}"


def _shown(path: Path) -> str:
    """A path as short as it can be said."""
    return f"{path.relative_to(ROOT)}/" if path.is_relative_to(ROOT) else f"{path}/"
