"""The zip around a 3MF: judged by its directory before anything is unpacked, then unpacked in bounded steps."""

import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from portal.quotes.measuring.outcomes import Refused

MOST_ENTRIES = 2_000
MOST_BYTES = 512 * 1024 * 1024
# A part above the first size may not unpack to more than this many times its packed size.
RATIO_FROM = 8 * 1024 * 1024
MOST_RATIO = 150
STEP = 512 * 1024
SIGNATURE = b"PK\x03\x04"

_LOCAL_HEADER = 30
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DRIVE = re.compile(r"[A-Za-z]:")


class Package:
    """The parts of one 3MF by name. Raises Refused for whatever we do not accept."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        file.seek(0)
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise Refused("not_3mf")
        try:
            entries = zipfile.ZipFile(file).infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError, UnicodeError):
            raise Refused("zip_damaged") from None
        _check(entries)
        # Part names are compared without case; _check() has seen that no two are equal then.
        self._entries = {entry.filename.lower(): entry for entry in entries if not entry.is_dir()}

    @property
    def names(self) -> list[str]:
        """The parts' names as written in the package."""
        return [entry.filename for entry in self._entries.values()]

    def find(self, name: str) -> str | None:
        """The key of the part that a target names (absolute, any case), or None when there is none."""
        key = name.lstrip("/").lower()
        return key if key in self._entries else None

    def name(self, key: str) -> str:
        """A part's name as written in the package."""
        return self._entries[key].filename

    def size(self, key: str) -> int:
        """How many bytes the part says it has."""
        return self._entries[key].file_size

    def read(self, key: str, *, at_most: int) -> bytes:
        """A whole small part. Raises Refused `zip_bomb` when it is larger."""
        if self.size(key) > at_most:
            raise Refused("zip_bomb")
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        """A part in pieces; stops at the first byte past the declared size."""
        entry = self._entries[key]
        left, check = entry.file_size, 0
        for piece in self._unpacked(entry):
            left -= len(piece)
            if left < 0:
                raise Refused("zip_bomb")
            check = zlib.crc32(piece, check)
            yield piece
        if left or check != entry.CRC:
            raise Refused("zip_damaged")

    def _unpacked(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        packed = self._packed(entry)
        if entry.compress_type == zipfile.ZIP_STORED:
            yield from packed
            return
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for piece in packed:
                while piece and not inflate.eof:
                    yield inflate.decompress(piece, STEP)
                    piece = inflate.unconsumed_tail  # noqa: PLW2901  # what did not fit into one step
            # What zlib still holds back is less than one step.
            while not inflate.eof and (rest := inflate.decompress(b"", STEP)):
                yield rest
        except zlib.error:
            raise Refused("zip_damaged") from None
        if not inflate.eof:
            raise Refused("zip_damaged")

    def _packed(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """The bytes behind the local header, as many as the directory says."""
        self._file.seek(entry.header_offset)
        header = self._file.read(_LOCAL_HEADER)
        if len(header) < _LOCAL_HEADER or header[:4] != SIGNATURE:
            raise Refused("zip_damaged")
        if header[6] & _ENCRYPTED:
            raise Refused("zip_encrypted")
        if int.from_bytes(header[8:10], "little") != entry.compress_type:
            raise Refused("zip_damaged")
        at = entry.header_offset + _LOCAL_HEADER
        at += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        left = entry.compress_size
        while left > 0:
            # Other parts may be read in between: each piece finds its own place.
            self._file.seek(at)
            piece = self._file.read(min(left, STEP))
            if not piece:
                raise Refused("zip_damaged")
            at += len(piece)
            left -= len(piece)
            yield piece


def _check(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_ENTRIES:
        raise Refused("zip_entries")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise Refused("zip_encrypted")
    names = [entry.orig_filename for entry in entries]
    if any(map(_is_bad_name, names)) or len({name.rstrip("/").lower() for name in names}) < len(names):
        raise Refused("zip_names")
    if any(stat.S_ISLNK(entry.external_attr >> 16) for entry in entries):
        raise Refused("zip_names")
    if any(entry.compress_type not in _METHODS for entry in entries):
        raise Refused("zip_method")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise Refused("zip_bomb")
    for entry in entries:
        if entry.file_size > RATIO_FROM and entry.file_size > MOST_RATIO * max(entry.compress_size, 1):
            raise Refused("zip_bomb")


def _is_bad_name(name: str) -> bool:
    return (
        not name
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or _DRIVE.match(name) is not None
        or ".." in name.split("/")
    )
