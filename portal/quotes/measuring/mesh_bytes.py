"""The fast way through the inside of `<vertices>` and `<triangles>`: plain pieces, looked at as columns of bytes.

A piece is plain when its first element has the expected form and everything between two quoted values equals, byte for
byte, what stands there in the first element. Whatever is not plain (comments, other order, references, prefixes) is the
XML parser's, and so is every complaint: this module says "not plain" and never "wrong".
"""

import re

import numpy as np
from numpy.typing import NDArray

from portal.quotes.measuring.numbers import SPACE, NotANumber, Positions, Text, decimals, whole_numbers

_QUOTE, _DOT = ord('"'), ord(".")
_OF_NUMBERS = b"0123456789+-.eE"
_END = re.compile(SPACE + rb"*/>" + SPACE + rb"*")
# Values that the reader has no use for, and that a plain piece may hold when they are whole numbers.
_UNUSED = {b"pid", b"p1", b"p2", b"p3"}


class _Form:
    """How one element is written: its attributes in order."""

    def __init__(self, element: bytes, wanted: tuple[bytes, ...], unused: set[bytes]) -> None:
        self.wanted = wanted
        self.unused = unused
        attribute = SPACE + rb"+([a-z][a-z0-9]*)=\"[^\"<&]*\""
        self.first = re.compile(SPACE + rb"*<" + element + rb"((?:" + attribute + rb")+)" + SPACE + rb"*/>")
        self.attribute = re.compile(attribute)
        self.between = re.compile(SPACE + rb"*/>" + SPACE + rb"*<" + element + SPACE + rb"+[a-z][a-z0-9]*=")

    def names(self, piece: bytes) -> list[bytes] | None:
        """The attributes of the first element; None unless they are the expected ones."""
        found = self.first.match(piece)
        if found is None:
            return None
        names = self.attribute.findall(found[1])
        rest = set(names) - set(self.wanted)
        is_expected = len(set(names)) == len(names) and set(self.wanted) <= set(names) and rest <= self.unused
        return names if is_expected else None


_VERTEX = _Form(b"vertex", (b"x", b"y", b"z"), set())
_TRIANGLE = _Form(b"triangle", (b"v1", b"v2", b"v3"), _UNUSED)


def vertices(piece: bytes) -> NDArray[np.float64] | None:
    """The corners in a piece, as three rows; None when the piece is not plain."""
    names = _VERTEX.names(piece)
    if names is None:
        return None
    text = Text.of(piece)
    is_dot = text.bytes_ == _DOT
    marks = np.flatnonzero(is_dot | (text.bytes_ == _QUOTE))
    at = np.flatnonzero(text.bytes_[marks] == _QUOTE)
    quotes = marks[at]
    if not _is_plain(_VERTEX, names, piece, text, quotes):
        return None
    opening, closing = at[0::2], at[1::2]
    dots_within = closing - opening - 1
    starts, ends = quotes[0::2] + 1, quotes[1::2]
    # The mark behind the opening quote is the dot if there is one, and the closing quote otherwise.
    dots = marks[opening + 1]
    dots[dots_within > 1] = -1
    try:
        numbers = decimals(text, starts, ends, dots)
    except NotANumber:
        return None
    return np.stack([numbers[names.index(name) :: 3] for name in _VERTEX.wanted])


def triangles(piece: bytes) -> NDArray[np.int64] | None:
    """The corner numbers in a piece, as three rows; None when the piece is not plain."""
    names = _TRIANGLE.names(piece)
    if names is None:
        return None
    text = Text.of(piece)
    quotes = np.flatnonzero(text.bytes_ == _QUOTE)
    if not _is_plain(_TRIANGLE, names, piece, text, quotes):
        return None
    try:
        numbers = whole_numbers(text, quotes[0::2] + 1, quotes[1::2])
    except NotANumber:
        return None
    return np.stack([numbers[names.index(name) :: len(names)] for name in _TRIANGLE.wanted])


def _is_plain(form: _Form, names: list[bytes], piece: bytes, text: Text, quotes: Positions) -> bool:
    """Whether what stands between the values is the same in each element."""
    step = 2 * len(names)
    if quotes.size == 0 or quotes.size % step:
        return False
    first, last = int(quotes[0]) - Text.START, int(quotes[-1]) - Text.START
    if _END.fullmatch(piece, last + 1) is None:
        return False
    gaps = [
        _same_length(text, quotes[2 * number - 1 :: step], quotes[2 * number :: step])
        for number in range(1, len(names))
    ]
    between = b""
    if quotes.size > step:
        between = _same_length(text, quotes[step - 1 : -1 : step], quotes[step::step]) or b""
        # The first attribute's name was read from the first element; the gap may name another one.
        if form.between.fullmatch(between) is None or not piece[:first].endswith(_last_word(between)):
            return False
    if not all(gaps):
        return False
    # All gaps are as long as the first ones, and hold digits where those do. So the rest of each is the same as well,
    # if only the text without all that numbers are made of repeats itself from quote to quote.
    element = b'""' + b"".join(_bare(gap or b"") + b'""' for gap in gaps)
    elements = (element + _bare(between)) * (quotes.size // step - 1) + element
    return _bare(piece[first : last + 1]) == elements


def _bare(piece: bytes) -> bytes:
    return piece.translate(None, _OF_NUMBERS)


def _last_word(gap: bytes) -> bytes:
    return re.split(SPACE, gap)[-1]


def _same_length(text: Text, after: Positions, before: Positions) -> bytes | None:
    """What stands between the first two quotes; None unless it is as long everywhere, with the same digits in it."""
    length = int(before[0] - after[0])
    if (before - after != length).any():
        return None
    gap = text.piece(int(after[0]) + 1, int(before[0]))
    for offset, byte in enumerate(gap, start=1):
        if byte in _OF_NUMBERS and (text.bytes_[after + offset] != byte).any():
            return None
    return gap
