"""A process that has imported the portal and forks what tests start of it: a start costs the start, not the import.

From there on the forked process does what the command would do that stands for it: a session of its own, its own
environment, its output in a file, `__main__` run from the beginning. That the commands themselves work, tests/dev and
tests/deploy try.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from portal.dev import processes
from tests import compiled_templates

ROOT = Path(__file__).resolve().parent.parent.parent
_LONGEST = 64 * 1024
_BOOT = "import sys; from tests.servers import warm; warm.serve(int(sys.argv[1]))"


class Forked:
    """A process whose parent is the warm one; to be used like a Popen."""

    def __init__(self, forker: "_Forker", pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._forker = forker

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._forker.ask({"reap": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended: its number may be another's by then."""
        if self.poll() is None:
            os.kill(self.pid, number)


@dataclass
class _Forker:
    process: "subprocess.Popen[bytes]"
    connection: socket.socket
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(self, request: dict[str, Any]) -> Any:
        with self.lock:
            self.connection.send(json.dumps(request).encode())
            answer = self.connection.recv(_LONGEST)
        if not answer:
            raise RuntimeError("the process that forks the tests' servers has ended")
        return json.loads(answer)


def start(command: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> Forked:
    """Start `python -m MODULE ...` or `python FILE ...`, which ends with SIGTERM should the tests die."""
    forker = _forker()
    wanted = {"arguments": command[1:], "environment": dict(environment), "log": str(log)}
    return Forked(forker, forker.ask(wanted))


@cache
def _forker() -> _Forker:
    """The one of this process, begun when it is needed first."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = processes.start(
            [sys.executable, "-c", _BOOT, str(theirs.fileno())],
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, cwd=ROOT, death_signal=signal.SIGKILL, keep=[theirs.fileno()],
        )  # fmt: skip
    forker = _Forker(process, ours)
    atexit.register(_end, forker)
    return forker


def _end(forker: _Forker) -> None:
    forker.connection.close()
    forker.process.wait()


# --- in the warm process ---


def serve(descriptor: int) -> None:
    """Fork for whoever holds the other end, until nobody does; in the children, run what was asked for."""
    for name in ("portal", "portal.serving", "worker"):
        importlib.import_module(name)
    compiled_templates.share()
    gc.collect()
    gc.freeze()
    parent = os.getpid()
    connection = socket.socket(fileno=descriptor)
    while asked := connection.recv(_LONGEST):
        request = json.loads(asked)
        if "reap" in request:
            answer = _reap(request["reap"])
        elif (answer := os.fork()) == 0:
            connection.close()
            _become(parent, **request)
            return
        connection.send(json.dumps(answer).encode())


def _reap(pid: int) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _become(parent: int, arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.setsid()
    processes.die_with(parent, signal.SIGTERM)
    with Path(log).open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    os.environ.clear()
    os.environ.update(environment)
    # It is read once, when it is imported.
    importlib.reload(importlib.import_module("portal.core.faults"))
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")
