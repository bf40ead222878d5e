"""A part's measures as exact numbers.

Measures come from JSON, where a length is a binary fraction. Its shortest decimal form, which Python writes and every
database keeps, names that fraction and no other, so it is taken as the number itself: from here on everything is
decimal arithmetic with a fixed number of digits, and gives the same cents on any machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from portal.quotes.pricing.book import Size

_TWENTIETH = 5
# Far above anything that can be printed, and far below where arithmetic of 34 digits would lose a cent.
_LARGEST = Decimal(10) ** 12
_PRICED = ("accept", "warn")


@dataclass(frozen=True, slots=True)
class Measures:
    """What prices and checks are made of: mm, mm2 and mm3 of one part."""

    volume: Decimal
    size: Size
    area: Decimal
    side: Decimal
    up: Decimal
    down: Decimal
    overhang: Decimal
    contact: Decimal | None
    shells: int
    smallest_shell: Decimal | None
    # How thick the thinnest twentieth of its surface is, where that was measured.
    wall: Decimal | None
    has_colours: bool

    @property
    def height(self) -> Decimal:
        """How high the part stands as it was drawn."""
        return self.size[2]


def read_measures(found: Mapping[str, Any]) -> Measures | None:
    """The measures of a part that can be priced; None when a person has to look at it, or something is missing."""
    if found.get("outcome") not in _PRICED:
        return None
    sizes = found.get("bbox_mm")
    size = [exact(one) for one in sizes] if isinstance(sizes, (list, tuple)) else []
    needed = [exact(found.get(name)) for name in ("volume_mm3", "area_mm2", "side_mm2", "up_mm2", "down_mm2")]
    across, deep, high = size if len(size) == 3 else (None, None, None)
    volume, area, side, up, down = needed
    if not (volume and area and across and deep and high) or side is None or up is None or down is None:
        return None
    shells = exact(found.get("shells"))
    return Measures(
        volume=volume,
        size=(across, deep, high),
        area=area,
        side=side,
        up=up,
        down=down,
        overhang=exact(found.get("overhang_mm2")) or Decimal(0),
        contact=exact(found.get("contact_mm2")),
        shells=max(1, int(shells or 1)),
        smallest_shell=exact(found.get("smallest_shell_mm")),
        wall=_thinnest(found.get("walls_mm")),
        has_colours=found.get("has_colours") is True,
    )


def _thinnest(walls: Any) -> Decimal | None:
    """How thick the thinnest twentieth is, of hundredths of the surface from the thinnest up; a sharp edge always is
    thinner, and no reason for a word."""
    return exact(walls[_TWENTIETH]) if isinstance(walls, list) and len(walls) > _TWENTIETH else None


def exact(value: Any) -> Decimal | None:
    """A measured number as it was written; None for what is no such number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = Decimal(value) if isinstance(value, int) else Decimal(float.__repr__(value))
    return number if number.is_finite() and 0 <= number < _LARGEST else None
