"""The price of parts, against figures worked out by hand and by a second, independent calculation."""

import json
import math
from decimal import Decimal, getcontext, localcontext
from typing import Any

import pytest

from portal.quotes.pricing.price import Price, price_parts
from tests.quotes.books import book_content, cube, make_book, make_part


def _by_floats(measures: dict[str, Any], infill: float) -> tuple[float, float]:
    """Grams and hours of PLA on the small printer as quoting.md's formula says, in ordinary floating point."""
    h, w, p, rho = 0.2, 0.45, 2, 1.24
    s = w - h * (1 - math.pi / 4)
    side, volume = measures["side_mm2"], measures["volume_mm3"]
    t_wall = p * s + (w - s)
    surface = side * t_wall + h * (5 * measures["up_mm2"] + 4 * measures["down_mm2"])
    shell = (surface**-4.6 + volume**-4.6) ** (-1 / 4.6)
    plastic = 1.025 * (shell + infill * (volume - shell))
    wall = min(side * t_wall, shell)
    seconds = 3.6 + 0.474 * wall + 0.310 * (shell - wall) + 0.186 * infill * (volume - shell)
    seconds += 1.18 * measures["bbox_mm"][2] / h * measures["shells"]
    return plastic * rho / 1000, seconds / 3600


@pytest.mark.parametrize("side", [3.0, 20.0, 77.7, 150.0])
@pytest.mark.parametrize("infill", [10, 20, 100])
def test_grams_and_hours_are_those_of_the_formula(side: float, infill: int) -> None:
    line = price_parts(make_book(), [make_part(cube(side), infill_percent=infill)], rush="standard").lines[0]
    grams, hours = _by_floats(cube(side), infill / 100)
    assert float(line.grams) == pytest.approx(grams, abs=0.0051)
    assert float(line.hours) == pytest.approx(hours, abs=0.000051)


def test_golden_price_of_a_cube() -> None:
    """4.16 g and 0.3373 h of a 20 mm cube: 0.8736 plastic, 3.373 machine, 5.00 handling, nothing for the finish."""
    price = price_parts(make_book(), [make_part()], rush="standard")
    line = price.lines[0]
    assert (line.grams, line.hours) == (Decimal("4.16"), Decimal("0.3373"))
    assert line.unit_minor == 925
    assert [(one.code, one.amount_minor) for one in price.charges] == [("setup", 1000), ("minimum", 2075)]
    assert price.total_minor == 4000
    # 23 % inside 40.00.
    assert price.tax_minor == 748


def test_golden_price_of_a_quote_with_everything() -> None:
    price = price_parts(
        make_book(),
        [
            make_part(cube(60.5), quantity=12, finish="painted"),
            make_part(cube(41.3), quantity=100, material="petg", infill_percent=35),
            make_part(cube(33.3), material="petg", finish="smooth", colour="white"),
        ],
        rush="super_rush",
    )
    assert [(line.unit_minor, line.total_minor) for line in price.lines] == [
        # 75.75 g, 4.4102 h, 219.615 cm2: (15.9075 + 44.102 + 5 + 53.923) less 5 % = 112.985875.
        (11299, 135_588),
        # 39.64 g, 2.2156 h: (9.15684 + 22.156 + 5) less 20 % = 29.050272.
        (2905, 290_500),
        # 15.65 g, 1.0496 h, 66.5334 cm2: 3.61515 + 10.496 + 5 + 11.65334 = 30.76449.
        (3076, 3076),
    ]
    # Two materials; 40 % of 4,311.64.
    assert [(one.code, one.amount_minor) for one in price.charges] == [("setup", 2000), ("rush", 172_466)]
    assert (price.total_minor, price.tax_minor, price.review) == (603_630, 112_874, ())


def test_total_is_lines_and_charges_and_each_line_is_unit_times_quantity() -> None:
    parts = [make_part(cube(30), quantity=7), make_part(cube(44.4), quantity=33, material="tpu")]
    price = price_parts(make_book(), parts, rush="rush")
    assert all(line.total_minor == (line.unit_minor or 0) * line.quantity for line in price.lines)
    assert price.total_minor == sum(x.total_minor for x in price.lines) + sum(x.amount_minor for x in price.charges)
    assert price.hours == sum((line.hours * line.quantity for line in price.lines), Decimal(0))


