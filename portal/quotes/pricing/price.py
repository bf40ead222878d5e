"""The price of parts: a pure function of measures, options and one version of the price book.

Each piece's price is rounded once, half up to the minor unit, after the quantity break; a line is pieces times that
price exactly, so that quote, order and invoice show the same sum. Set-up, the rest up to the minimum and the rush
surcharge are charges of their own (docs/decisions/0016). The result is stored with its steps; the same input gives
the same JSON on every machine and in every year, and a change of the arithmetic would be a new PRICING_VERSION beside
the old one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from portal.core.money import BASIS_POINTS, tax_included
from portal.quotes.pricing import dfm
from portal.quotes.pricing.book import Finish, Material, PriceBook, Printer
from portal.quotes.pricing.dfm import REVIEW, Finding
from portal.quotes.pricing.estimate import EXACT, Estimate, estimate
from portal.quotes.pricing.measures import Measures, read_measures
from portal.quotes.pricing.schema import plain
from portal.quotes.pricing.steps import Step, Steps, round_half_up

PRICING_VERSION = 1
MOST_PIECES = 10_000
# A piece above ten million (in minor units: a thousand million) is no price but a mistake, and is left to a person.
# With it every total of a quote stays far below 64 bits.
_LARGEST_UNIT = 10**9


@dataclass(frozen=True, slots=True)
class Options:
    """How a part is to be made: codes of the price book, and the share of its inside that is filled."""

    material: str
    colour: str
    finish: str
    infill_percent: int


@dataclass(frozen=True, slots=True)
class Part:
    """What is asked for: the measures of a model as they were found, how to make it, and how many."""

    measures: Mapping[str, Any]
    options: Options
    quantity: int

    def __post_init__(self) -> None:
        if not 1 <= self.quantity <= MOST_PIECES:
            raise ValueError(f"not a quantity: {self.quantity}")


@dataclass(frozen=True, slots=True)
class LinePrice:
    """The price of one part. `unit_minor` is None when a person has to price it, and `total_minor` then 0.

    `grams` and `hours` are what one piece takes; `cost_minor` is what all pieces cost us, tax not included, for staff.
    """

    unit_minor: int | None
    quantity: int
    total_minor: int
    grams: Decimal
    hours: Decimal
    printer: str
    cost_minor: int
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]

    @property
    def review(self) -> tuple[str, ...]:
        """Codes why staff have to look at this part."""
        return tuple(one.code for one in self.findings if one.level == REVIEW)

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What the customer should know about this part, and nobody has to check."""
        return tuple(one for one in self.findings if one.level != REVIEW)


