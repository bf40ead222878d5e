"""Starting and ending the servers that tests use, each tied to the life of the test process."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from portal.dev import processes


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    death_signal: int = signal.SIGKILL,
) -> subprocess.Popen[bytes]:
    """Start a server whose output goes to `log`; should the tests die, it gets `death_signal`.

    One with children of its own needs a signal that it can pass on. Start servers from the main thread only:
    Linux ends the child together with the thread that started it.
    """
    with log.open("ab") as output:
        return processes.start(command, env=environment, cwd=cwd, output=output, death_signal=death_signal)


def stop(process: subprocess.Popen[bytes], *, seconds: float = 10, first: int = signal.SIGTERM) -> None:
    """End a server by its process id: asked first, killed with its children when it does not listen."""
    if process.poll() is None:
        processes.stop(process, seconds=seconds, first=first)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a server and its children at once, as a crash of the machine does."""
    if process.poll() is None:
        processes.kill(process)


def wait_until(ready: Callable[[], bool], *, seconds: float = 20, what: str, log: Path | None = None) -> None:
    """Wait for `ready()`; a time-out tells what was waited for and the end of the server's log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.02)
    raise TimeoutError(f"waited {seconds:.0f} s for {what}\n{tail(log)}")


def wait_for_server(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], *, seconds: float = 20, what: str, log: Path
) -> None:
    """Wait until a server is ready; fails at once, with its log, when it has ended instead."""

    def ready_or_gone() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{what} ended with code {process.returncode}\n{tail(log)}")
        return ready()

    wait_until(ready_or_gone, seconds=seconds, what=what, log=log)


def tail(log: Path | None) -> str:
    """The end of a log, for a failure's message."""
    return log.read_text(errors="replace")[-3000:] if log is not None and log.exists() else ""


def accepts_connections(port: int) -> bool:
    """Whether something listens on the loopback port."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True


def answers_over(path: Path) -> bool:
    """Whether a web server answers over the Unix socket: its file is there before anybody listens."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    try:
        connection.sock.settimeout(5)
        connection.sock.connect(str(path))
        connection.request("GET", "/")
        return connection.getresponse().status == http.HTTPStatus.OK
    finally:
        connection.close()


def clean_environment(**extra: str) -> dict[str, str]:
    """The variables a child needs and nothing of the portal's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, **extra}
