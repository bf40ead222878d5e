"""A model's bytes as an answer: the file, its picture, the mesh for the viewer; whoever asks was let in before."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

from flask import Response

from portal.core import files
from portal.quotes.errors import ModelNotFound
from portal.quotes.models import ModelFile
from portal.quotes.services.custody import DOWNLOADED, PICTURED, VIEWED

_KEPT = "private, max-age=3600"
# Whatever a picture holds, a browser that opens it by itself runs nothing of it.
_HARMLESS = "default-src 'none'; sandbox"
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


def stored_name(model: ModelFile, action: str) -> str:
    """What a kind of look opens in the store. Raises ModelNotFound when there is no such thing of this model."""
    name = {DOWNLOADED: model.storage_name, PICTURED: model.picture_name, VIEWED: model.mesh_name}[action]
    if not name:
        raise ModelNotFound
    return name


def file_answer(model: ModelFile) -> Response:
    """The file as it was uploaded, to be saved."""
    response = Response(_pieces(stored_name(model, DOWNLOADED)), mimetype="application/octet-stream")
    response.headers["Content-Disposition"] = saved_as(model.name)
    response.content_length = model.size_bytes
    return _guarded(response)


def picture_answer(model: ModelFile) -> Response:
    """A small picture of it."""
    content = b"".join(_pieces(stored_name(model, PICTURED)))
    kind = "image/png" if content.startswith(_PNG) else "image/jpeg" if content.startswith(_JPEG) else None
    if kind is None:
        raise ModelNotFound
    response = _guarded(Response(content, mimetype=kind))
    response.headers["Cache-Control"] = _KEPT
    return response


def mesh_answer(model: ModelFile) -> Response:
    """Everything on its plate as one binary STL in millimetres."""
    response = _guarded(Response(_pieces(stored_name(model, VIEWED)), mimetype="model/stl"))
    response.headers["Cache-Control"] = _KEPT
    return response


def saved_as(name: str) -> str:
    """The header that has a browser save an answer under a name in any script (RFC 6266).

    Headers are Latin letters at best, so the name goes twice: plainly with what has no such letter left out, and
    percent-encoded in full, which browsers prefer.
    """
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9 ._()+-]", "_", letters).strip() or "model"
    if plain == name:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _pieces(name: str) -> Iterator[bytes]:
    """The stored bytes. Raises ModelNotFound before the first one, while an answer can still say so."""
    pieces = files.stream(name)
    try:
        first = next(pieces, b"")
    except FileNotFoundError:
        raise ModelNotFound from None
    return _after(first, pieces)


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _guarded(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = _HARMLESS
    return response