@dataclass(frozen=True, slots=True)
class Charge:
    """A sum of the whole order, besides its parts: `setup`, `minimum` or `rush`."""

    code: str
    values: Mapping[str, str]
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a quote; tax is included in the total. `hours` are the machine hours of all pieces."""

    lines: tuple[LinePrice, ...]
    charges: tuple[Charge, ...]
    total_minor: int
    tax_minor: int
    tax_rate_basis_points: int
    currency: str
    rush: str
    hours: Decimal
    review: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every part has its price."""
        return all(line.unit_minor is not None for line in self.lines)

    @property
    def cost_minor(self) -> int:
        """What the parts that have a price cost us, tax not included."""
        return sum(line.cost_minor for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """The price as it is stored."""
        return {
            "pricing_version": PRICING_VERSION,
            "currency": self.currency,
            "rush": self.rush,
            "total_minor": self.total_minor,
            "tax_minor": self.tax_minor,
            "tax_rate_basis_points": self.tax_rate_basis_points,
            "hours": plain(self.hours),
            "review": list(self.review),
            "lines": [_line_to_json(line) for line in self.lines],
            "charges": [
                {"code": one.code, "values": dict(one.values), "amount_minor": one.amount_minor} for one in self.charges
            ],
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Price":
        """A price as it was stored. Raises ValueError for one that a later version wrote."""
        if stored.get("pricing_version") != PRICING_VERSION:
            raise ValueError(f"not a price of version {PRICING_VERSION}: {stored.get('pricing_version')!r}")
        return cls(
            lines=tuple(_line_from_json(line) for line in stored["lines"]),
            charges=tuple(Charge(one["code"], one["values"], one["amount_minor"]) for one in stored["charges"]),
            total_minor=stored["total_minor"],
            tax_minor=stored["tax_minor"],
            tax_rate_basis_points=stored["tax_rate_basis_points"],
            currency=stored["currency"],
            rush=stored["rush"],
            hours=Decimal(stored["hours"]),
            review=tuple(stored["review"]),
        )


def _line_to_json(line: LinePrice) -> dict[str, Any]:
    return {
        "unit_minor": line.unit_minor,
        "quantity": line.quantity,
        "total_minor": line.total_minor,
        "grams": plain(line.grams),
        "hours": plain(line.hours),
        "printer": line.printer,
        "cost_minor": line.cost_minor,
        "steps": [
            {"code": one.code, "values": dict(one.values), "value": one.value, "unit": one.unit} for one in line.steps
        ],
        "findings": [{"code": one.code, "values": dict(one.values)} for one in line.findings],
    }


def _line_from_json(stored: Mapping[str, Any]) -> LinePrice:
    return LinePrice(
        unit_minor=stored["unit_minor"],
        quantity=stored["quantity"],
        total_minor=stored["total_minor"],
        grams=Decimal(stored["grams"]),
        hours=Decimal(stored["hours"]),
        printer=stored["printer"],
        cost_minor=stored["cost_minor"],
        steps=tuple(Step(one["code"], one["values"], one["value"], one["unit"]) for one in stored["steps"]),
        findings=tuple(Finding(one["code"], one["values"]) for one in stored["findings"]),
    )


def price_parts(book: PriceBook, parts: Sequence[Part], *, rush: str) -> Price:
    """The price of parts made together at a rush level of the book.

    A part that cannot be priced has no unit price and the review code `no_price`; the total covers the others. Raises
    ValueError for a word that is no rush level.
    """
    level = book.get_rush(rush)
    with localcontext(EXACT):
        lines = tuple(_price_part(book, part) for part in parts)
        materials = dict.fromkeys(
            part.options.material for part, line in zip(parts, lines, strict=True) if line.unit_minor is not None
        )
        charges = _charges(book, lines, [*materials], level.percent)
        hours = sum((line.hours * line.quantity for line in lines), Decimal(0))
        total = sum(line.total_minor for line in lines) + sum(charge.amount_minor for charge in charges)
        tax = tax_included(total, book.tax_rate_basis_points)
    return Price(
        lines=lines,
        charges=charges,
        total_minor=total,
        tax_minor=tax,
        tax_rate_basis_points=book.tax_rate_basis_points,
        currency=book.currency,
        rush=rush,
        hours=hours,
        review=tuple(dict.fromkeys(code for line in lines for code in line.review)),
    )


def _price_part(book: PriceBook, part: Part) -> LinePrice:
    options = part.options
    measures = read_measures(part.measures)
    material = book.find_material(options.material)
    finish = book.find_finish(options.finish, options.material)
    if material is None or finish is None or not _is_offered(material, options):
        return _no_price(part, Finding("not_offered"))
    if measures is None:
        return _no_price(part)
    printer = dfm.choose_printer(book, material, measures.size)
    if printer is None:
        return _no_price(part, dfm.too_big(book, material, measures.size))
    supports = dfm.supports_percent(book, measures)
    made = estimate(measures, material, printer, infill_percent=options.infill_percent, supports_percent=supports)
    findings = dfm.check(book, measures, material, printer, made.hours)
    steps = Steps(book)
    steps.add_measured(measures, made, material, printer, options.infill_percent, supports)
    exact = steps.add_piece(measures, made, material, printer, finish)
    unit = steps.add_unit(exact, book.break_percent(part.quantity), part.quantity)
    if unit > _LARGEST_UNIT:
        return _no_price(part, *findings)
    return LinePrice(
        unit_minor=unit,
        quantity=part.quantity,
        total_minor=unit * part.quantity,
        grams=made.grams,
        hours=made.hours,
        printer=printer.code,
        cost_minor=round_half_up(_cost(book, measures, made, material, printer, finish) * part.quantity),
        steps=tuple(steps.steps),
        findings=findings,
    )


def _is_offered(material: Material, options: Options) -> bool:
    is_kept = any(colour.code == options.colour for colour in material.colours)
    return is_kept and material.infill_low <= options.infill_percent <= material.infill_high


def _no_price(part: Part, *findings: Finding) -> LinePrice:
    return LinePrice(
        unit_minor=None,
        quantity=part.quantity,
        total_minor=0,
        grams=Decimal(0),
        hours=Decimal(0),
        printer="",
        cost_minor=0,
        steps=(),
        findings=(*findings, Finding("no_price")),
    )


def _cost(
    book: PriceBook, measures: Measures, made: Estimate, material: Material, printer: Printer, finish: Finish
) -> Decimal:
    """What one piece costs us, in minor units, not rounded."""
    plastic = made.grams / 1000 * material.kg_cost * (1 + material.waste_percent / 100)
    machine = made.hours * printer.hour_cost
    finishing = (finish.piece_price + measures.area / 100 * finish.cm2_price) * finish.cost_percent / 100
    # The price of a finish includes tax, which is not ours and no cost.
    net = finishing * BASIS_POINTS / (BASIS_POINTS + book.tax_rate_basis_points)
    return book.minor(plastic + machine + book.handling_cost + net)


def _charges(
    book: PriceBook, lines: Sequence[LinePrice], materials: Sequence[str], percent: Decimal
) -> tuple[Charge, ...]:
    """What comes on top of the parts; nothing while no part has a price."""
    if not materials:
        return ()
    charges: list[Charge] = []
    found = [one for one in map(book.find_material, materials) if one is not None]
    setup = sum((int(book.minor(one.setup)) for one in found), 0)
    if setup:
        charges.append(Charge("setup", {"materials": ", ".join(one.name for one in found)}, setup))
    subtotal = sum(line.total_minor for line in lines) + setup
    missing = int(book.minor(book.minimum)) - subtotal
    if missing > 0:
        charges.append(Charge("minimum", {"minimum": plain(book.minimum)}, missing))
        subtotal += missing
    rush = round_half_up(subtotal * percent / 100)
    if rush:
        charges.append(Charge("rush", {"percent": plain(percent)}, rush))
    return tuple(charges)
