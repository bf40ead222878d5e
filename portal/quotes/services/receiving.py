"""Taking in a model file: its bytes go to the store piece by piece, and only what may be a model is kept.

The store's name is ours and random, never the customer's; the customer's is kept as text to show. Nothing here touches
the database: a file takes minutes on a slow line, and no transaction waits for it.
"""

import hashlib
import re
import unicodedata
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flask_babel import lazy_gettext as _l

from portal.core import files
from portal.quotes.errors import UploadRefused

MAX_BYTES = 100 * 1024 * 1024
FOLDER = "models"
FORMATS = ("3mf", "stl", "obj")
_ZIP = b"PK\x03\x04"
# What the first bytes of other things look like, so that the sender is told at once.
_SNIFFED = 8
_OTHERS = (
    b"PK\x03\x04",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"%PDF",
    b"MZ",
    b"\x7fELF",
    b"Rar!",
    b"7z\xbc\xaf",
    b"\x1f\x8b",
)
_LONGEST_NAME = 120


@dataclass(frozen=True, slots=True)
class Received:
    """A file in the store that no row knows of yet."""

    name: str
    format: str
    size_bytes: int
    sha256: str
    storage_name: str


def receive(name: str, pieces: Iterator[bytes]) -> Received:
    """Store one file as it comes in. Raises UploadRefused or StoreTrouble; then nothing of it is kept."""
    shown = clean_name(name)
    kind = shown.rpartition(".")[2].lower() if "." in shown else ""
    if kind not in FORMATS:
        raise UploadRefused(
            _l("%(name)s: we take models as 3MF, STL or OBJ. Export it in one of these formats.", name=shown)
        )
    measured = _Measured(shown, kind, pieces)
    storage_name = f"{FOLDER}/{uuid.uuid4().hex}.{kind}"
    # Read before anything is stored: most of what is refused shows it in its first bytes.
    first = measured.begin()
    files.put_stream(storage_name, measured.rest(first))
    return Received(shown, kind, measured.size, measured.sha256, storage_name)


def discard(received: Sequence[Received]) -> None:
    """Delete files that came in for nothing."""
    for one in received:
        files.delete(one.storage_name)


def clean_name(name: str) -> str:
    """A file's name as it is shown: no folders, nothing invisible, nothing that turns the text around, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join(" " if unicodedata.category(sign) == "Zs" else sign for sign in last if _is_visible(sign))
    shown = " ".join(visible.split())
    if len(shown) <= _LONGEST_NAME:
        return shown
    stem, dot, kind = shown.rpartition(".")
    if not dot or len(kind) > 8:
        return shown[: _LONGEST_NAME - 1] + "…"
    return stem[: _LONGEST_NAME - len(kind) - 2] + "…." + kind


def _is_visible(sign: str) -> bool:
    # Control, format (direction marks, zero width), half a surrogate, private, unassigned, ends of lines.
    return unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


class _Measured:
    """Passes pieces on, and keeps count of them."""

    def __init__(self, name: str, kind: str, pieces: Iterator[bytes]) -> None:
        self._name, self._kind, self._pieces = name, kind, pieces
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def sha256(self) -> str:
        """Of everything that was passed on."""
        return self._digest.hexdigest()

    def begin(self) -> bytes:
        """The first bytes, enough to know a 3MF from what is none."""
        first = b""
        for piece in self._pieces:
            first += piece
            if len(first) >= _SNIFFED:
                break
        if not first:
            raise UploadRefused(
                _l("%(name)s: this file is empty (0 bytes). Export it again and upload it.", name=self._name)
            )
        if self._kind == "3mf" and not first.startswith(_ZIP):
            raise UploadRefused(
                _l(
                    "%(name)s: this is not a 3MF file, although its name says so. Upload the file your slicer or CAD "
                    "program saved.",
                    name=self._name,
                )
            )
        if self._kind != "3mf" and first.startswith(_OTHERS):
            raise UploadRefused(
                _l(
                    "%(name)s: the content of this file is not what its name says. Give it the right ending, or export "
                    "it again.",
                    name=self._name,
                )
            )
        return first

    def rest(self, first: bytes) -> Iterator[bytes]:
        """Everything from the beginning. Raises UploadRefused past the limit."""
        yield self._counted(first)
        for piece in self._pieces:
            yield self._counted(piece)

    def _counted(self, piece: bytes) -> bytes:
        self.size += len(piece)
        if self.size > MAX_BYTES:
            raise UploadRefused(
                _l(
                    "%(name)s: this file is larger than 100 MB. Reduce the mesh's detail or send it to us by e-mail.",
                    name=self._name,
                )
            )
        self._digest.update(piece)
        return piece
