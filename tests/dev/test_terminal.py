"""What `make run` shows of its parts."""

import sys

import pytest

from portal.dev import launcher, terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_line_of_any_part_is_shown_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    for name in launcher._GRACE_SECONDS:
        terminal.show(name, b"caf\xc3\xa9 \xff\n")
        shown = capsys.readouterr().out
        assert name in shown
        assert shown.endswith(" café �\n")
        assert ("\033[" in shown) is is_terminal
