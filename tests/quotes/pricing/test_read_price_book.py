"""Reading a price book: a good one reads back as itself, a bad one names every field that is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from portal.quotes.pricing.book import RUSH, read_book, write_book
from portal.quotes.pricing.errors import InvalidPriceBook
from tests.quotes.books import PLASTICS, book_content

DEMO = Path(__file__).resolve().parents[3] / "data" / "price-book.json"
_REMOVED = object()


def _problems(content: Any) -> dict[str, str]:
    with pytest.raises(InvalidPriceBook) as refused:
        read_book(content)
    return {problem.path: str(problem.message) for problem in refused.value.problems}


def _changed(path: str, value: Any) -> dict[str, Any]:
    """The book of the tests with one value replaced: `materials.0.density`."""
    content = book_content()
    spot: Any = content
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        spot = spot[step]
    if value is _REMOVED:
        del spot[last]
    else:
        spot[last] = value
    return content


def test_book_reads_back_as_itself() -> None:
    content = book_content()
    assert write_book(read_book(content)) == content
    assert json.loads(json.dumps(write_book(read_book(content)))) == content


def test_demo_book_is_valid_and_has_everything_that_is_offered() -> None:
    content = json.loads(DEMO.read_text())
    book = read_book(content)
    assert write_book(book) == content
    assert (book.currency, book.auto_approve_below_minor, book.validity_days) == ("PLN", 50_000, 30)
    assert tuple(one.code for one in book.materials) == PLASTICS
    assert [one.code for one in book.finishes] == ["standard", "smooth", "painted"]
    assert [(level.code, int(level.percent)) for level in book.rush] == [*zip(RUSH, (0, 20, 40, 60), strict=True)]
    limits = {one.code: one.largest_mm for one in book.materials}
    assert [int(length) for length in limits["abs"] or ()] == [200, 200, 100]
    assert limits["asa"] == limits["abs"]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("currency", "XXX", "currency code"),
        ("currency", "JPY", ""),
        ("tax_rate_basis_points", 10_001, "from 0 to 10000"),
        ("tax_rate_basis_points", 23.0, "whole number"),
        ("tax_rate_basis_points", True, "whole number"),
        ("auto_approve_below", 500.0, "as text"),
        ("auto_approve_below", "500,00", "must be a number"),
        ("auto_approve_below", "NaN", "must be a number"),
        ("auto_approve_below", "1e3", "must be a number"),
        ("auto_approve_below", "500.001", "2 decimals"),
        ("auto_approve_below", "-1", "from 0 to"),
        ("timezone", "Mars/Olympus", "time zone"),
        ("timezone", "../etc", "time zone"),
        ("holidays", ["2027-02-30"], "no day"),
        ("holidays", ["13-01"], "no day"),
        ("holidays", "12-25", "list of days"),
        ("printers", [], "from 1 to 50"),
        ("printers", {}, "must be a list"),
        ("printers.0", "small", "group of fields"),
        ("printers.0.build_mm", ["200", "200"], "three lengths"),
        ("printers.0.build_mm", None, "three lengths"),
        ("printers.0.margin_mm", "50.5", "from 0 to 50"),
        ("printers.0.materials", ["pla", "pla", "petg", "abs", "asa", "tpu"], "each code once"),
        ("printers.0.hour_price", "0.00", "from 0.01"),
        ("materials.0.code", "PLA plus", "small letters"),
        ("materials.0.name", "  ", "empty"),
        ("materials.0.name", "a\nb", "one line"),
        ("materials.0.name", "x" * 61, "60 characters"),
        ("materials.0.density", _REMOVED, "missing"),
        ("materials.0.densty", "1.24", "not a field"),
        ("materials.0.perimeters", 0, "from 1 to 20"),
        ("materials.0.infill_usual", 5, "between"),
        ("materials.0.line_mm", "0.1", "layer"),
        ("materials.0.colours", [], "from 1"),
        ("breaks.1.from_quantity", 10, "more than in the row before"),
        ("breaks.1.percent", "4", "never cost more"),
        ("rush.0.percent", "1", "must be 0"),
        ("rush.0.daily_hours", "0", "more than 0"),
        ("rush.0.stretches", "yes", "true or false"),
        ("checks.supports_review_percent", "4", "supports are likely"),
        ("checks", None, "group of fields"),
    ],
)
def test_each_wrong_field_is_named_in_words(path: str, value: Any, words: str) -> None:
    problems = _problems(_changed(path, value))
    parts = path.split(".")
    named = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in parts).lstrip(".")
    if path == "currency" and value == "JPY":
        # Amounts with cents are wrong in a currency that has none, each by its own path.
        assert "auto_approve_below" in problems
        assert "materials[0].kg_price" in problems
        return
    assert [*problems] == [named]
    assert words in problems[named]


def test_rows_that_name_each_other_have_to_exist() -> None:
    assert _problems(_changed("printers.0.materials", ["pla", "wood", "petg", "abs", "asa", "tpu"])) == {
        "printers[0].materials": 'there is no material "wood"'
    }
    content = book_content()
    content["printers"][0]["materials"].remove("tpu")
    content["finishes"][0]["materials"].remove("tpu")
    assert _problems(content) == {"materials[4].code": "no finish is offered for this material"}


def test_a_code_stands_in_its_table_once() -> None:
    content = book_content()
    content["materials"][1]["code"] = "pla"
    content["materials"][0]["colours"][1]["code"] = "black"
    problems = _problems(content)
    assert '"pla" stands in this table twice' in problems["materials[1].code"]
    assert '"black" stands in this table twice' in problems["materials[0].colours[1].code"]


def test_a_machine_that_takes_no_time_or_has_no_room_is_refused() -> None:
    content = book_content()
    for name in ("wall_seconds", "inner_seconds", "infill_seconds", "layer_seconds"):
        content["printers"][0][name] = "0"
    content["printers"][1]["build_mm"] = ["5", "300", "300"]
    assert [*_problems(content)] == ["printers[0].wall_seconds", "printers[1].margin_mm"]


def test_all_four_rush_levels_are_there() -> None:
    content = book_content()
    content["rush"][2]["code"] = "rush"
    problems = _problems(content)
    assert "super_rush" in problems["rush"]


def test_every_problem_is_named_at_once() -> None:
    content = _changed("materials.0.density", "heavy")
    content["materials"][2]["kg_price"] = 240.5
    content["minimum"] = "-1"
    content["extra"] = 1
    assert set(_problems(content)) == {"materials[0].density", "materials[2].kg_price", "minimum", "extra"}


@pytest.mark.parametrize("content", [None, [], "book", 7, {}])
def test_something_else_entirely_is_refused(content: Any) -> None:
    assert _problems(content)