def test_half_a_cent_is_rounded_up_once_after_the_break() -> None:
    """Everything but handling is next to nothing: 0.10 x 10 pieces less 5 % are 0.095 each, so 0.10 each."""
    content = book_content(handling_price="0.10", minimum="0.00")
    for printer in content["printers"]:
        printer["hour_price"] = "0.01"
    content["materials"][0] |= {"kg_price": "0.01", "setup": "0.00"}
    # Each piece: 0.10 + a trace of plastic and time.
    price = price_parts(make_book(**content), [make_part(cube(2.0), quantity=10)], rush="standard")
    unit = price.lines[0].unit_minor
    assert unit == 10
    assert price.total_minor == 100


@pytest.mark.parametrize(("percent", "surcharge"), [("0", None), ("0.1", 4), ("12.5", 500), ("33.3", 1332)])
def test_rush_is_a_charge_of_its_own_on_lines_set_up_and_minimum(percent: str, surcharge: int | None) -> None:
    content = book_content()
    content["rush"][1]["percent"] = percent
    price = price_parts(make_book(**content), [make_part()], rush="rush")
    charged = {one.code: one.amount_minor for one in price.charges}
    assert charged.get("rush") == surcharge
    assert price.total_minor == 4000 + (surcharge or 0)


def test_set_up_is_charged_once_for_each_material() -> None:
    parts = [make_part(quantity=50), make_part(quantity=50), make_part(quantity=50, material="petg")]
    price = price_parts(make_book(), parts, rush="standard")
    assert [(one.code, one.amount_minor, dict(one.values)) for one in price.charges] == [
        ("setup", 2000, {"materials": "PLA, PETG"})
    ]


def test_minimum_lifts_the_order_exactly_to_it() -> None:
    assert price_parts(make_book(minimum="12345.67"), [make_part()], rush="standard").total_minor == 1_234_567
    charges = price_parts(make_book(minimum="0.00"), [make_part()], rush="standard").charges
    assert [one.code for one in charges] == ["setup"]


@pytest.mark.parametrize("outcome", ["manual", "reject", None, "odd"])
def test_part_that_could_not_be_measured_has_no_price_and_waits(outcome: str | None) -> None:
    price = price_parts(make_book(), [make_part(cube(outcome=outcome)), make_part()], rush="standard")
    assert price.lines[0].unit_minor is None
    assert price.lines[0].total_minor == 0
    assert price.review == ("no_price",)
    assert not price.is_complete
    assert price.total_minor == 4000


@pytest.mark.parametrize(
    "change",
    [
        {"volume_mm3": None},
        {"volume_mm3": 0},
        {"volume_mm3": -8000.0},
        {"volume_mm3": float("nan")},
        {"volume_mm3": float("inf")},
        {"volume_mm3": "8000"},
        {"volume_mm3": True},
        {"volume_mm3": 10**400},
        {"bbox_mm": [20, 20]},
        {"bbox_mm": None},
        {"bbox_mm": [20, 0, 20]},
        {"area_mm2": 0},
        {"side_mm2": None},
    ],
)
def test_measures_that_make_no_sense_have_no_price(change: dict[str, Any]) -> None:
    price = price_parts(make_book(), [make_part(cube(**change))], rush="standard")
    assert price.lines[0].review == ("no_price",)
    assert (price.total_minor, price.charges) == (0, ())


def test_nothing_at_all_costs_nothing() -> None:
    price = price_parts(make_book(), [], rush="emergency")
    assert (price.total_minor, price.tax_minor, price.lines, price.charges) == (0, 0, (), ())


@pytest.mark.parametrize(
    "options",
    [
        {"material": "wood"},
        {"colour": "gold"},
        {"finish": "gilded"},
        {"material": "tpu", "finish": "painted"},
        {"infill_percent": 5},
        {"material": "tpu", "infill_percent": 61},
    ],
)
def test_what_the_book_no_longer_offers_waits_for_staff(options: dict[str, Any]) -> None:
    price = price_parts(make_book(), [make_part(**options)], rush="standard")
    assert price.review == ("not_offered", "no_price")
    assert price.total_minor == 0


@pytest.mark.parametrize("quantity", [0, -1, 10_001])
def test_quantity_out_of_range_is_refused(quantity: int) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        make_part(quantity=quantity)


