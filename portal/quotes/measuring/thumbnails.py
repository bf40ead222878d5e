"""The picture a 3MF brings along, taken apart and put together again from what a browser needs and nothing else."""

import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from portal.quotes.measuring import png, three_mf
from portal.quotes.measuring.package import Package

MOST_BYTES = 2 * 1024 * 1024
MOST_PIXELS = 2_048

_JPEG = b"\xff\xd8"
# Channels by colour type; palettes have one.
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
_KEPT_CHUNKS = {b"PLTE", b"tRNS", b"IDAT"}
_END_OF_IMAGE, _START_OF_SCAN, _RESTART = 0xD9, 0xDA, 0xDD
# Baseline and progressive, with their tables; what is left out is text, colour profiles, previews and programs' notes.
_FRAMES = {0xC0, 0xC1, 0xC2}
_NOTES = {*range(0xE0, 0xF0), 0xFE}
_KEPT_SEGMENTS = _FRAMES | {0xC4, 0xDB, _RESTART}


class _BadPicture(Exception):
    """Not a picture we pass on."""


def from_package(file: BinaryIO, name: str) -> bytes | None:
    """The package's thumbnail as a clean PNG or JPEG; None when there is none or it is not in order. Raises Refused."""
    if not name.lower().endswith(".3mf"):
        return None
    package = Package(file)
    key = three_mf.find_thumbnail(package, three_mf.relations(package))
    if key is None or package.size(key) > MOST_BYTES:
        return None
    content = package.read(key, at_most=MOST_BYTES)
    try:
        if content.startswith(png.SIGNATURE):
            return clean_png(content)
        if content.startswith(_JPEG):
            return clean_jpeg(content)
    except _BadPicture:
        pass
    return None


def clean_png(content: bytes) -> bytes:
    """The same picture from header, palette, transparency and pixels alone. Raises _BadPicture."""
    header, kept, pixels = b"", [], []
    for kind, data in _png_chunks(content):
        if kind == b"IHDR":
            header = data
        elif kind == b"IDAT":
            pixels.append(data)
        elif kind in _KEPT_CHUNKS and not pixels:
            kept.append(png.chunk(kind, data))
        elif kind[:1].isupper() and kind not in _KEPT_CHUNKS and kind != b"IEND":
            # A chunk without which the picture cannot be shown, and that we do not know.
            raise _BadPicture
    packed = b"".join(pixels)
    _check_pixels(header, packed)
    return b"".join(
        [png.SIGNATURE, png.chunk(b"IHDR", header), *kept, png.chunk(b"IDAT", packed), png.chunk(b"IEND", b"")]
    )


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(png.SIGNATURE)
    while True:
        if at + 12 > len(content):
            raise _BadPicture
        length = int.from_bytes(content[at : at + 4], "big")
        kind, data = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        check = content[at + 8 + length : at + 12 + length]
        if not kind.isalpha() or len(check) != 4 or int.from_bytes(check, "big") != zlib.crc32(kind + data):
            raise _BadPicture
        yield kind, data
        if kind == b"IEND":
            return
        at += 12 + length


def _check_pixels(header: bytes, packed: bytes) -> None:
    """Whether the pixels unpack to exactly what the header announces."""
    if len(header) != 13:
        raise _BadPicture
    width, height, depth, colour, packing, filtering, interlacing = struct.unpack(">2I5B", header)
    if not (0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS) or depth not in _DEPTHS.get(colour, set()):
        raise _BadPicture
    if packing or filtering or interlacing:
        raise _BadPicture
    row = 1 + (width * depth * _CHANNELS[colour] + 7) // 8
    inflate = zlib.decompressobj()
    try:
        rows = inflate.decompress(packed, row * height + 1)
    except zlib.error:
        raise _BadPicture from None
    if len(rows) != row * height or not inflate.eof or inflate.unused_data or max(rows[::row]) > 4:
        raise _BadPicture


def clean_jpeg(content: bytes) -> bytes:
    """The same picture from tables, frame and scans alone. Raises _BadPicture."""
    kept, at, has_frame = [_JPEG], len(_JPEG), False
    while (marker := _marker(content, at)) != _END_OF_IMAGE:
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        segment = content[at : at + 2 + length]
        if length < 2 or len(segment) != 2 + length:
            raise _BadPicture
        at += len(segment)
        if marker in _FRAMES:
            has_frame = True
            _check_frame(segment)
        if marker in _KEPT_SEGMENTS:
            kept.append(segment)
        elif marker == _START_OF_SCAN and has_frame:
            end = _scan_end(content, at)
            kept += [segment, content[at:end]]
            at = end
        elif marker not in _NOTES:
            raise _BadPicture
    if not has_frame:
        raise _BadPicture
    return b"".join([*kept, bytes((0xFF, _END_OF_IMAGE))])


def _marker(content: bytes, at: int) -> int:
    """Which segment begins here."""
    if len(content) < at + 2 or content[at] != 0xFF:
        raise _BadPicture
    return content[at + 1]


def _check_frame(segment: bytes) -> None:
    height, width = struct.unpack(">2H", segment[5:9]) if len(segment) >= 9 else (0, 0)
    if not (0 < width <= MOST_PIXELS and 0 < height <= MOST_PIXELS):
        raise _BadPicture


def _scan_end(content: bytes, at: int) -> int:
    """Where the next marker begins that is neither a stuffed byte nor a restart."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            raise _BadPicture
        follower = content[at + 1]
        if follower != 0 and not 0xD0 <= follower <= 0xD7:
            return at
        at += 2
