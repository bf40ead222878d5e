"""Stored files: written once, read in pieces, gone when deleted, and never outside their folder."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask

from portal import create_app
from portal.core import files
from portal.core.db import dispose
from tests.conftest import settings_for
from tests.crowd import all_at_once


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Flask]:
    app = create_app(settings_for("sqlite://", "redis://127.0.0.1:9/0", tmp_path))
    with app.app_context():
        yield app
    dispose(app)


def test_what_is_put_can_be_read(store: Flask) -> None:
    files.put("models/a.stl", b"solid")
    assert files.get("models/a.stl") == b"solid"
    files.put("empty", b"")
    assert files.get("empty") == b""


def test_a_stored_file_never_changes(store: Flask) -> None:
    files.put("a", b"first")
    with pytest.raises(FileExistsError):
        files.put("a", b"second")
    assert files.get("a") == b"first"


def test_of_twenty_writers_of_one_name_one_wins(store: Flask) -> None:
    contents = [bytes([number]) * 100_000 for number in range(20)]
    results = all_at_once(store, [lambda content=content: files.put("a", content) for content in contents])  # type: ignore[misc]  # bound now
    assert results.count(None) == 1
    assert {type(result) for result in results if result is not None} == {FileExistsError}
    assert files.get("a") == contents[results.index(None)]


def test_a_large_file_comes_in_pieces(store: Flask) -> None:
    content = bytes(range(256)) * 4096 * 5
    files.put("large", content)
    pieces = list(files.stream("large"))
    assert b"".join(pieces) == content
    assert len(pieces) > 1
    assert max(len(piece) for piece in pieces) < len(content)


def test_what_is_not_there_says_so(store: Flask) -> None:
    for read in (files.get, lambda name: next(files.stream(name))):
        with pytest.raises(FileNotFoundError):
            read("nothing")


def test_deleting_twice_is_harmless(store: Flask) -> None:
    files.put("a", b"x")
    files.delete("a")
    files.delete("a")
    with pytest.raises(FileNotFoundError):
        files.get("a")
    files.put("a", b"again")
    assert files.get("a") == b"again"


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/etc/passwd", "..", "a//b", "a\x00b"])
def test_no_name_leads_out_of_the_folder(store: Flask, tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    before = {path for path in tmp_path.rglob("*") if "storage" not in path.parts}
    found = None
    with suppress(Exception):
        files.put(name, b"x")
    with suppress(Exception):
        found = files.get(name)
    assert found in (None, b"x")
    assert {path for path in tmp_path.rglob("*") if "storage" not in path.parts} == before
    assert (tmp_path / "outside").read_bytes() == b"secret"


def test_the_folder_is_made(store: Flask, tmp_path: Path) -> None:
    assert (tmp_path / "storage").is_dir()