def test_unknown_rush_level_is_refused() -> None:
    with pytest.raises(ValueError, match="not a rush level"):
        price_parts(make_book(), [make_part()], rush="yesterday")


def test_ten_thousand_pieces_as_large_as_the_printer_fit_into_the_database() -> None:
    content = book_content()
    for printer in content["printers"]:
        printer |= {"build_mm": ["1500", "1500", "1500"], "margin_mm": "0", "hour_price": "10000.00"}
    content["materials"][0]["kg_price"] = "10000.00"
    part = make_part(cube(1490.0), quantity=10_000, infill_percent=100)
    price = price_parts(make_book(**content), [part] * 50, rush="emergency")
    assert price.is_complete is (price.lines[0].unit_minor is not None)
    assert price.total_minor < 2**63


def test_a_price_beyond_all_reason_is_left_to_a_person() -> None:
    """Measures that lie about the number of shells would ask for more than money can say."""
    part = make_part(cube(shells=10**11), quantity=10_000)
    price = price_parts(make_book(), [part, make_part()], rush="standard")
    assert "no_price" in price.review
    assert price.total_minor == 4000


def test_a_piece_costs_at_least_the_smallest_coin() -> None:
    content = book_content(handling_price="0.00", minimum="0.00")
    content["materials"][0] |= {"kg_price": "0.01", "setup": "0.00"}
    content["printers"][0]["hour_price"] = "0.01"
    assert price_parts(make_book(**content), [make_part(cube(2.0))], rush="standard").total_minor == 1


def test_price_survives_its_json() -> None:
    parts = [make_part(quantity=12), make_part(cube(outcome="manual")), make_part(cube(30, overhang_mm2=900.0))]
    price = price_parts(make_book(), parts, rush="rush")
    stored = json.dumps(price.to_json(), sort_keys=True)
    again = Price.from_json(json.loads(stored))
    assert again == price
    assert json.dumps(again.to_json(), sort_keys=True) == stored


def test_a_price_of_a_later_version_is_not_guessed_at() -> None:
    stored = price_parts(make_book(), [make_part()], rush="standard").to_json()
    with pytest.raises(ValueError, match="not a price of version 1"):
        Price.from_json({**stored, "pricing_version": 2})


def test_arithmetic_around_it_changes_no_cent() -> None:
    parts = [make_part(cube(33.333333333), quantity=17)]
    expected = price_parts(make_book(), parts, rush="rush").to_json()
    with localcontext() as context:
        context.prec = 5
        context.rounding = "ROUND_UP"
        assert price_parts(make_book(), parts, rush="rush").to_json() == expected
        assert getcontext().prec == 5


def test_every_step_adds_up_to_the_price() -> None:
    """What is shown is what was calculated: the steps alone give the unit price again."""
    line = price_parts(make_book(), [make_part(cube(60.5), quantity=12, finish="painted")], rush="standard").lines[0]
    steps = {step.code: step for step in line.steps}
    parts = [Decimal(steps[code].value) for code in ("material", "machine", "handling", "finish")]
    assert sum(parts) == pytest.approx(Decimal(steps["piece"].value), abs=Decimal("0.0002"))
    grams, machine = steps["material"].values, steps["machine"].values
    plastic = Decimal(grams["grams"]) / 1000 * Decimal(grams["kg_price"]) * (1 + Decimal(grams["waste"]) / 100)
    assert plastic == pytest.approx(Decimal(steps["material"].value), abs=Decimal("0.00005"))
    assert Decimal(machine["hours"]) * Decimal(machine["hour_price"]) == Decimal(steps["machine"].value)
    assert [step.code for step in line.steps] == [
        "shell", "plastic", "weight", "time", "material", "machine", "handling", "finish", "piece", "break", "unit",
    ]  # fmt: skip
    assert steps["unit"].value == str(line.unit_minor)


def test_cost_for_staff_leaves_the_tax_out() -> None:
    """A painted cube: 4.16 g at 80.00 with waste, 0.3373 h at 3.00, 2.00 by hand, 60 % of 14.80 without 23 %."""
    line = price_parts(make_book(), [make_part(finish="painted")], rush="standard").lines[0]
    assert line.cost_minor == round(34.944 + 101.19 + 200 + 100 * 14.8 * 0.6 / 1.23)
