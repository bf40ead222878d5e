"""Stored files: one library for a local folder and for S3-compatible storage, chosen by `STORAGE_URL`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import obstore
from flask import Flask, current_app
from obstore.store import LocalStore, from_url

_CHUNK = 1024 * 1024


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
