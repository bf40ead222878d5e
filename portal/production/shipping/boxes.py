"""The parcel to start from: as heavy as the parts and their packing, as large as the largest part asks for."""

from collections.abc import Iterator, Mapping
from typing import Any

from portal.production.shipping.carriers.base import Parcel
from portal.production.shipping.errors import BadParcel

MOST_GRAMS, LONGEST_MM = 70_000, 2_000
# The boxes on our shelf: inner length, width and height, and their own weight.
BOXES: tuple[Parcel, ...] = (
    Parcel(grams=60, length_mm=200, width_mm=150, height_mm=100),
    Parcel(grams=140, length_mm=300, width_mm=200, height_mm=150),
    Parcel(grams=320, length_mm=400, width_mm=300, height_mm=250),
    Parcel(grams=700, length_mm=600, width_mm=400, height_mm=400),
)
# Paper and air around each part, and how much of a box parts of odd shapes fill.
_PADDING_MM, _FILLED_PERCENT, _PACKING_PERCENT = 20, 50, 10
_FALLBACK = Parcel(grams=500, length_mm=300, width_mm=200, height_mm=150)


def check_parcel(parcel: Parcel) -> Parcel:
    """The parcel, if a carrier would take it. Raises BadParcel."""
    sides = (parcel.length_mm, parcel.width_mm, parcel.height_mm)
    if not 1 <= parcel.grams <= MOST_GRAMS or not all(1 <= side <= LONGEST_MM for side in sides):
        raise BadParcel
    return parcel


def suggest_parcel(frozen: Mapping[str, Any]) -> Parcel:
    """What to fill the form with: the smallest box of ours that fits, and the parts' weight with packing.

    `frozen` is the quote as it was accepted; what it does not say is guessed, and staff weigh the parcel anyway.
    """
    parts = list(_parts(frozen))
    if not parts:
        return _FALLBACK
    grams = sum(weight * count for weight, count, _box in parts)
    largest = [max((box[axis] for _weight, _count, box in parts), default=0) + _PADDING_MM for axis in range(3)]
    volume = sum(count * _volume(box) for _weight, count, box in parts) * 100 // _FILLED_PERCENT
    for box in BOXES:
        sides = sorted((box.length_mm, box.width_mm, box.height_mm))
        if all(need <= side for need, side in zip(largest, sides, strict=True)) and volume <= _volume(sides):
            chosen = box
            break
    else:
        height, width, length = (min(side, LONGEST_MM) for side in largest)
        chosen = Parcel(grams=BOXES[-1].grams, length_mm=length, width_mm=width, height_mm=height)
    total = min(grams + grams * _PACKING_PERCENT // 100 + chosen.grams, MOST_GRAMS)
    return Parcel(max(total, 1), chosen.length_mm, chosen.width_mm, chosen.height_mm)


def _volume(sides: list[int]) -> int:
    return sides[0] * sides[1] * sides[2]


def counts_and_grams(frozen: Mapping[str, Any]) -> list[tuple[int, int]]:
    """How many of each part there are, and the grams of one; 0 where that is not known."""
    return [(count, grams) for grams, count, _box in _parts(frozen)]


def _parts(frozen: Mapping[str, Any]) -> Iterator[tuple[int, int, list[int]]]:
    """Grams of one piece, how many, and its sides in whole millimetres, smallest first."""
    lines = _list(_mapping(frozen.get("pricing")).get("lines"))
    items = _list(frozen.get("items"))
    for number, line in enumerate(lines):
        item = _mapping(items[number]) if number < len(items) else {}
        count = _whole(_mapping(line).get("quantity") or item.get("quantity"))
        sides = [_whole(side) + 1 for side in _list(_mapping(item.get("measures")).get("bbox_mm"))]
        yield _whole(_mapping(line).get("grams")), max(count, 1), sorted(sides) if len(sides) == 3 else [0, 0, 0]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _whole(value: Any) -> int:
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return 0
