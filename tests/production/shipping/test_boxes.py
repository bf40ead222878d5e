"""The parcel to start from, out of whatever the frozen quote says."""

from typing import Any

import pytest

from portal.production.shipping.boxes import LONGEST_MM, MOST_GRAMS, suggest_parcel
from portal.production.shipping.carriers.base import Parcel


def frozen(*parts: tuple[str, int, list[float]]) -> dict[str, Any]:
    return {
        "pricing": {"lines": [{"grams": grams, "quantity": count} for grams, count, _box in parts]},
        "items": [{"measures": {"bbox_mm": box}} for _grams, _count, box in parts],
    }


def test_a_small_part_goes_into_the_smallest_box() -> None:
    # 2 x 25 g, a tenth more for packing, and the box itself.
    assert suggest_parcel(frozen(("25.00", 2, [40, 30, 20]))) == Parcel(50 + 5 + 60, 200, 150, 100)


def test_a_long_part_asks_for_a_longer_box() -> None:
    assert suggest_parcel(frozen(("25", 1, [350.4, 30, 20]))).length_mm == 400


def test_many_parts_ask_for_more_room() -> None:
    one = suggest_parcel(frozen(("50", 1, [100, 80, 60])))
    many = suggest_parcel(frozen(("50", 40, [100, 80, 60])))
    assert many.length_mm > one.length_mm
    assert many.grams == 2_000 + 200 + 700


def test_what_fits_no_box_gets_one_of_its_own_size() -> None:
    box = suggest_parcel(frozen(("900", 1, [1_500, 100, 100])))
    assert (box.length_mm, box.width_mm) == (1_521, 121)


@pytest.mark.parametrize(
    "content",
    [
        {}, {"pricing": None}, {"pricing": {"lines": "x"}}, {"pricing": {"lines": [None, {}, {"grams": "NaN"}]}},
        {"pricing": {"lines": [{"grams": "1e400", "quantity": -3}]}, "items": [{"measures": {"bbox_mm": ["x", None]}}]},
    ],
)  # fmt: skip
def test_nonsense_gives_a_box_all_the_same(content: dict[str, Any]) -> None:
    box = suggest_parcel(content)
    assert 1 <= box.grams <= MOST_GRAMS
    assert 1 <= box.length_mm <= LONGEST_MM
