"""What holds for every price whatever is asked for: the same again, never dearer in bulk, never cheaper for more."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from portal.quotes.pricing.book import RUSH, read_book, write_book
from portal.quotes.pricing.price import Options, Part, Price, price_parts
from tests.quotes.books import PLASTICS, cube, make_book, make_part

BOOK = make_book()
_lengths = st.floats(0.5, 190, allow_nan=False)
_finish_of = {"tpu": ["standard"]}


@st.composite
def measured(draw: st.DrawFn) -> dict[str, Any]:
    """A closed body of any shape that goes on the printer: volume and surfaces need not be those of a box."""
    across, deep, high = draw(_lengths), draw(_lengths), draw(_lengths)
    volume = across * deep * high * draw(st.floats(0.001, 1))
    up = across * deep * draw(st.floats(0.05, 3))
    side = 2 * (across + deep) * high * draw(st.floats(0.05, 5))
    return cube(
        volume_mm3=volume,
        bbox_mm=[across, deep, high],
        area_mm2=side + 2 * up,
        side_mm2=side,
        up_mm2=up,
        down_mm2=up,
        overhang_mm2=up * draw(st.floats(0, 1)),
        shells=draw(st.integers(1, 20)),
    )


@st.composite
def asked(draw: st.DrawFn) -> Part:
    material = draw(st.sampled_from(PLASTICS))
    finish = draw(st.sampled_from(_finish_of.get(material, ["standard", "smooth", "painted"])))
    infill = draw(st.integers(10, 60))
    return Part(draw(measured()), Options(material, "black", finish, infill), draw(st.integers(1, 10_000)))


def _price(part: Part, rush: str = "standard") -> Price:
    return price_parts(BOOK, [part], rush=rush)


def _unit(part: Part) -> int:
    unit = _price(part).lines[0].unit_minor
    assert unit is not None
    return unit


@settings(deadline=None)
@given(st.lists(asked(), max_size=4), st.sampled_from(RUSH))
def test_recalculating_from_what_was_stored_gives_the_same_cents(parts: list[Part], rush: str) -> None:
    """Book, measures and price all go through the JSON that a database keeps."""
    first = price_parts(BOOK, parts, rush=rush).to_json()
    book = read_book(json.loads(json.dumps(write_book(BOOK))))
    again = [Part(json.loads(json.dumps(part.measures, sort_keys=True)), part.options, part.quantity) for part in parts]
    assert price_parts(book, again, rush=rush).to_json() == first
    assert Price.from_json(json.loads(json.dumps(first))).to_json() == first


@settings(deadline=None)
@given(st.lists(asked(), max_size=5), st.sampled_from(RUSH))
def test_the_total_is_exactly_its_lines_and_charges(parts: list[Part], rush: str) -> None:
    price = price_parts(BOOK, parts, rush=rush)
    for line in price.lines:
        assert line.total_minor == (line.unit_minor or 0) * line.quantity
    charged = sum(charge.amount_minor for charge in price.charges)
    assert price.total_minor == sum(line.total_minor for line in price.lines) + charged
    assert all(charge.amount_minor > 0 for charge in price.charges)
    assert 0 <= price.tax_minor < price.total_minor or price.total_minor == 0
    if any(line.unit_minor for line in price.lines):
        assert price.total_minor >= 4000


@settings(deadline=None)
@given(measured(), st.integers(1, 10_000), st.integers(1, 10_000))
def test_more_pieces_never_make_a_piece_dearer(found: dict[str, Any], one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert _unit(make_part(found, quantity=more)) <= _unit(make_part(found, quantity=fewer))


@settings(deadline=None)
@given(measured(), st.floats(1, 3))
def test_more_volume_never_makes_a_piece_cheaper(found: dict[str, Any], factor: float) -> None:
    fuller = {**found, "volume_mm3": found["volume_mm3"] * factor}
    before, after = _price(make_part(found)).lines[0], _price(make_part(fuller)).lines[0]
    assert after.grams >= before.grams
    assert after.hours >= before.hours
    assert (after.unit_minor or 0) >= (before.unit_minor or 0)


@settings(deadline=None)
@given(measured(), st.integers(10, 100), st.integers(10, 100))
def test_more_infill_never_makes_a_piece_cheaper(found: dict[str, Any], one: int, other: int) -> None:
    less, more = sorted((one, other))
    assert _unit(make_part(found, infill_percent=more)) >= _unit(make_part(found, infill_percent=less))


@settings(deadline=None)
@given(measured(), st.decimals(1, 10_000, places=2), st.decimals(1, 10_000, places=2))
def test_dearer_plastic_never_makes_a_piece_cheaper(found: dict[str, Any], one: Any, other: Any) -> None:
    def unit(kg_price: Any) -> int:
        content = write_book(BOOK)
        content["materials"][0]["kg_price"] = str(kg_price)
        return price_parts(read_book(content), [make_part(found)], rush="standard").lines[0].unit_minor or 0

    cheap, dear = sorted((one, other))
    assert unit(dear) >= unit(cheap)


@settings(deadline=None)
@given(st.lists(asked(), min_size=1, max_size=4))
def test_sooner_is_never_cheaper(parts: list[Part]) -> None:
    totals = [price_parts(BOOK, parts, rush=level).total_minor for level in RUSH]
    assert totals == sorted(totals)


@settings(deadline=None)
@given(st.lists(asked(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_parts_does_not_change_the_total(parts: list[Part], random: Any) -> None:
    shuffled = random.sample(parts, len(parts))
    assert price_parts(BOOK, shuffled, rush="rush").total_minor == price_parts(BOOK, parts, rush="rush").total_minor
