"""Measuring strangers' files in a child of a warm process, under hard limits: what worker and commands call.

`warm_up()` in a long-lived process makes every later call cheap, also in what it forks. Without it the first call
starts the warm process, which ends together with the last process that could ask it.
"""

import atexit
import fcntl
import json
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import structlog

from portal.quotes.measuring.answer_schema import is_answer
from portal.quotes.measuring.limits import ENVIRONMENT, Limits
from portal.quotes.measuring.outcomes import READER_VERSION, english, outcome_of, problem

log = structlog.get_logger("portal.quotes.measuring")

# So many files are measured at once on this machine, whoever asks.
AT_ONCE = 2
LARGEST_PICTURE = 4 * 1024 * 1024
LARGEST_MESH = 112 * 1024 * 1024

_LONGEST_MESSAGE = 64 * 1024
_START_SECONDS = 30.0
# How much longer than the child's own time the answer may take to arrive.
_GRACE_SECONDS = 5.0
_SLOT_PAUSE_SECONDS = 0.02
# The child gets our package without `portal/__init__.py`, which brings the whole web application.
_BOOT = (
    "import sys, types;"
    "portal = types.ModuleType('portal'); portal.__path__ = [sys.argv[1]]; sys.modules['portal'] = portal;"
    "from portal.quotes.measuring import server; server.main()"
)
_PACKAGE = Path(__file__).resolve().parents[2]


class _Failed(Exception):
    """The child died, hung or said nothing sensible."""


def measure_isolated(
    path: str | Path, *, name: str | None = None, unit: str | None = None, limits: Limits | None = None
) -> dict[str, Any]:
    """What `measure()` says, from a child process. A child that dies or hangs is code `internal`, outcome manual.

    `name` tells the file's type when it is stored under a name without an ending; `unit` (mm, cm, inch, m) is what the
    customer says an STL or OBJ was drawn in. Waits while two other files are being measured. Never raises.
    """
    try:
        answer = _run("measure", path, name=name, unit=unit, limits=limits or Limits(), most_bytes=0, out=None)
    except (_Failed, OSError, ValueError) as error:
        log.warning("measuring_failed", task="measure", reason=str(error) or type(error).__name__)
        return _internal()
    if not is_answer(answer):
        log.warning("measuring_failed", task="measure", reason="odd answer")
        return _internal()
    return answer


def extract_thumbnail(path: str | Path, *, name: str | None = None, limits: Limits | None = None) -> bytes | None:
    """The picture that a 3MF brings along, stripped to what a browser needs (PNG or JPEG); None without a good one."""
    return _picture("thumbnail", path, name=name, unit=None, limits=limits)


def render_picture(
    path: str | Path, *, name: str | None = None, unit: str | None = None, limits: Limits | None = None
) -> bytes | None:
    """A picture of the model that we draw ourselves (PNG); None when the file cannot be read."""
    return _picture("picture", path, name=name, unit=unit, limits=limits)


def write_viewer_mesh(
    path: str | Path,
    out: BinaryIO,
    *,
    name: str | None = None,
    unit: str | None = None,
    limits: Limits | None = None,
    most_bytes: int = LARGEST_MESH,
) -> bool:
    """Write everything on the plate as one binary STL in millimetres; False when that failed and `out` is of no use."""
    try:
        answer = _run("mesh", path, name=name, unit=unit, limits=limits or Limits(), most_bytes=most_bytes, out=out)
    except (_Failed, OSError, ValueError) as error:
        log.warning("measuring_failed", task="mesh", reason=str(error) or type(error).__name__)
        return False
    return answer.get("is_done") is True


def warm_up() -> None:
    """Start the warm process now, for this process and for those that it will fork."""
    _connect().close()


def _picture(task: str, path: str | Path, *, name: str | None, unit: str | None, limits: Limits | None) -> bytes | None:
    with tempfile.SpooledTemporaryFile(max_size=LARGEST_PICTURE + 1) as out:
        try:
            _run(task, path, name=name, unit=unit, limits=limits or Limits(), most_bytes=LARGEST_PICTURE, out=out)
        except (_Failed, OSError, ValueError) as error:
            log.warning("measuring_failed", task=task, reason=str(error) or type(error).__name__)
            return None
        out.seek(0)
        return out.read() or None


