"""Stored files: one library for a local folder and for S3-compatible storage, chosen by `STORAGE_URL`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
import structlog
from flask import Flask, current_app
from flask_babel import lazy_gettext as _l
from obstore.store import LocalStore, from_url

from portal.core.errors import Unavailable

log = structlog.get_logger(__name__)

_CHUNK = 1024 * 1024
# S3 takes no smaller parts; two on their way at once keep the line busy and the memory small.
_PART, _PARTS_AT_ONCE = 5 * 1024 * 1024, 2


class StoreTrouble(Unavailable):
    """The store is full, or does not answer: nothing of the file was kept."""

    code = "store_unavailable"
    default = _l(
        "We could not store your file right now, and nothing of it was kept. Please try again in a few minutes."
    )


def init_app(app: Flask) -> None:
    """Open the configured store; a local one gets its folder made."""
    url = app.config["STORAGE_URL"]
    parts = urlsplit(url)
    if parts.scheme == "file":
        app.extensions["files"] = LocalStore(Path(parts.path), automatic_cleanup=True, mkdir=True)
    else:
        app.extensions["files"] = from_url(url)


def _store() -> Any:
    return current_app.extensions["files"]


def put(name: str, content: bytes) -> None:
    """Store a file under a new name. Raises FileExistsError when the name is taken: stored files never change."""
    try:
        obstore.put(_store(), name, content, mode="create")
    except obstore.exceptions.AlreadyExistsError:
        raise FileExistsError(name) from None


def put_stream(name: str, pieces: Iterator[bytes]) -> None:
    """Store a file under a new name from pieces as they come, a few megabytes of it in memory at a time.

    All or nothing: what `pieces` raises comes out here and leaves nothing behind, and so does StoreTrouble. The name
    must be one that nobody else can have; unlike `put` this does not look.
    """
    try:
        obstore.put(_store(), name, pieces, use_multipart=True, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)
    except obstore.exceptions.BaseError as error:
        log.error("store_trouble", name=name, error=str(error).partition("\n")[0])
        raise StoreTrouble from None


def copy(name: str, new_name: str) -> None:
    """Store the same bytes under another name. Raises FileNotFoundError."""
    try:
        obstore.copy(_store(), name, new_name)
    except FileNotFoundError:
        raise FileNotFoundError(name) from None


@contextmanager
def local_path(name: str) -> Iterator[Path]:
    """A stored file as one on this machine, to read only, for programs that take a path. Raises FileNotFoundError."""
    store = _store()
    if isinstance(store, LocalStore):
        path = Path(str(store.prefix)) / name
        if not path.is_file():
            raise FileNotFoundError(name)
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="portal-", suffix=Path(name).suffix) as copied:
        for piece in stream(name):
            copied.write(piece)
        copied.flush()
        yield Path(copied.name)


def names_before(prefix: str, at: datetime) -> Iterator[str]:
    """The names of the files below a folder that were stored before a moment."""
    for batch in obstore.list(_store(), prefix=prefix):
        for found in batch:
            if found["last_modified"] < at:
                yield str(found["path"])


def clear_unfinished(prefix: str, *, before: datetime) -> int:
    """Delete what writers left half-written who died meanwhile; returns how many. A bucket clears up by a rule of its
    own (abort incomplete multipart uploads)."""
    store = _store()
    if not isinstance(store, LocalStore):
        return 0
    found = [
        path for path in (Path(str(store.prefix)) / prefix).rglob("*#*") if path.stat().st_mtime < before.timestamp()
    ]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def get(name: str) -> bytes:
    """A whole stored file, for small ones. Raises FileNotFoundError."""
    return b"".join(stream(name))


def stream(name: str) -> Iterator[bytes]:
    """A stored file in pieces of about a megabyte. Raises FileNotFoundError before the first piece."""
    try:
        result = obstore.get(_store(), name)
    except FileNotFoundError:
        raise FileNotFoundError(name) from None
    for piece in result.stream(min_chunk_size=_CHUNK):
        yield bytes(piece)


def delete(name: str) -> None:
    """Remove a stored file; one that is already gone is no error."""
    try:
        obstore.delete(_store(), name)
    except FileNotFoundError:
        return
