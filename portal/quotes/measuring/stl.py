"""STL: loose triangles, as records of 50 bytes or as words."""

import os
import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring import topology
from portal.quotes.measuring.meshes import MOST_TRIANGLES, Mesh
from portal.quotes.measuring.numbers import NotANumber, Text, decimal, decimals, only_mark, words
from portal.quotes.measuring.outcomes import N_, Refused

_HEADER, _RECORD = 84, 50
_RECORDS = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_BLOCK = 16_384
_PIECE = 1024 * 1024
_LONGEST_FACET = 64 * 1024

# The words of one facet; None stands for a number. The three of the normal are nobody's business.
_FACET: list[bytes | None] = [
    b"facet", b"normal", None, None, None, b"outer", b"loop",
    b"vertex", None, None, None, b"vertex", None, None, None, b"vertex", None, None, None,
    b"endloop", b"endfacet",
]  # fmt: skip
_NORMAL = (2, 3, 4)
_NUMBERS = [place for place, word in enumerate(_FACET) if word is None and place not in _NORMAL]
_FIRST_LINE = re.compile(rb"[^\r\n]*")
_LOWER = np.uint64(0x2020202020202020)


def read(file: BinaryIO) -> Mesh:
    """The mesh of an STL, its corners merged. Raises Refused."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    header = file.read(_HEADER)
    announced = int.from_bytes(header[80:84], "little") if len(header) == _HEADER else -1
    if announced >= 0 and _HEADER + _RECORD * announced == size:
        return _merge(_read_records(file, announced))
    file.seek(0)
    if not header.lstrip().lower().startswith(b"solid") or b"\0" in header:
        if announced < 0:
            raise Refused("stl_damaged", detail=N_("it is too short"))
        raise Refused("stl_damaged", detail=N_("it announces another number of triangles than it holds"))
    blocks = list(_read_words(file))
    return _merge(np.concatenate(blocks, axis=1) if blocks else np.empty((3, 0, 3), dtype=np.float64))


def _read_records(file: BinaryIO, count: int) -> NDArray[np.float32]:
    """Coordinates by axis, triangle and corner."""
    if count > MOST_TRIANGLES:
        raise Refused("too_many_triangles")
    found = np.empty((3, count, 3), dtype=np.float32)
    for start in range(0, count, _BLOCK):
        records = np.frombuffer(file.read(_BLOCK * _RECORD), dtype=_RECORDS)
        found[:, start : start + _BLOCK] = records["corners"].transpose(2, 0, 1)
    if not np.isfinite(found).all():
        raise Refused("bad_number", detail=N_("a value is not a number"))
    return found


def _merge(found: NDArray[np.float32] | NDArray[np.float64]) -> Mesh:
    """Give corners that lie together one number."""
    corners = found.reshape(3, -1)
    if not corners.shape[1]:
        return Mesh(np.empty((3, 0)), np.empty((3, 0), dtype=np.int32))
    places, firsts = topology.merged(corners)
    triangles = np.ascontiguousarray(places.reshape(-1, 3).T)
    return Mesh(corners[:, firsts].astype(np.float64), triangles, is_merged=True)


def _read_words(file: BinaryIO) -> Iterator[NDArray[np.float64]]:
    """The facets of a text, some at a time."""
    # The first line names the body; what it says may look like anything.
    start = file.read(_LONGEST_FACET)
    file.seek(len(_FIRST_LINE.match(start)[0]))  # type: ignore[index]  # it matches the empty line too
    waiting, left, is_ended = b"", MOST_TRIANGLES, False
    while piece := file.read(_PIECE):
        waiting += piece
        cut = waiting.lower().rfind(b"endfacet") + len(b"endfacet")
        if cut < len(b"endfacet"):
            if len(waiting) > _PIECE + _LONGEST_FACET:
                raise Refused("stl_damaged", detail=N_("a facet has no end"))
            continue
        facets = _facets(waiting[:cut])
        left -= facets.shape[1]
        if left < 0:
            raise Refused("too_many_triangles")
        yield facets
        waiting = waiting[cut:]
    is_ended = waiting.strip().lower().startswith(b"endsolid")
    if not is_ended:
        raise Refused("stl_damaged", detail=N_("its end is missing"))


def _facets(piece: bytes) -> NDArray[np.float64]:
    """Coordinates by axis, triangle and corner, from whole facets."""
    found = _plain_facets(piece)
    return _slow_facets(piece) if found is None else found


def _plain_facets(piece: bytes) -> NDArray[np.float64] | None:
    """The fast way: one facet has 21 words; None when these are not all as expected."""
    text = Text.of(piece)
    starts, ends = words(text)
    if starts.size % len(_FACET):
        return None
    starts, ends = starts.reshape(-1, len(_FACET)), ends.reshape(-1, len(_FACET))
    for place, word in enumerate(_FACET):
        if word is not None and not _all_are(word, text, starts[:, place], ends[:, place]):
            return None
    from_, to = (np.ascontiguousarray(side[:, _NUMBERS]).reshape(-1) for side in (starts, ends))
    dots = only_mark(np.flatnonzero(text.bytes_ == ord(".")), from_, to)
    powers = only_mark(np.flatnonzero((text.bytes_ | 0x20) == ord("e")), from_, to)
    try:
        numbers = decimals(text, from_, to, dots, powers)
    except NotANumber:
        raise Refused("bad_number", detail=N_("a value is not a number")) from None
    return np.ascontiguousarray(numbers.reshape(-1, 3, 3).transpose(2, 0, 1))


def _all_are(word: bytes, text: Text, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> bool:
    """Whether a keyword stands everywhere in its column, in capitals or not."""
    if (ends - starts != len(word)).any():
        return False
    shift = np.uint64(8 * (8 - len(word)))
    wanted = np.uint64(int.from_bytes(word.rjust(8, b"\0"), "little")) >> shift
    found = (text.ending_at(ends) | _LOWER) >> shift
    return bool((found == wanted).all())


def _slow_facets(piece: bytes) -> NDArray[np.float64]:
    """Word by word, also past `endsolid` and `solid` of files that hold several bodies."""
    found: list[list[float]] = []
    for facet in re.split(rb"(?i)endfacet", piece)[:-1]:
        text = re.sub(rb"(?i)^\s*endsolid[^\n\r]*[\n\r]+\s*solid[^\n\r]*[\n\r]", b"", facet)
        some = [*text.split(), b"endfacet"]
        if len(some) != len(_FACET):
            raise Refused("stl_damaged", detail=N_("a facet has not three corners"))
        if any(word is not None and word != given.lower() for word, given in zip(_FACET, some, strict=True)):
            raise Refused("stl_damaged", detail=N_("a word stands in a wrong place"))
        try:
            found.append([decimal(some[place]) for place in _NUMBERS])
        except NotANumber:
            raise Refused("bad_number", detail=N_("a value is not a number")) from None
    return np.ascontiguousarray(np.array(found).reshape(-1, 3, 3).transpose(2, 0, 1))
