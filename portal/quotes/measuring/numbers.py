"""Many decimal numbers out of text at once, each exactly what `float()` makes of it.

Eight digits are gathered as one 64-bit word and summed by three multiplications. A number with at most 53 bits of
digits and a power of ten up to 22 takes one division, which rounds correctly (both sides are exact); all others go one
by one.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]

SPACE = rb"[ \t\r\n]"
# What XML Schema calls a double, without its names for what is no number; Python's float() takes more.
NUMBER = rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER = re.compile(SPACE + rb"*(" + NUMBER + rb")" + SPACE + rb"*")
_INDEX = re.compile(SPACE + rb"*([0-9]{1,10})" + SPACE + rb"*")

_WORD = 8
_MOST_DIGITS = 16
_EXACT = np.uint64(1 << 53)
_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)
_HIGH_BITS = np.uint64(0x8080808080808080)
# One step each: neighbouring digits, pairs, fours.
_STEPS = [
    (np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(10 << 8 | 1), np.uint64(8)),
    (np.uint64(0x00FF00FF00FF00FF), np.uint64(100 << 16 | 1), np.uint64(16)),
    (np.uint64(0x0000FFFF0000FFFF), np.uint64(10000 << 32 | 1), np.uint64(32)),
]
# The powers of ten that a float holds exactly.
_MOST_TENS = 22
_TENS = np.array([float(10**power) for power in range(_MOST_TENS + 1)])
_TENS_WHOLE = np.array([10**power for power in range(_MOST_DIGITS + 1)], dtype=np.uint64)
_MINUS, _PLUS, _SPACE = ord("-"), ord("+"), ord(" ")


class NotANumber(ValueError):
    """Some text is not a number as we understand it."""


@dataclass(frozen=True)
class Text:
    """Bytes with room on both sides, so that any word of eight that touches them may be read."""

    bytes_: NDArray[np.uint8]
    words: NDArray[np.uint64]

    # Where the text begins; positions count from the room in front of it.
    START = 16

    @classmethod
    def of(cls, content: bytes | memoryview) -> "Text":
        """Copy the bytes."""
        size = -(-(len(content) + 2 * cls.START) // _WORD) * _WORD
        room = np.zeros(size, dtype=np.uint8)
        room[cls.START : cls.START + len(content)] = np.frombuffer(content, dtype=np.uint8)
        return cls(room, room.view("<u8"))

    def ending_at(self, ends: Positions) -> NDArray[np.uint64]:
        """The eight bytes in front of each position."""
        at = ends - _WORD
        word = at >> 3
        shift = ((at & 7) << 3).view(np.uint64)
        low: NDArray[np.uint64] = self.words[word]
        low >>= shift
        word += 1
        high = self.words[word]
        # A shift by 64 gives nothing, as it should.
        high <<= np.uint64(64) - shift
        low |= high
        return low

    def piece(self, start: int, end: int) -> bytes:
        """The bytes between two positions."""
        return self.bytes_[start:end].tobytes()


def _eight_digits(text: Text, ends: Positions, counts: Positions) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """The numbers of up to eight digits that end at `ends`, and which of them have something else among the digits."""
    value = text.ending_at(ends)
    value ^= _ZEROS
    shift = ((_WORD - counts) << 3).view(np.uint64)
    value >>= shift
    value <<= shift
    wrong = value + _ABOVE_NINE
    wrong |= value
    wrong &= _HIGH_BITS
    for mask, factor, bits in _STEPS:
        value &= mask
        value *= factor
        value >>= bits
    return value, wrong != 0


def whole_numbers(text: Text, starts: Positions, ends: Positions) -> NDArray[np.int64]:
    """What stands between each start and end, as numbers of one to ten digits. Raises NotANumber."""
    counts = ends - starts
    is_odd = (counts < 1) | (counts > _WORD)
    if is_odd.any():
        counts = np.where(is_odd, 0, counts)
    values, wrong = _eight_digits(text, ends, counts)
    numbers = values.view(np.int64)
    is_odd |= wrong
    for index in np.flatnonzero(is_odd):
        numbers[index] = whole_number(text.piece(starts[index], ends[index]))
    return numbers


def whole_number(piece: bytes) -> int:
    """One number of one to ten digits, white space around it allowed. Raises NotANumber."""
    found = _INDEX.fullmatch(piece)
    if found is None:
        raise NotANumber
    return int(found[1])


def decimal(piece: bytes) -> float:
    """One number, white space around it allowed. Raises NotANumber, also when it is beyond what a float holds."""
    found = _NUMBER.fullmatch(piece)
    if found is None:
        raise NotANumber
    value = float(found[1])
    if value in (float("inf"), float("-inf")):
        raise NotANumber
    return value


def decimals(
    text: Text, starts: Positions, ends: Positions, dots: Positions, powers: Positions | None = None
) -> Floats:
    """What stands between each start and end, as numbers.

    `dots` holds where the one dot is, the end without one, -1 with several; `powers` the same of the letter e.
    Raises NotANumber.
    """
    first = text.bytes_[starts]
    is_negative = first == _MINUS
    from_ = starts + (is_negative | (first == _PLUS))
    is_odd = dots < 0
    tens: Positions | None = None
    stops = ends
    if powers is not None:
        is_odd |= powers < 0
        stops = np.where(is_odd, ends, powers)
        tens = _powers(text, stops, ends, is_odd)
        # Without a dot the mantissa ends at the letter.
        dots = np.minimum(dots, stops)
    whole = dots - from_
    fraction = np.maximum(stops - dots - 1, 0)
    is_odd |= (whole < 0) | (whole > _WORD) | (fraction > _MOST_DIGITS) | (whole + fraction < 1)
    # Past 18 digits the product below would not fit its 64 bits.
    is_odd |= whole + fraction > 18
    if is_odd.any():
        whole = np.where(is_odd, 0, whole)
        fraction = np.where(is_odd, 0, fraction)
        dots = np.where(is_odd, ends, dots)
    mantissa, wrong = _eight_digits(text, dots, whole)
    is_odd |= wrong
    behind, wrong = _eight_digits(text, stops, np.minimum(fraction, _WORD))
    is_odd |= wrong
    if fraction.size and int(fraction.max()) > _WORD:
        long = np.flatnonzero(fraction > _WORD)
        front, wrong = _eight_digits(text, stops[long] - _WORD, fraction[long] - _WORD)
        is_odd[long] |= wrong
        behind[long] += front * _TENS_WHOLE[_WORD]
    mantissa *= _TENS_WHOLE[fraction]
    mantissa += behind
    is_odd |= mantissa >= _EXACT
    numbers = mantissa.astype(np.float64)
    if tens is None:
        numbers /= _TENS[fraction]
    else:
        tens -= fraction
        is_odd |= np.abs(tens) > _MOST_TENS
        np.clip(tens, -_MOST_TENS, _MOST_TENS, out=tens)
        # One of the two is a multiplication or division by 1.
        numbers /= _TENS[np.maximum(-tens, 0)]
        numbers *= _TENS[np.maximum(tens, 0)]
    np.negative(numbers, out=numbers, where=is_negative)
    odd = np.flatnonzero(is_odd)
    if odd.size:
        numbers[odd] = [decimal(text.piece(starts[index], ends[index])) for index in odd]
    return numbers


def _powers(text: Text, letters: Positions, ends: Positions, is_odd: NDArray[np.bool_]) -> Positions:
    """The powers of ten behind the letters; 0 without a letter. Marks in `is_odd` what has to be looked at alone."""
    has_letter = letters < ends
    sign = text.bytes_[np.minimum(letters + 1, ends)]
    is_negative = has_letter & (sign == _MINUS)
    counts = ends - letters - 1 - (has_letter & ((sign == _PLUS) | (sign == _MINUS)))
    is_odd |= has_letter & ((counts < 1) | (counts > _WORD))
    counts = np.where(has_letter & ~is_odd, counts, 0)
    values, wrong = _eight_digits(text, ends, counts)
    is_odd |= wrong
    tens = values.view(np.int64)
    np.negative(tens, out=tens, where=is_negative)
    return tens


def words(text: Text) -> tuple[Positions, Positions]:
    """Where each run of bytes without white space begins and ends."""
    is_space = text.bytes_ <= _SPACE
    borders = np.flatnonzero(is_space[1:] != is_space[:-1])
    borders += 1
    return borders[0::2], borders[1::2]


def only_mark(marks: Positions, starts: Positions, ends: Positions) -> Positions:
    """For each word, where its one mark is; its end without one; -1 when there are several."""
    if not marks.size:
        return ends
    far = np.append(marks, [np.iinfo(np.int64).max] * 2)
    at = np.searchsorted(marks, starts)
    found: Positions = np.minimum(far[at], ends)
    found[far[at + 1] < ends] = -1
    return found
