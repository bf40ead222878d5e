"""What `make run` tells the person at the terminal."""

import contextlib
import sys
import time

_COLOURS = {"web": "36", "worker": "35", "sites": "32", "redis": "33"}


def say(text: str) -> None:
    """Print at once. Raises BrokenPipeError when nobody reads any more."""
    print(text, flush=True)


def try_to_say(text: str) -> None:
    """Print if anybody still reads."""
    with contextlib.suppress(BrokenPipeError):
        say(text)


def show(name: str, line: bytes) -> None:
    """One line of a child's output, with the child's name before it."""
    label = f"{name:<6} |"
    if sys.stdout.isatty():
        label = f"\033[{_COLOURS[name]}m{label}\033[0m"
    say(f"{label} {line.decode(errors='replace').rstrip()}")


class step:  # noqa: N801  # reads as a verb in "with step(...)"
    """Says what is being done, and how long it took."""

    def __init__(self, title: str) -> None:
        self._title = title

    def __enter__(self) -> None:
        self._began = time.monotonic()
        say(f"{self._title} ...")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            say(f"  done in {time.monotonic() - self._began:.1f} s")
