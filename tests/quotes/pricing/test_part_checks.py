"""What is said about making a part, and when it keeps a quote waiting for staff."""

from itertools import permutations
from typing import Any

import pytest

from portal.quotes.pricing.price import LinePrice, price_parts
from tests.quotes.books import book_content, cube, make_book, make_part


def _line(measures: dict[str, Any], **options: Any) -> LinePrice:
    return price_parts(make_book(), [make_part(measures, **options)], rush="standard").lines[0]


def _codes(measures: dict[str, Any], **options: Any) -> list[str]:
    return [one.code for one in _line(measures, **options).findings]


def test_an_ordinary_part_has_nothing_to_say() -> None:
    assert _codes(cube()) == []


@pytest.mark.parametrize("size", list(permutations([390.0, 290.0, 100.0])))
def test_a_part_fits_in_any_of_six_orientations(size: tuple[float, ...]) -> None:
    line = _line(cube(bbox_mm=list(size)))
    assert line.printer == "large"
    assert line.unit_minor is not None
    assert line.review == ()


@pytest.mark.parametrize(
    ("size", "printer"), [([200.0, 200.0, 200.0], "small"), ([200.01, 200.0, 200.0], "large"), ([1.0] * 3, "small")]
)
def test_the_first_printer_with_room_makes_it_and_sets_the_rate(size: list[float], printer: str) -> None:
    line = _line(cube(bbox_mm=size))
    assert line.printer == printer
    rate = {step.code: step for step in line.steps}["machine"].values["hour_price"]
    assert rate == {"small": "10", "large": "15"}[printer]


def test_a_part_too_big_for_every_printer_waits_without_a_price() -> None:
    line = _line(cube(bbox_mm=[400.1, 300, 300]))
    assert line.review == ("too_big", "no_price")
    assert line.findings[0].values == {"size": "400.1 x 300 x 300", "room": "400 x 300 x 300"}
    assert line.unit_minor is None


@pytest.mark.parametrize(
    ("size", "fits"),
    [([200.0, 200.0, 100.0], True), ([100.0, 200.0, 200.0], True), ([101.0, 200.0, 101.0], False)],
)
def test_a_material_has_limits_of_its_own(size: list[float], fits: bool) -> None:
    codes = _codes(cube(bbox_mm=size), material="abs")
    assert ("too_big" in codes) is not fits
    assert _codes(cube(bbox_mm=[101.0, 200.0, 101.0])) == []


@pytest.mark.parametrize(
    ("material", "size", "near"),
    [
        ("pla", [200.0, 200.0, 200.0], False),
        ("pla", [390.0, 290.0, 290.0], False),
        ("pla", [390.1, 290.0, 290.0], True),
        ("tpu", [190.0, 190.0, 190.0], False),
        ("tpu", [190.1, 190.0, 190.0], True),
    ],
)
def test_a_part_near_the_limits_of_the_largest_printer_waits(material: str, size: list[float], near: bool) -> None:
    line = _line(cube(bbox_mm=size), material=material)
    assert line.review == (("near_limits",) if near else ())
    assert line.unit_minor is not None


def test_a_very_long_print_waits() -> None:
    content = book_content()
    content["printers"][0]["longest_hours"] = "1"
    book = make_book(**content)
    assert price_parts(book, [make_part(cube(20.0), quantity=100)], rush="standard").review == ()
    assert price_parts(book, [make_part(cube(40.0))], rush="standard").review == ("long_print",)


@pytest.mark.parametrize(
    ("overhang", "codes", "share"),
    [(0.0, [], "0"), (120.0, [], "0"), (120.1, ["supports_likely"], "25"), (720.1, ["supports"], "25")],
)
def test_supports_are_priced_by_rule_and_checked_when_they_are_many(
    overhang: float, codes: list[str], share: str
) -> None:
    """5 % and 30 % of 2,400 mm2 are the book's limits."""
    line = _line(cube(overhang_mm2=overhang))
    assert [one.code for one in line.findings] == codes
    assert {step.code: step for step in line.steps}["weight"].values["supports"] == share
    plain = _line(cube())
    if share == "25":
        assert float(line.grams) == pytest.approx(float(plain.grams) * 1.25, abs=0.01)
        assert float(line.hours) == pytest.approx(float(plain.hours) * 1.25, abs=0.0001)
    assert line.review == tuple(code for code in codes if code == "supports")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"bbox_mm": [10, 60, 80.1]}, "tall"),
        ({"contact_mm2": 49.9}, "small_contact"),
        ({"smallest_shell_mm": 1.9}, "small_feature"),
        ({"shells": 2}, "several_pieces"),
        ({"walls_mm": [0.9] * 6 + [5.0] * 94}, "thin_wall"),
        ({"has_colours": True}, "colours_ignored"),
    ],
)
def test_notes_are_said_and_keep_nobody_waiting(change: dict[str, Any], code: str) -> None:
    line = _line(cube(**change))
    assert [one.code for one in line.notes] == [code]
    assert line.review == ()


@pytest.mark.parametrize(
    "change",
    [
        {"bbox_mm": [10, 60, 80.0]},
        {"contact_mm2": 50},
        {"contact_mm2": None},
        {"smallest_shell_mm": 2},
        {"smallest_shell_mm": None},
        {"shells": 1},
        {"walls_mm": [0.9] * 5 + [1.0] * 95},
        {"walls_mm": None},
    ],
)
def test_at_the_very_limit_nothing_is_said(change: dict[str, Any]) -> None:
    assert _codes(cube(**change)) == []
