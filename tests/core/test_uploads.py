"""Forms with files are read as they come in: fields first, files in pieces, nothing held, everything bounded."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask, Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.test import EnvironBuilder

from portal.core import uploads
from portal.core.uploads import IncomingFile, TextField

BOUNDARY = "----boundary"


def request(body: bytes | io.RawIOBase, *, length: int | None = None, kind: str | None = None) -> Request:
    environ = EnvironBuilder(
        method="POST",
        input_stream=io.BytesIO(body) if isinstance(body, bytes) else body,  # type: ignore[arg-type]  # any stream will do
        content_type=kind or f"multipart/form-data; boundary={BOUNDARY}",
        content_length=len(body) if isinstance(body, bytes) and length is None else length,
    ).get_environ()
    return Request(environ)


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def read(asked: Request, *, limit: int = 10_000_000) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for one in uploads.incoming(asked, limit=limit):
        if isinstance(one, TextField):
            found.append((one.name, one.value))
        else:
            found.append((one.field, one.name, b"".join(one.pieces)))
    return found


@pytest.fixture(autouse=True)
def inside(tmp_path: Any) -> Iterator[None]:
    app = Flask(__name__)
    with app.app_context():
        yield


def test_fields_and_files_come_in_their_order() -> None:
    body = form(part("token", b"x" * 9), part("models", b"abc\r\nd", "a.stl"), part("note", "zażółć".encode()))
    assert read(request(body)) == [("token", "xxxxxxxxx"), ("models", "a.stl", b"abc\r\nd"), ("note", "zażółć")]


def test_a_large_file_comes_in_pieces() -> None:
    content = bytes(range(256)) * 8192
    sizes: list[int] = []
    for one in uploads.incoming(request(form(part("models", content, "a.stl"))), limit=10_000_000):
        assert isinstance(one, IncomingFile)
        taken = []
        for piece in one.pieces:
            sizes.append(len(piece))
            taken.append(piece)
        assert b"".join(taken) == content
    assert len(sizes) > 10
    assert max(sizes) < 300_000


def test_what_nobody_reads_is_passed_over() -> None:
    body = form(part("models", b"x" * 500_000, "a.stl"), part("models", b"y", "b.stl"), part("last", b"z"))
    names = []
    for one in uploads.incoming(request(body), limit=10_000_000):
        names.append(one.name)
    assert names == ["a.stl", "b.stl", "last"]


def test_a_form_without_files_gives_its_fields() -> None:
    asked = request(b"a=1&b=2&a=3", kind="application/x-www-form-urlencoded")
    assert sorted(read(asked)) == [("a", "1"), ("a", "3"), ("b", "2")]


def test_an_empty_file_has_no_pieces_and_an_unfilled_field_no_name() -> None:
    body = form(part("models", b"", "a.stl"), part("models", b"", ""))
    found = list(uploads.incoming(request(body), limit=1_000))
    assert [(one.name, one.is_blank) for one in found if isinstance(one, IncomingFile)] == [
        ("a.stl", False),
        ("", True),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        part("models", b"abc", "a.stl"),
        part("models", b"abc", "a.stl")[:60],
        form(part("a", b"1"))[:-6],
        f"--{BOUNDARY}\r\nContent-Type: text/plain\r\n\r\nx\r\n--{BOUNDARY}--".encode(),
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--{BOUNDARY}--'.encode("latin-1"),
    ],
)
def test_half_a_form_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        read(request(body))


def test_a_form_without_a_boundary_is_refused() -> None:
    with pytest.raises(BadRequest):
        read(request(b"x", kind="multipart/form-data"))


def test_a_sender_who_goes_away_is_noticed() -> None:
    body = form(part("models", b"x" * 100_000, "a.stl"))
    with pytest.raises(BadRequest):
        read(request(body[:50_000], length=len(body)))


def test_more_than_the_limit_is_refused_before_it_is_read() -> None:
    body = form(part("models", b"x" * 5_000, "a.stl"))
    stream = io.BytesIO(body)
    asked = request(stream, length=len(body))  # type: ignore[arg-type]  # any stream will do
    with pytest.raises(RequestEntityTooLarge):
        read(asked, limit=len(body) - 1)
    assert stream.tell() == 0
    assert read(request(body), limit=len(body))


def test_a_field_that_never_ends_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read(request(form(part("note", b"x" * 70_000))))


def test_a_header_that_never_ends_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read(request(f"--{BOUNDARY}\r\nX: ".encode() + b"x" * 400_000))


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read(request(form(*(part("a", b"1") for _ in range(301)))))
