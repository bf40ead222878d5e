"""Programs in a fork do what they would do by themselves, and never what their parent was about to do."""

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from portal.dev import forking, processes
from tests.servers.processes import wait_until

SAY = """
import os, signal, sys
print(sys.argv[1:], os.environ.get("GREETING"), os.getcwd(), os.environ.get("HOME"), sys.stdin.read() == "")
print(__name__, os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
print("wrong", file=sys.stderr)
"""


def run(folder: Path, program: str, *arguments: str, name: str = "part") -> tuple[int, str, str]:
    """How a program ended, and what it wrote."""
    file = folder / "program.py"
    file.write_text(program)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = forking.fork(
            name, [str(file), *arguments], env={"GREETING": "hello"}, cwd=folder, output=out.fileno(),
            errors=err.fileno(),
        )  # fmt: skip
        code = started.wait(10)
        texts = []
        for written in (out, err):
            written.seek(0)
            texts.append(written.read().decode())
    return code, texts[0], texts[1]


def test_it_is_a_process_of_its_own(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        code, out, err = run(tmp_path, SAY, "a", "b c")
        assert callable(signal.getsignal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert out.splitlines() == [f"['a', 'b c'] hello {tmp_path} None True", "__main__ True True"]
    assert (code, err) == (0, "wrong\n")
    assert os.environ.get("GREETING") is None
    assert sys.argv[1:] != ["a", "b c"]


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit('no such thing')", 1, "no such thing\n"),
        ("raise ValueError('a bug')", 1, "ValueError: a bug\n"),
        ("raise KeyboardInterrupt", 1, "KeyboardInterrupt\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
    ],
)
def test_its_end_is_known(tmp_path: Path, program: str, code: int, said: str) -> None:
    ended, out, err = run(tmp_path, program)
    assert (ended, out) == (code, "")
    assert err.endswith(said)


def test_it_is_listed_told_to_end_and_killed_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text("print('begun'); import time; time.sleep(60)")
    for end in (lambda one: processes.stop(one, seconds=10), processes.kill):
        with (tmp_path / "log").open("w+b") as log:
            started = forking.fork("a part", [str(file)], env={}, cwd=tmp_path, output=log.fileno())
            wait_until(lambda: (tmp_path / "log").read_text() == "begun\n", what="its first line")
            assert Path(f"/proc/{started.pid}/comm").read_text() == "a part\n"
            assert started.poll() is None
            end(started)
            assert started.poll() in (-signal.SIGTERM, -signal.SIGKILL)
