"""Named points where a test makes the process fail: raise, sleep or die. Nothing happens unless `PORTAL_FAULTS` is set.

`PORTAL_FAULTS="outbox-before-done=kill"`; several are separated by commas. `sleep:0.5` takes seconds;
`kill-once:FOLDER` kills the first process that comes there and leaves a file named for the point. A fault that is armed
through `arm()` lives in this process only.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InjectedFault(RuntimeError):
    """Raised by an armed fault point."""


def _parse(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


_armed: dict[str, str | Callable[[], None]] = dict(_parse(os.environ.get("PORTAL_FAULTS", "")))


def fault(point: str) -> None:
    """A place where things may go wrong; free when nothing is armed."""
    if not _armed:
        return
    action = _armed.get(point)
    if action is None:
        return
    if callable(action):
        action()
    elif action == "raise":
        raise InjectedFault(point)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.startswith("kill-once:"):
        try:
            Path(action.removeprefix("kill-once:"), point).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)
    elif action.startswith("sleep:"):
        time.sleep(float(action.removeprefix("sleep:")))
    else:
        raise ValueError(f"unknown fault action {action!r}")


@contextmanager
def arm(point: str, action: str | Callable[[], None]) -> Iterator[None]:
    """Arm one point for a test."""
    _armed[point] = action
    try:
        yield
    finally:
        _armed.pop(point, None)
