"""scripts/bootstrap.py: each step is done once, done again when its inputs change, and fails with a reason."""

import json
import sys
from pathlib import Path

import pytest

from scripts import bootstrap

PO = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n\nmsgid "Cart"\nmsgstr "{0}"\n'


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout of which bootstrap knows nothing yet, with this test's own Python as its environment."""
    (tmp_path / ".venv").mkdir()
    for name, path in {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "STAMPS": tmp_path / ".venv" / "stamps.json",
        "PYTHON": Path(sys.executable),
        "VENDOR": tmp_path / "static" / "vendor",
        "TRANSLATIONS": tmp_path / "translations",
    }.items():
        monkeypatch.setattr(bootstrap, name, path)
    return tmp_path


@pytest.fixture
def polish(checkout: Path) -> Path:
    source = checkout / "translations" / "pl" / "LC_MESSAGES" / "messages.po"
    source.parent.mkdir(parents=True)
    source.write_text(PO.format("Koszyk"))
    return source


def compile_once() -> bool:
    """Whether there was anything to do."""
    stamps = bootstrap.Stamps()
    bootstrap.compile_translations(stamps)
    return stamps.changed


def test_translations_are_compiled_once_and_again_when_they_change_or_vanish(polish: Path) -> None:
    compiled = polish.with_suffix(".mo")
    assert compile_once()
    assert b"Koszyk" in compiled.read_bytes()
    assert not compile_once()
    polish.write_text(PO.format("Kosz"))
    assert compile_once()
    assert b"Koszyk" not in compiled.read_bytes()
    compiled.unlink()
    assert compile_once()
    assert compiled.exists()


def test_a_failed_step_is_told_with_its_output_and_tried_again(polish: Path, checkout: Path) -> None:
    polish.write_bytes(b'msgid "Cart"\nmsgstr "\xff\xfe"\n')
    for _ in range(2):
        with pytest.raises(bootstrap.SetupFailed, match=r"compiling translations/pl.*failed \(exit code"):
            compile_once()


def test_a_program_that_is_not_there_is_named(checkout: Path) -> None:
    with pytest.raises(bootstrap.SetupFailed, match="building: nothing-like-this cannot be started"):
        bootstrap.run(["nothing-like-this"], "building")


def test_damaged_stamps_mean_that_everything_is_due(polish: Path, checkout: Path) -> None:
    compile_once()
    (checkout / ".venv" / "stamps.json").write_text('{"translations": ')
    assert compile_once()


def test_a_missing_lock_file_is_named(checkout: Path) -> None:
    with pytest.raises(bootstrap.SetupFailed, match=r"requirements\.txt cannot be read"):
        bootstrap.digest([checkout / "requirements.txt"])


def test_two_files_that_swap_their_contents_count_as_changed(checkout: Path) -> None:
    first, second = checkout / "a", checkout / "b"
    first.write_text("1")
    second.write_text("22")
    before = bootstrap.digest([first, second])
    first.write_text("12")
    second.write_text("2")
    assert bootstrap.digest([first, second]) != before


def test_a_built_file_that_vanished_is_built_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor = checkout / "static" / "vendor"
    for name in ("package.json", "package-lock.json", "node_modules/.package-lock.json"):
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("{}")
    built: list[str] = []

    def fake_run(command: list[str | Path], what: str, environment: object = None) -> None:
        built.append(what)
        vendor.mkdir(parents=True, exist_ok=True)
        (vendor / "htmx.min.js").write_text("")
        (vendor / "manifest.json").write_text(json.dumps({"htmx.min.js": {}}))

    monkeypatch.setattr(bootstrap, "run", fake_run)
    monkeypatch.setattr(bootstrap, "find_node", lambda stamps: ("node", {}))
    for _ in range(2):
        bootstrap.build_assets(bootstrap.Stamps())
    assert built == ["installing the front-end packages", "building static/vendor"]
    (vendor / "htmx.min.js").unlink()
    bootstrap.build_assets(bootstrap.Stamps())
    assert built[2:] == ["building static/vendor"]


@pytest.mark.parametrize(
    ("answer", "works"), [("v16.20.0", False), ("v18.0.0", True), ("v24.1.0", True), ("v9.0.0", False), ("?", False)]
)
def test_an_old_or_broken_node_does_not_count(tmp_path: Path, answer: str, *, works: bool) -> None:
    for name in ("node", "npm"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho '{answer}'\n")
        program.chmod(0o755)
    assert bootstrap.node_works(str(tmp_path)) is works
    (tmp_path / "npm").unlink()
    assert not bootstrap.node_works(str(tmp_path))
