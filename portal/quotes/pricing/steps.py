"""The steps from a part's measures to its price, kept as they are taken so that every price opens to its arithmetic."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from portal.quotes.pricing.book import Finish, Material, PriceBook, Printer
from portal.quotes.pricing.estimate import EXTRA, Estimate
from portal.quotes.pricing.measures import Measures
from portal.quotes.pricing.schema import plain

_ONE = Decimal(1)
_FOUR_PLACES = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Step:
    """One step to a price: what it is (`code`), the numbers its formula names, and what came out.

    Numbers are texts with at most four decimals, money in major units; `unit` is mm3, g, h, money or minor.
    """

    code: str
    values: Mapping[str, str]
    value: str
    unit: str


class Steps:
    """Collects the steps while a part is priced; money is shown in major units of the book's currency."""

    def __init__(self, book: PriceBook) -> None:
        self.steps: list[Step] = []
        self._book = book

    def _add(self, code: str, value: Decimal, unit: str, **values: Decimal | int | str) -> None:
        shown = {name: _shown(one) if isinstance(one, Decimal) else str(one) for name, one in values.items()}
        self.steps.append(Step(code, shown, _shown(value), unit))

    def add_measured(
        self,
        measures: Measures,
        made: Estimate,
        material: Material,
        printer: Printer,
        infill_percent: int,
        supports: Decimal,
    ) -> None:
        """From the model to grams and hours."""
        volume = measures.volume
        self._add("shell", made.shell, "mm3", walls=made.walls, caps=made.caps, volume=volume)
        self._add("plastic", made.plastic, "mm3", extra=EXTRA, shell=made.shell, infill=infill_percent, volume=volume)
        self._add("weight", made.grams, "g", plastic=made.plastic, density=material.density, supports=supports)
        self._add(
            "time",
            made.hours,
            "h",
            printer=printer.name,
            part_seconds=printer.part_seconds,
            wall_seconds=printer.wall_seconds,
            wall=made.wall,
            inner_seconds=printer.inner_seconds,
            inner=made.shell - made.wall,
            infill_seconds=printer.infill_seconds,
            filled=made.filled,
            layer_seconds=printer.layer_seconds,
            layers=made.layers,
            supports=supports,
        )

    def add_piece(
        self, measures: Measures, made: Estimate, material: Material, printer: Printer, finish: Finish
    ) -> Decimal:
        """From grams and hours to what one piece costs, not rounded."""
        plastic = made.grams / 1000 * material.kg_price * (1 + material.waste_percent / 100)
        machine = made.hours * printer.hour_price
        handling = self._book.handling_price
        surface = measures.area / 100
        finishing = finish.piece_price + surface * finish.cm2_price
        waste = material.waste_percent
        self._add("material", plastic, "money", grams=made.grams, kg_price=material.kg_price, waste=waste)
        self._add("machine", machine, "money", hours=made.hours, hour_price=printer.hour_price)
        self._add("handling", handling, "money")
        self._add(
            "finish",
            finishing,
            "money",
            finish=finish.name,
            piece_price=finish.piece_price,
            surface=surface,
            cm2_price=finish.cm2_price,
        )
        exact = plastic + machine + handling + finishing
        self._add("piece", exact, "money", material=plastic, machine=machine, handling=handling, finish=finishing)
        return exact

    def add_unit(self, exact: Decimal, percent: Decimal, quantity: int) -> int:
        """The quantity break, and the one rounding. Nothing is given away: a piece costs at least one minor unit."""
        broken = exact * (1 - percent / 100)
        if percent:
            self._add("break", broken, "money", piece=exact, percent=percent, quantity=quantity)
        unit = max(1, round_half_up(self._book.minor(broken)))
        self._add("unit", Decimal(unit), "minor", exact=broken)
        return unit


def round_half_up(amount: Decimal) -> int:
    """An amount in minor units to whole ones, half up."""
    return int(amount.quantize(_ONE, ROUND_HALF_UP))


def _shown(value: Decimal) -> str:
    """A number as a step shows it, with at most four decimals, half up; what is calculated with stays exact."""
    text = plain(value.quantize(_FOUR_PLACES, ROUND_HALF_UP))
    return text.rstrip("0").rstrip(".")
