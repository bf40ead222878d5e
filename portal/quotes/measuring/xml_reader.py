"""An expat parser that takes no document types, no odd encodings, no deep nesting and no endless tokens."""

from collections.abc import Callable
from typing import Any, Protocol
from xml.parsers import expat

from portal.quotes.measuring.outcomes import N_, Refused

MOST_DEPTH = 64
LONGEST_VALUE = 64 * 1024
# expat keeps an unfinished comment or tag whole; this is how much of one we let it keep.
LONGEST_TOKEN = 1024 * 1024
_NOT_WELL_FORMED = N_("it is no well-formed XML")
_ENCODINGS = {"utf-8", "utf8", "utf-16", "utf-16le", "utf-16be"}


class Handler(Protocol):
    """What is told about each element; names are "namespace local", or "local" without a namespace."""

    def start(self, name: str, attributes: dict[str, str]) -> None:
        """An element begins."""

    def end(self, name: str) -> None:
        """An element ends."""


class XmlReader:
    """Feeds bytes to expat and hands elements to a handler. Raises Refused `xml_bad`, `xml_dtd` or `xml_depth`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._fed = 0
        self.depth = 0
        # Where, counted in fed bytes, the last opening tag began.
        self.last_start = -1
        self._parser: Any = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = _refuse_doctype
        self._parser.XmlDeclHandler = _check_declaration
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)

    def watch_namespaces(self, declared: Callable[[str | None, str | None], None]) -> None:
        """Tell of each prefix that an element declares, before the element itself."""
        self._parser.StartNamespaceDeclHandler = declared

    @property
    def fed(self) -> int:
        """How many bytes the parser has been given."""
        return self._fed

    def feed(self, piece: bytes | memoryview) -> None:
        """Parse some more."""
        try:
            self._parser.Parse(piece, False)
        except expat.ExpatError:
            raise Refused("xml_bad", detail=_NOT_WELL_FORMED) from None
        self._fed += len(piece)
        if self._fed - self._parser.CurrentByteIndex > LONGEST_TOKEN and self._parser.CurrentByteIndex >= 0:
            raise Refused("xml_bad", detail=N_("a comment or tag is too long"))

    def close(self) -> None:
        """Say that the document ends here."""
        try:
            self._parser.Parse(b"", True)
        except expat.ExpatError:
            raise Refused("xml_bad", detail=_NOT_WELL_FORMED) from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise Refused("xml_depth", detail=N_("nested too deeply"))
        for value in attributes.values():
            if len(value) > LONGEST_VALUE:
                raise Refused("xml_bad", detail=N_("a value is too long"))
        self.last_start = self._parser.CurrentByteIndex
        self._handler.start(name, attributes)

    def _end(self, name: str) -> None:
        self.depth -= 1
        self._handler.end(name)


def _refuse_doctype(*_arguments: object) -> None:
    raise Refused("xml_dtd", detail=N_("it declares a document type"))


def _check_declaration(_version: str, encoding: str | None, _standalone: int) -> None:
    if encoding is not None and encoding.lower() not in _ENCODINGS:
        raise Refused("xml_bad", detail=N_("its encoding is not UTF-8 or UTF-16"))
