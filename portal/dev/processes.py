"""Child processes that never outlive their parent, however it ends. Tests start their servers with it too."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Protocol

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.02
# Loaded before any fork: a child between fork and exec must not import.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Process(Protocol):
    """A child of ours, in the words of Popen: a program of its own, or a fork."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, number: int, /) -> None: ...

    def terminate(self) -> None: ...


def start(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: int | IO[bytes] | None = None,
    errors: int | IO[bytes] | None = subprocess.STDOUT,
    death_signal: int = signal.SIGTERM,
    keep: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, so that Ctrl-C reaches only us; if we die it gets `death_signal`.

    It inherits the file descriptors in `keep`. Linux ties the child to the *thread* that started it: call this from
    one that stays.
    """
    return subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=errors,
        start_new_session=True,
        pass_fds=keep,
        preexec_fn=partial(die_with, os.getpid(), death_signal),  # noqa: PLW1509  # the only way to ask for it
    )


def stop(process: Process, *, seconds: float, first: int = signal.SIGTERM) -> bool:
    """Ask a child to end and wait; after `seconds` it and its descendants are killed. True if it ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(first)
    ended = wait(process, seconds)
    if not ended:
        kill(process)
    return ended


def wait(process: Process, seconds: float, give_up: Callable[[], bool] = lambda: False) -> bool:
    """Wait for a child's end; False after `seconds`, or as soon as `give_up()` says so."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > deadline or give_up():
            return False
        time.sleep(_POLL_SECONDS)
    return True


def kill(process: Process) -> None:
    """End a child and all its descendants at once."""
    for pid in [process.pid, *descendants(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, so that `kill_descendants` finds them."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants() -> int:
    """Kill whatever this process, or a child of its that is gone, has left running; answers how many."""
    killed: set[int] = set()
    while left := descendants(os.getpid()) - killed:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed |= left
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    return len(killed)


def descendants(ancestor: int) -> set[int]:
    """The process ids of a process's children, their children, and so on; not those of an orphan."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The fields are: pid, name in brackets (may hold any character), state, parent, and more.
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(status.parent.name))
    found: set[int] = set()
    queue = [ancestor]
    while queue:
        new = children.get(queue.pop(), [])
        found.update(new)
        queue.extend(new)
    return found


def call_itself(name: str) -> None:
    """Have this process listed under a name by ps and top (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def die_with(parent: int, death_signal: int) -> None:
    """Have this process get a signal when its parent, whose number is given, dies (Linux)."""
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    # The parent may have died before the line above; then no signal will ever come.
    if os.getppid() != parent:
        os._exit(1)
