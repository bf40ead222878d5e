"""Uploading as a browser does: with the form's token, or as the page's script does it."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.core import outbox
from portal.core.db import db
from tests.browser_like import csrf_token

Named = tuple[str, bytes]
_BOUNDARY = "----the-tests-own-boundary"


def form(files: Sequence[Named], **fields: str) -> dict[str, Any]:
    """A multipart form as browsers write it, fields first, for the test client, without its temporary files."""
    body = b"".join(_part(name, value.encode()) for name, value in fields.items())
    # Browsers escape what would end the header.
    body += b"".join(
        _part("models", content, name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A"))
        for name, content in files
    )
    body += f"--{_BOUNDARY}--\r\n".encode()
    return {"input_stream": io.BytesIO(body), "content_type": f"multipart/form-data; boundary={_BOUNDARY}"}


def _part(field: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{named}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def upload(browser: FlaskClient, *files: Named, to: str = "/quote", page: str | None = None) -> TestResponse:
    """Send the plain form of a page with files chosen in it."""
    return browser.post(to, **form(files, csrf_token=csrf_token(browser, page or to)))


def send(browser: FlaskClient, name: str, content: bytes, *, to: str = "/quote", page: str = "/quote") -> TestResponse:
    """Send one file as the script does."""
    headers = {"Accept": "application/json", "X-CSRFToken": csrf_token(browser, page)}
    return browser.post(to, **form([(name, content)]), headers=headers)


def stored(app: Flask) -> list[str]:
    """What is in the store below models/, half-written files included."""
    folder = Path(app.config["STORAGE_URL"].removeprefix("file://")) / "models"
    return sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def measure(app: Flask) -> None:
    """Let the worker do what waits for it."""
    while outbox.drain("files"):
        pass
    db.session.rollback()
    db.session.expire_all()
