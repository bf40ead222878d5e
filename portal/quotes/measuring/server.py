"""The warm process that forks a child for each file.

It is started with an empty environment, holds no secrets, has no web framework in memory and ends when nobody is left
who could ask it (see `isolation`). Client and server speak over a Unix socket that keeps messages apart: one JSON
request with the open file, then messages that begin with a letter: B (bytes of a picture or mesh), J (the answer,
last), X (the child died: how; from the server).
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from portal.quotes.measuring import answering, pictures, thumbnails, viewer
from portal.quotes.measuring.limits import Limits
from portal.quotes.measuring.outcomes import Refused

LONGEST_MESSAGE = 64 * 1024
_REQUEST_SECONDS = 2.0
_PEER = struct.Struct("3i")


@dataclass
class _Child:
    pid: int
    connection: socket.socket
    deadline: float


def main() -> None:
    """Serve until the pipe of life closes. Arguments: the descriptors of the listening socket and of that pipe."""
    listener = socket.socket(fileno=int(sys.argv[-2]))
    _Server(listener, int(sys.argv[-1])).run()


class _Server:
    def __init__(self, listener: socket.socket, life: int) -> None:
        self._listener = listener
        self._life = life
        self._children: dict[int, _Child] = {}
        self._wake, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Accept, fork, watch, bury."""
        signal.set_wakeup_fd(self._wake_write)
        signal.signal(signal.SIGCHLD, _noted)
        poll = select.poll()
        for descriptor in (self._listener.fileno(), self._life, self._wake):
            poll.register(descriptor, select.POLLIN)
        while True:
            events = dict(poll.poll(self._patience()))
            if self._life in events:
                self._end()
                return
            if self._wake in events:
                os.read(self._wake, 4096)
            for descriptor in events.keys() & self._children.keys():
                # Nobody waits for this answer any more.
                self._kill(self._children[descriptor])
            now = time.monotonic()
            for child in list(self._children.values()):
                if child.deadline <= now:
                    self._kill(child)
            for child in self._dead():
                poll.unregister(child.connection.fileno())
                del self._children[child.connection.fileno()]
                child.connection.close()
            if self._listener.fileno() in events and (born := self._accept()):
                self._children[born.connection.fileno()] = born
                # Without an event asked for, only the other side's leaving is told.
                poll.register(born.connection.fileno(), 0)

    def _patience(self) -> float | None:
        """Milliseconds until the next deadline."""
        if not self._children:
            return None
        return max(0.0, min(child.deadline for child in self._children.values()) - time.monotonic()) * 1000 + 1

    def _accept(self) -> _Child | None:
        connection, _address = self._listener.accept()
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        if _PEER.unpack(peer)[1] != os.getuid():
            connection.close()
            return None
        connection.settimeout(_REQUEST_SECONDS)
        try:
            message, files, _flags, _from = socket.recv_fds(connection, LONGEST_MESSAGE, 1)
            request = json.loads(message)
            limits = Limits(**request.pop("limits"))
        except (OSError, ValueError, TypeError, KeyError):
            connection.close()
            return None
        connection.settimeout(None)
        pid = os.fork()
        if pid == 0:
            _child(connection, files[0], request, limits)
        for descriptor in files:
            os.close(descriptor)
        return _Child(pid, connection, time.monotonic() + limits.wall_seconds)

    def _dead(self) -> Iterator[_Child]:
        """Bury children, and tell whoever waits for one that did not end well."""
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            if status != 0:
                note = json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode()
                # Should the other side have left, or take nothing: it sees the connection close.
                with contextlib.suppress(OSError):
                    child.connection.send(b"X" + note, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            yield child

    def _kill(self, child: _Child) -> None:
        for kill in (os.killpg, os.kill):
            try:
                kill(child.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue  # It has not yet a group of its own, or is gone.

    def _end(self) -> None:
        for child in self._children.values():
            self._kill(child)
            os.waitpid(child.pid, 0)


def _noted(_signal: int, _frame: FrameType | None) -> None:
    """The byte in the wake-up pipe is what matters."""


def _child(connection: socket.socket, descriptor: int, request: dict[str, Any], limits: Limits) -> None:
    """Everything that touches the stranger's file; never returns."""
    status = 70
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        kept = sorted((connection.fileno(), descriptor))
        os.closerange(3, kept[0])
        os.closerange(kept[0] + 1, kept[1])
        os.closerange(kept[1] + 1, os.sysconf("SC_OPEN_MAX") if kept[1] < 4096 else kept[1] + 2)
        os.environ.clear()
        limits.apply()
        for message in _messages(descriptor, request):
            connection.sendall(message)
        status = 0
    except BaseException:  # noqa: BLE001  # there is nobody above: the exit code says it
        status = 70
    finally:
        os._exit(status)


def _messages(descriptor: int, request: dict[str, Any]) -> Iterator[bytes]:
    """The answer to one request, in messages."""
    with os.fdopen(descriptor, "rb") as file:
        name, unit = str(request["name"]), request["unit"]
        answer: dict[str, Any] = {"is_done": True}
        try:
            match request["task"]:
                case "measure":
                    answer = answering.measure_file(file, name, unit=unit)
                case "thumbnail":
                    yield from _bytes(thumbnails.from_package(file, name))
                case "picture":
                    yield from _bytes(pictures.draw(answering.read_model(file, name, unit=unit)))
                case "mesh":
                    for piece in viewer.records(answering.read_model(file, name, unit=unit)):
                        yield from _bytes(piece)
        except Refused as refusal:
            answer = {"is_done": False, "code": refusal.code}
    content = json.dumps(answer, allow_nan=False).encode()
    if len(content) >= LONGEST_MESSAGE:
        raise ValueError("the answer is too long")
    yield b"J" + content


def _bytes(content: bytes | None) -> Iterator[bytes]:
    step = LONGEST_MESSAGE - 1
    for start in range(0, len(content or b""), step):
        yield b"B" + (content or b"")[start : start + step]
