"""Stored files: written once, read in pieces, gone when deleted, and never outside their folder."""

import resource
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
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


def pieces(count: int, *, then: Exception | None = None) -> Iterator[bytes]:
    for number in range(count):
        yield bytes([number % 256]) * 65_536
    if then is not None:
        raise then


def stored(tmp_path: Path) -> list[str]:
    return sorted(
        str(path.relative_to(tmp_path / "storage")) for path in (tmp_path / "storage").rglob("*") if path.is_file()
    )


def test_a_file_can_be_stored_as_it_comes(store: Flask) -> None:
    files.put_stream("models/large", pieces(200))
    assert files.get("models/large") == b"".join(pieces(200))
    files.put_stream("models/small", iter([b"x"]))
    assert files.get("models/small") == b"x"


@pytest.mark.parametrize("count", [0, 3, 200])
def test_what_breaks_off_leaves_nothing(store: Flask, tmp_path: Path, count: int) -> None:
    class WentAway(Exception):
        pass

    with pytest.raises(WentAway):
        files.put_stream("models/a", pieces(count, then=WentAway()))
    assert stored(tmp_path) == []


def test_storing_holds_a_few_pieces_and_not_the_file(store: Flask) -> None:
    def growth(count: int) -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        files.put_stream(f"models/{count}", pieces(count))
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    growth(400)
    # 400 MB more is far above what is held in any case.
    assert growth(6_400) < 100_000


def test_a_copy_is_a_file_of_its_own(store: Flask) -> None:
    files.put("a", b"x")
    files.copy("a", "b")
    files.delete("a")
    assert files.get("b") == b"x"
    with pytest.raises(FileNotFoundError):
        files.copy("a", "c")


def test_a_stored_file_can_be_given_to_a_program(store: Flask) -> None:
    files.put("models/a.stl", b"solid")
    with files.local_path("models/a.stl") as path:
        assert path.read_bytes() == b"solid"
        assert path.suffix == ".stl"
    with pytest.raises(FileNotFoundError), files.local_path("models/b.stl"):
        pass


def test_old_files_are_found_and_half_written_ones_cleared(store: Flask, tmp_path: Path) -> None:
    files.put("models/a", b"x")
    half = tmp_path / "storage" / "models" / "b#1"
    half.write_bytes(b"half")
    now = datetime.now(UTC)
    assert list(files.names_before("models/", now + timedelta(seconds=5))) == ["models/a"]
    assert list(files.names_before("models/", now - timedelta(hours=1))) == []
    assert files.clear_unfinished("models", before=now - timedelta(hours=1)) == 0
    assert half.exists()
    assert files.clear_unfinished("models", before=now + timedelta(seconds=5)) == 1
    assert stored(tmp_path) == ["models/a"]
