"""What is different between two versions: every file by its pieces, and never more than a page can hold."""

import pytest
from flask import Flask

from portal.core import files
from portal.sites import storage
from portal.sites.changes import comparing
from portal.sites.changes.comparing import Differences, compare
from tests.sites.support import FILES, make_site, make_version


def kinds(found: Differences) -> dict[str, str]:
    return {piece.path: str(piece.kind) for piece in found.pieces}


def test_each_file_says_what_became_of_it(app: Flask) -> None:
    site = make_site()
    first = make_version(site, {**FILES, "logo.png": b"\x89PNG 1"})
    second = make_version(
        site, {"css/site.css": b"h1 { color: black }", "new.txt": b"new\nlines", "logo.png": b"\x89PNG 2"},
        based_on=first, removed=["about/index.html"],
    )  # fmt: skip
    found = compare(first, second)
    assert kinds(found) == {
        "about/index.html": "removed", "css/site.css": "changed", "logo.png": "replaced", "new.txt": "new file",
    }  # fmt: skip
    lines = {piece.path: piece.lines for piece in found.pieces}
    assert lines["css/site.css"] == ("-h1 { color: brown }", "+h1 { color: black }")
    assert lines["new.txt"] == ("+new", "+lines")
    assert lines["logo.png"] == lines["about/index.html"] == ()
    assert [piece.number for piece in found.pieces] == [1, 2, 3, 4]
    assert found.more_count == 0


def test_before_the_first_there_was_nothing_and_the_same_is_no_difference(app: Flask) -> None:
    first = make_version(make_site())
    assert set(kinds(compare(None, first)).values()) == {"new file"}
    assert len(compare(None, first).pieces) == len(FILES)
    assert compare(first, first) == Differences((), 0)


def test_many_files_are_counted_and_not_shown(app: Flask) -> None:
    site = make_site()
    many = {f"p/{number:03}.html": b"<p>one" for number in range(60)}
    first = make_version(site, {**FILES, **many})
    second = make_version(site, {**FILES, **dict.fromkeys(many, b"<p>two")})
    found = compare(first, second)
    assert (len(found.pieces), found.more_count) == (50, 10)


def test_large_texts_are_not_all_read(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site()
    large = {f"p{number}.txt": b"one\n" * 100_000 for number in range(4)}
    first = make_version(site, {**FILES, **large})
    second = make_version(site, {**FILES, **dict.fromkeys(large, b"two\n" * 100_000)})
    read: list[str] = []
    get = files.get
    monkeypatch.setattr(files, "get", lambda name: read.append(name) or get(name))
    found = compare(first, second)
    assert (len(found.pieces), found.more_count) == (2, 2)
    # The four files are of the same two contents, each read once.
    assert len(read) == 2
    assert all(piece.is_cut and len(piece.lines) == 120 for piece in found.pieces)


def test_pictures_are_not_read_at_all(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site()
    first = make_version(site, {**FILES, "a.png": b"\x89PNG" + b"0" * 3_000_000})
    second = make_version(site, {**FILES, "a.png": b"\x89PNG" + b"1" * 3_000_000, "b.png": b"\x89PNG"})
    monkeypatch.setattr(files, "get", lambda name: pytest.fail(f"{name} was read"))
    assert kinds(compare(first, second)) == {"a.png": "replaced", "b.png": "new file"}


def test_many_lines_end_the_page(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "_MOST_LINES", 3)
    first = make_version(make_site(), {**FILES, "a.txt": b"1\n2\n3\n4\n", "b.txt": b"1\n", "c.txt": b"1\n"})
    found = compare(None, first)
    assert list(kinds(found)) == ["a.txt"]
    assert found.more_count == len(FILES) + 2


def test_a_file_that_the_storage_has_lost_is_different_all_the_same(app: Flask) -> None:
    site = make_site()
    first = make_version(site)
    second = make_version(site, {"css/site.css": b"h1 { color: black }"}, based_on=first)
    files.delete(storage.names_of(first)[first.paths["css/site.css"]])
    assert kinds(compare(first, second)) == {"css/site.css": "replaced"}
    assert kinds(compare(None, first))["css/site.css"] == "replaced"
