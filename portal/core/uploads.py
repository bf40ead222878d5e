"""Forms with files, read as they come in: nothing of a file is held but the piece that is being stored.

Werkzeug's own reading would put every file into memory or a temporary folder before anybody has looked whether the
sender may send at all. Here the fields before a file are known when the file begins.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.sansio import multipart

_READ = 64 * 1024
_BUFFER = 256 * 1024
_LONGEST_FIELD = 64 * 1024
_MOST_PARTS = 300


@dataclass(frozen=True, slots=True)
class TextField:
    """A field that somebody filled in."""

    name: str
    value: str


@dataclass(slots=True)
class IncomingFile:
    """A file that is on its way. `pieces` can be read once, and only until the next part is asked for."""

    field: str
    name: str
    pieces: Iterator[bytes] = dataclasses.field(repr=False)

    @property
    def is_blank(self) -> bool:
        """Whether it stands for a file field in which nothing was chosen."""
        return not self.name


def incoming(request: Request, *, limit: int) -> Iterator[TextField | IncomingFile]:
    """The parts of a form in their order; a form without files gives its fields.

    `limit` is the most bytes of the whole request. Raises RequestEntityTooLarge or BadRequest, at the latest while
    reading: also when the sender goes away in the middle.
    """
    request.max_content_length = limit
    if request.mimetype != "multipart/form-data":
        yield from (TextField(name, value) for name, value in request.form.items(multi=True))
        return
    boundary = request.mimetype_params.get("boundary", "").encode("ascii", "replace")
    if not boundary:
        raise BadRequest
    yield from _Parts(request, multipart.MultipartDecoder(boundary, _BUFFER, max_parts=_MOST_PARTS))


class _Parts:
    """Feeds the decoder and cuts what it says into parts."""

    def __init__(self, request: Request, decoder: multipart.MultipartDecoder) -> None:
        self._stream, self._decoder = request.stream, decoder

    def __iter__(self) -> Iterator[TextField | IncomingFile]:
        while not isinstance(event := self._next(), multipart.Epilogue):
            if isinstance(event, multipart.Field):
                yield TextField(event.name or "", self._text())
            elif isinstance(event, multipart.File):
                pieces = self._pieces()
                yield IncomingFile(event.name or "", event.filename, pieces)
                # What nobody wanted is read and dropped, so that an answer still reaches the sender.
                for _piece in pieces:
                    pass

    def _next(self) -> multipart.Event:
        try:
            while isinstance(event := self._decoder.next_event(), multipart.NeedData):
                self._decoder.receive_data(self._stream.read(_READ) or None)
        except ValueError:
            # The decoder's word for a form that ends too early, or is none.
            raise BadRequest from None
        return event

    def _pieces(self) -> Iterator[bytes]:
        while isinstance(event := self._next(), multipart.Data):
            if event.data:
                yield event.data
            if not event.more_data:
                return

    def _text(self) -> str:
        content = bytearray()
        for piece in self._pieces():
            content += piece
            if len(content) > _LONGEST_FIELD:
                raise RequestEntityTooLarge
        return content.decode("utf-8", "replace")
