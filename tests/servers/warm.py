"""A process that has imported the portal and forks what tests start of it: a start costs the start, not the import.

From there on the forked process does what the command would do that stands for it, as the parts of `make run` do. That
the commands themselves work, tests/deploy tries.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy.orm import configure_mappers

from portal import config, create_app
from portal.dev import forking, processes
from tests import compiled_addresses, compiled_templates

ROOT = Path(__file__).resolve().parent.parent.parent
_LONGEST = 64 * 1024
# Of an application that nobody asks.
_SETTINGS = {
    "PORTAL_ENV": "testing",
    "SECRET_KEY": "a-secret-for-tests-only-0123456789abcdef",
    "DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:9/nothing",
    "REDIS_URL": "redis://127.0.0.1:9/0",
}
_BOOT = "import sys; from tests.servers import warm; warm.serve(int(sys.argv[1]))"


class Forked(forking.Forked):
    """A process whose parent is the warm one."""

    def __init__(self, forker: "_Forker", pid: int) -> None:
        super().__init__(pid)
        self._forker = forker

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        if self.returncode is None:
            self.returncode = self._forker.ask({"reap": self.pid})
        return self.returncode


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
    compiled_addresses.share()
    # What the first application of a process has to find and compile, those of the children find done.
    create_app(config.load(_SETTINGS))
    configure_mappers()
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
    with Path(log).open("ab", buffering=0) as file:
        forking.become(parent, env=environment, output=file.fileno(), errors=file.fileno())
    forking.run(arguments)
