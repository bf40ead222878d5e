"""OBJ: the lines `v` and `f`, and nothing else. No other file is ever opened, whatever a line names."""

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring.meshes import MOST_TRIANGLES, Mesh
from portal.quotes.measuring.numbers import (
    NotANumber,
    Positions,
    Text,
    decimal,
    decimals,
    only_mark,
    whole_number,
    whole_numbers,
    words,
)
from portal.quotes.measuring.outcomes import N_, Refused

MOST_CORNERS = 1_000
_PIECE = 1024 * 1024
_LONGEST_LINE = 1024 * 1024
_V, _F, _SPACE, _LINE_FEED = ord("v"), ord("f"), ord(" "), ord("\n")
# A line that goes on in the next one, a number that counts from the end, and ends of lines of old systems.
_CONTINUED = b"\\"


class _Found:
    """What the lines have said so far."""

    def __init__(self) -> None:
        self.corners: list[NDArray[np.float64]] = []
        self.faces: list[NDArray[np.int64]] = []
        self.corner_count = 0
        self.face_count = 0

    def add_corners(self, corners: NDArray[np.float64]) -> None:
        """Three rows."""
        self.corners.append(corners)
        self.corner_count += corners.shape[1]

    def add_faces(self, faces: NDArray[np.int64]) -> None:
        """Three rows of numbers that count from 0. Raises Refused `too_many_triangles`."""
        self.faces.append(faces)
        self.face_count += faces.shape[1]
        if self.face_count > MOST_TRIANGLES:
            raise Refused("too_many_triangles")

    def mesh(self) -> Mesh:
        """The whole. Raises Refused `bad_index`."""
        if not self.corner_count and not self.face_count:
            raise Refused("not_obj", detail=N_("it has no corners and no faces"))
        corners = np.concatenate(self.corners, axis=1) if self.corners else np.empty((3, 0))
        faces = np.concatenate(self.faces, axis=1) if self.faces else np.empty((3, 0), dtype=np.int64)
        if faces.size and (int(faces.min()) < 0 or int(faces.max()) >= self.corner_count):
            raise Refused("bad_index", detail=N_("a face names a corner that does not exist"))
        return Mesh(corners, faces.astype(np.int32))


def read(file: BinaryIO) -> Mesh:
    """The mesh of an OBJ. Raises Refused."""
    found = _Found()
    while piece := _piece(file):
        if b"\0" in piece:
            raise Refused("not_obj", detail=N_("it is no text"))
        try:
            if not _read_plain(piece, found):
                _read_lines(piece, found)
        except NotANumber:
            raise Refused("bad_number", detail=N_("a value is not a number")) from None
    return found.mesh()


def _piece(file: BinaryIO) -> bytes:
    """About a megabyte of whole lines."""
    piece = file.read(_PIECE)
    while piece and (not piece.endswith(b"\n") or piece.rstrip(b"\r\n").endswith(_CONTINUED)):
        line = file.readline(_LONGEST_LINE)
        if not line:
            break
        piece += line
        if len(piece) > _PIECE + 2 * _LONGEST_LINE:
            raise Refused("not_obj", detail=N_("a line is too long"))
    return piece


def _read_plain(piece: bytes, found: _Found) -> bool:
    """The fast way, by columns of words; False when a line needs to be looked at alone."""
    if _CONTINUED in piece or (b"\r" in piece and piece.count(b"\r") != piece.count(b"\r\n")):
        return False
    text = Text.of(piece)
    starts, ends = words(text)
    if not starts.size:
        return True
    # The first word of each line: the one behind the last line feed in front of it.
    breaks = np.flatnonzero(text.bytes_ == _LINE_FEED)
    line = np.searchsorted(breaks, starts)
    is_first = np.empty(starts.size, dtype=bool)
    is_first[0] = True
    np.not_equal(line[1:], line[:-1], out=is_first[1:])
    firsts = np.flatnonzero(is_first)
    counts = np.diff(np.append(firsts, starts.size)) - 1
    letter, is_short = text.bytes_[starts[firsts]], ends[firsts] - starts[firsts] == 1
    is_corner, is_face = is_short & (letter == _V), is_short & (letter == _F)
    if (counts[is_corner] < 3).any() or (counts[is_face] < 3).any() or (counts[is_face] > MOST_CORNERS).any():
        return False
    faces = _plain_faces(text, starts, ends, firsts[is_face], counts[is_face])
    if faces is None:
        return False
    places = firsts[is_corner][:, None] + np.arange(1, 4)
    from_, to = starts[places].reshape(-1), ends[places].reshape(-1)
    dots = only_mark(np.flatnonzero(text.bytes_ == ord(".")), from_, to)
    powers = only_mark(np.flatnonzero((text.bytes_ | 0x20) == ord("e")), from_, to)
    numbers = decimals(text, from_, to, dots, powers)
    found.add_corners(np.ascontiguousarray(numbers.reshape(-1, 3).T))
    for some in faces:
        found.add_faces(some)
    return True


def _plain_faces(
    text: Text, starts: Positions, ends: Positions, firsts: Positions, counts: Positions
) -> list[NDArray[np.int64]] | None:
    """Faces as fans of triangles; None when a corner's number is not a plain positive one."""
    slashes = np.flatnonzero(text.bytes_ == ord("/"))
    far = np.append(slashes, np.iinfo(np.int64).max)
    found: list[NDArray[np.int64]] = []
    for count in np.unique(counts):
        places = firsts[counts == count][:, None] + np.arange(1, count + 1)
        from_ = starts[places].reshape(-1)
        # Behind a slash come numbers of textures and normals.
        to = np.minimum(far[np.searchsorted(slashes, from_)], ends[places].reshape(-1))
        try:
            numbers = whole_numbers(text, from_, to).reshape(-1, count).T - 1
        except NotANumber:
            return None
        if (numbers < 0).any():
            return None
        found.extend(np.stack((numbers[0], numbers[at], numbers[at + 1])) for at in range(1, count - 1))
    return found


def _read_lines(piece: bytes, found: _Found) -> None:
    """Line by line. Raises Refused and NotANumber."""
    corners: list[list[float]] = []
    faces: list[tuple[int, int, int]] = []
    text = piece.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").replace(b"\r", b"\n")
    for line in text.split(b"\n"):
        some = line.split()
        if not some:
            continue
        if some[0] == b"v":
            if len(some) < 4:
                raise NotANumber
            corners.append([decimal(word) for word in some[1:4]])
        elif some[0] == b"f":
            if not 3 <= len(some) - 1 <= MOST_CORNERS:
                raise Refused("bad_face", detail=N_("a face has too few or too many corners"))
            known = found.corner_count + len(corners)
            fan = [_corner_number(word, known) for word in some[1:]]
            faces.extend((fan[0], fan[at], fan[at + 1]) for at in range(1, len(fan) - 1))
            if found.face_count + len(faces) > MOST_TRIANGLES:
                raise Refused("too_many_triangles")
    if corners:
        found.add_corners(np.array(corners).T)
    if faces:
        found.add_faces(np.array(faces, dtype=np.int64).T)


def _corner_number(word: bytes, known: int) -> int:
    """Counted from 0; a negative one counts from the last corner so far."""
    number = word.partition(b"/")[0]
    try:
        if number.startswith(b"-"):
            value = known - whole_number(number[1:])
            is_there = 0 <= value < known
        else:
            value = whole_number(number) - 1
            is_there = value >= 0
    except NotANumber:
        raise Refused("bad_index", detail=N_("a face names a corner that does not exist")) from None
    if not is_there:
        raise Refused("bad_index", detail=N_("a face names a corner that does not exist"))
    return value
