"""Programs that run in a fork of a process that has imported the portal: a start costs the start, not the import.

`make run` starts its parts so, and the tests theirs; on a host systemd starts each by its command.
"""

import importlib
import os
import runpy
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from portal.dev import processes

_POLL_SECONDS = 0.02
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Forked:
    """A program in a fork of this process; to be used like a Popen."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(_POLL_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Signal it, unless it has ended: its number may be another's by then."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)


def fork(
    name: str, arguments: Sequence[str], *, env: Mapping[str, str], cwd: Path, output: int, errors: int | None = None
) -> Forked:
    """Start what `python` would make of these arguments, in a fork that is listed under `name`.

    Its output goes to a descriptor, its errors to another or the same. As with `processes.start`, it has a session of
    its own and ends when this process does.
    """
    parent = os.getpid()
    _flush()
    # What the parent does when it is told to end is not what the child would do.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    pid = os.fork()
    if pid == 0:
        _leave_with(partial(_be, parent, name, arguments, env, cwd, output, output if errors is None else errors))
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(pid)


def _be(
    parent: int, name: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, output: int, errors: int
) -> None:
    for number in _ENDING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    become(parent, env=env, output=output, errors=errors)
    processes.call_itself(name)
    os.chdir(cwd)
    run(arguments)


def _leave_with(work: Callable[[], None]) -> NoReturn:
    """In a fork: do it, and end as Python does; never back to what the parent was about to do."""
    code = 1
    try:
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001  # whatever it is, it ends here
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def become(parent: int, *, env: Mapping[str, str], output: int, errors: int) -> None:
    """In a fork: be a process of one's own, with this environment, nothing to read and these places to write to."""
    os.setsid()
    processes.die_with(parent, signal.SIGTERM)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (output, 1), (errors, 2)):
        os.dup2(ours, theirs)
    os.close(nothing)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    os.environ.clear()
    os.environ.update(env)
    # It is read once, when it is imported.
    importlib.reload(importlib.import_module("portal.core.faults"))


def run(arguments: Sequence[str]) -> None:
    """What `python` does with these arguments: `-m MODULE ...` or `FILE ...`."""
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")