def _internal() -> dict[str, Any]:
    found = problem("internal")
    return {
        "outcome": str(outcome_of("internal")),
        "code": "internal",
        "codes": ["internal"],
        "problems": [found],
        "message": english("internal", {}),
        "reader_version": READER_VERSION,
    }


# --- one request ---


def _run(
    task: str,
    path: str | Path,
    *,
    name: str | None,
    unit: str | None,
    limits: Limits,
    most_bytes: int,
    out: BinaryIO | Any | None,
) -> dict[str, Any]:
    request = {"task": task, "name": name or Path(path).name, "unit": unit, "limits": limits.as_dict()}
    with _opened(path) as descriptor, _slot(), _connect() as connection:
        socket.send_fds(connection, [json.dumps(request).encode()], [descriptor])
        return _answer(connection, limits.wall_seconds + _GRACE_SECONDS, most_bytes, out)


def _answer(connection: socket.socket, seconds: float, most_bytes: int, out: BinaryIO | Any | None) -> dict[str, Any]:
    """Read messages up to the answer. Raises _Failed."""
    deadline = time.monotonic() + seconds
    left = most_bytes
    while True:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            message = connection.recv(_LONGEST_MESSAGE + 1)
        except TimeoutError:
            raise _Failed("no answer in time") from None
        kind, content = message[:1], message[1:]
        if kind == b"B" and out is not None:
            left -= len(content)
            if left < 0:
                raise _Failed("too many bytes")
            out.write(content)
        elif kind == b"J":
            answer = json.loads(content, parse_constant=_no_constant)
            if not isinstance(answer, dict):
                raise _Failed("odd answer")
            return answer
        elif kind == b"X":
            raise _Failed(f"the child ended with {json.loads(content)['status']}")
        else:
            raise _Failed("the child ended" if not message else "odd answer")


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


@contextmanager
def _opened(path: str | Path) -> Iterator[int]:
    """An ordinary file, opened for reading; the child is given this and no name."""
    # Opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Failed("no ordinary file")
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _slot() -> Iterator[None]:
    """Wait for one of the places; the kernel gives it back when the process that holds it dies."""
    folder = Path(tempfile.gettempdir()) / f"portal-measuring-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():
        raise _Failed("the folder of locks belongs to somebody else")
    places = [os.open(folder / f"place-{n}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for n in range(AT_ONCE)]
    try:
        while not any(_is_locked(place) for place in places):
            time.sleep(_SLOT_PAUSE_SECONDS)
        yield
    finally:
        for place in places:
            os.close(place)


def _is_locked(place: int) -> bool:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- the warm process ---


@dataclass
class _Warm:
    """One warm process. Forked processes may ask it too; while any of them lives, its pipe stays open."""

    address: str
    process: "subprocess.Popen[bytes]"
    life: int
    # Who started it, and buries it.
    owner: int

    def end(self) -> None:
        """Let go of it."""
        os.close(self.life)
        if self.owner == os.getpid():
            try:
                self.process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


# Module state, because a fork hands it on: that is the point.
_warm: _Warm | None = None
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


def _connect() -> socket.socket:
    """A connection to the warm process, which is started when there is none."""
    global _warm
    with _lock:
        if _warm is not None:
            try:
                return _connected(_warm.address)
            except OSError:
                _warm.end()
                _warm = None
        _warm = _start()
        return _connected(_warm.address)


def _connected(address: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(_START_SECONDS)
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _start() -> _Warm:
    # A name that is no file: nothing is left behind. The server looks at who connects.
    address = f"\0portal-measuring-{secrets.token_hex(16)}"
    life_read, life_write = os.pipe2(os.O_CLOEXEC)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        listener.bind(address)
        listener.listen(64)
        process = subprocess.Popen(  # noqa: S603  # our own code
            [sys.executable, "-I", "-c", _BOOT, str(_PACKAGE), str(listener.fileno()), str(life_read)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            pass_fds=(listener.fileno(), life_read),
            start_new_session=True,
        )
    except OSError:
        os.close(life_write)
        raise
    finally:
        listener.close()
        os.close(life_read)
    return _Warm(address, process, life_write, os.getpid())


@atexit.register
def _end_at_exit() -> None:
    if _warm is not None:
        _warm.end()
