"""The price book: everything that a price is calculated from, besides the part itself.

`read_book` makes it from JSON and `write_book` writes it back; what is declared here is what staff edit. Amounts are
in major units of the book's currency and include its tax, as every price of the shop does; what something costs us
(`*_cost`) does not, and is shown to staff alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask_babel import lazy_gettext as _l

from portal.core import money
from portal.core.errors import Sentence
from portal.quotes.pricing.errors import InvalidPriceBook
from portal.quotes.pricing.schema import (
    Amount,
    Box,
    Code,
    Codes,
    Content,
    Days,
    Kind,
    OneOf,
    Problem,
    Record,
    Rows,
    Text,
    Whole,
    YesNo,
    amount,
    join,
    kinds,
    number,
    places_of,
    read_record,
    write_record,
)

Size = tuple[Decimal, Decimal, Decimal]

RUSH = ("standard", "rush", "super_rush", "emergency")


@dataclass(frozen=True, slots=True)
class Printer:
    """A kind of printer. Parts go to the first in the book's order that takes their material and has room for them.

    Of the time a part takes (in seconds): `part_seconds` is for starting it, `wall_seconds` per mm3 of outer wall,
    `inner_seconds` per mm3 of top and bottom, `infill_seconds` per mm3 of infill, `layer_seconds` per layer and piece.
    """

    code: Annotated[str, Code()]
    name: Annotated[str, Text(60)]
    materials: Annotated[tuple[str, ...], Codes()]
    build_mm: Annotated[Size, Box()]
    # What stays free beside a part, both sides together.
    margin_mm: Annotated[Decimal, number("0", "50", places=1)]
    hour_price: Annotated[Decimal, amount("10000", low="0.01")]
    hour_cost: Annotated[Decimal, amount("10000")]
    part_seconds: Annotated[Decimal, number("0", "3600", places=4)]
    wall_seconds: Annotated[Decimal, number("0", "10", places=4)]
    inner_seconds: Annotated[Decimal, number("0", "10", places=4)]
    infill_seconds: Annotated[Decimal, number("0", "10", places=4)]
    layer_seconds: Annotated[Decimal, number("0", "600", places=4)]
    # A single piece that takes longer is looked at by a person.
    longest_hours: Annotated[Decimal, number("1", "1000", places=1)]

    @property
    def room_mm(self) -> Size:
        """How large a part may be."""
        across, deep, high = (length - self.margin_mm for length in self.build_mm)
        return across, deep, high


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour that a material is kept in."""

    code: Annotated[str, Code()]
    name: Annotated[str, Text(40)]


@dataclass(frozen=True, slots=True)
class Material:
    """A plastic, and how it is printed."""

    code: Annotated[str, Code()]
    name: Annotated[str, Text(60)]
    density: Annotated[Decimal, number("0.1", "25", places=3)]
    kg_price: Annotated[Decimal, amount("10000", low="0.01")]
    kg_cost: Annotated[Decimal, amount("10000")]
    waste_percent: Annotated[Decimal, number("0", "100", places=1)]
    setup: Annotated[Decimal, amount("10000")]
    # The largest part this material stays flat in, on any printer.
    largest_mm: Annotated[Size | None, Box(may_be_absent=True)]
    layer_mm: Annotated[Decimal, number("0.05", "1", places=3)]
    line_mm: Annotated[Decimal, number("0.1", "2", places=3)]
    perimeters: Annotated[int, Whole(1, 20)]
    top_layers: Annotated[int, Whole(0, 50)]
    bottom_layers: Annotated[int, Whole(0, 50)]
    infill_low: Annotated[int, Whole(0, 100)]
    infill_high: Annotated[int, Whole(0, 100)]
    infill_usual: Annotated[int, Whole(0, 100)]
    colours: Annotated[tuple[Colour, ...], Rows(Colour)]


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to a part after printing: a fixed sum per piece, a price per cm2 of its surface, or both."""

    code: Annotated[str, Code()]
    name: Annotated[str, Text(60)]
    materials: Annotated[tuple[str, ...], Codes()]
    piece_price: Annotated[Decimal, amount("10000")]
    cm2_price: Annotated[Decimal, amount("1000")]
    # What the work costs us, as a share of its price.
    cost_percent: Annotated[Decimal, number("0", "100", places=1)]


@dataclass(frozen=True, slots=True)
class QuantityBreak:
    """From this many pieces of a part on, each is cheaper."""

    from_quantity: Annotated[int, Whole(2, 10_000)]
    percent: Annotated[Decimal, number("0.1", "90", places=1)]


@dataclass(frozen=True, slots=True)
class RushLevel:
    """How soon parts are made, what that adds to the price, and how much of it we can do.

    `daily_hours` are the machine hours kept for this level on a business day; 0 means that it is not offered. When
    they are booked, a level that `stretches` promises a later day, and another is not offered.
    """

    code: Annotated[str, OneOf(RUSH)]
    percent: Annotated[Decimal, number("0", "500", places=1)]
    lead_days: Annotated[int, Whole(0, 60)]
    daily_hours: Annotated[Decimal, number("0", "10000", places=1)]
    cut_off_hour: Annotated[int, Whole(0, 23)]
    stretches: Annotated[bool, YesNo()]


@dataclass(frozen=True, slots=True)
class Checks:
    """From when on a part is pointed out to the customer, or waits for staff."""

    supports_from_percent: Annotated[Decimal, number("0", "100", places=1)]
    supports_share_percent: Annotated[Decimal, number("0", "300", places=1)]
    supports_review_percent: Annotated[Decimal, number("0", "100", places=1)]
    thin_wall_mm: Annotated[Decimal, number("0", "10", places=2)]
    smallest_shell_mm: Annotated[Decimal, number("0", "50", places=2)]
    tall_ratio: Annotated[Decimal, number("1", "100", places=1)]
    contact_mm2: Annotated[Decimal, number("0", "10000", places=1)]
    near_limit_mm: Annotated[Decimal, number("0", "100", places=1)]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """One version of all prices."""

    currency: Annotated[str, Text(3)]
    tax_rate_basis_points: Annotated[int, Whole(0, 10_000)]
    # A quote below this total with nothing to check is accepted at once; this very total waits for staff.
    auto_approve_below: Annotated[Decimal, amount("10000000")]
    validity_days: Annotated[int, Whole(1, 365)]
    minimum: Annotated[Decimal, amount("100000")]
    handling_price: Annotated[Decimal, amount("10000")]
    handling_cost: Annotated[Decimal, amount("10000")]
    timezone: Annotated[str, Text(40)]
    # The hour of the business's day by which parts that were promised for it are ready.
    ready_hour: Annotated[int, Whole(1, 23)]
    holidays: Annotated[tuple[str, ...], Days()]
    printers: Annotated[tuple[Printer, ...], Rows(Printer)]
    materials: Annotated[tuple[Material, ...], Rows(Material)]
    finishes: Annotated[tuple[Finish, ...], Rows(Finish)]
    breaks: Annotated[tuple[QuantityBreak, ...], Rows(QuantityBreak, fewest=0)]
    rush: Annotated[tuple[RushLevel, ...], Rows(RushLevel, fewest=len(RUSH), most=len(RUSH))]
    checks: Annotated[Checks, Record(Checks)]

    def find_material(self, code: str) -> Material | None:
        """The material of a code."""
        return next((one for one in self.materials if one.code == code), None)

    def find_finish(self, code: str, material: str) -> Finish | None:
        """The finish of a code, if this material can have it."""
        return next((one for one in self.finishes if one.code == code and material in one.materials), None)

    def list_finishes(self, material: str) -> tuple[Finish, ...]:
        """What can be done to parts of a material."""
        return tuple(one for one in self.finishes if material in one.materials)

    def list_printers(self, material: str) -> tuple[Printer, ...]:
        """The printers that take a material, the preferred one first."""
        return tuple(one for one in self.printers if material in one.materials)

    def get_rush(self, code: str) -> RushLevel:
        """The rush level of a code; every book has all four. Raises ValueError for a word that is none of them."""
        for level in self.rush:
            if level.code == code:
                return level
        raise ValueError(f"not a rush level: {code!r}")

    def break_percent(self, quantity: int) -> Decimal:
        """What is taken off the price of a piece at this quantity."""
        reached = [one.percent for one in self.breaks if quantity >= one.from_quantity]
        return reached[-1] if reached else Decimal(0)

    def minor(self, amount: Decimal) -> Decimal:
        """An amount of the book in minor units, not rounded."""
        return amount.scaleb(money.digits(self.currency))

    @property
    def auto_approve_below_minor(self) -> int:
        """The auto-approve limit in minor units."""
        return int(self.minor(self.auto_approve_below))

    @property
    def zone(self) -> ZoneInfo:
        """Where the business's days begin and end."""
        return ZoneInfo(self.timezone)


def fits(part: Sequence[Decimal], room: Sequence[Decimal]) -> bool:
    """Whether a box goes into another in any of its six orientations: sorted by length, each has to find room."""
    return all(a <= b for a, b in zip(sorted(part), sorted(room), strict=True))


def read_book(content: Content) -> PriceBook:
    """The price book in its JSON form. Raises InvalidPriceBook, which names everything that is wrong with it."""
    problems: list[Problem] = []
    book: PriceBook | None = read_record(PriceBook, content, problems)
    if book is not None:
        problems.extend(Problem(path, message) for check in _CHECKS for path, message in check(book))
    if problems or book is None:
        raise InvalidPriceBook(problems)
    return book


def write_book(book: PriceBook) -> dict[str, Any]:
    """The price book as JSON; reading it gives the same book again."""
    return write_record(book)


Found = Iterator[tuple[str, Sentence]]


def _check_currency(book: PriceBook) -> Found:
    if not money.is_currency(book.currency):
        yield "currency", _l("must be a currency code such as PLN")
        return
    places = money.digits(book.currency)
    for path, kind, value in walk(book):
        if isinstance(kind, Amount) and places_of(value) > places:
            yield path, _l("must not have more than %(places)s decimals", places=places)


def _check_timezone(book: PriceBook) -> Found:
    try:
        ZoneInfo(book.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield "timezone", _l("must be a time zone such as Europe/Warsaw")


def _check_codes(book: PriceBook) -> Found:
    tables: list[tuple[str, Sequence[Any]]] = [
        ("printers", book.printers),
        ("materials", book.materials),
        ("finishes", book.finishes),
        ("rush", book.rush),
    ]
    tables += [(f"materials[{index}].colours", one.colours) for index, one in enumerate(book.materials)]
    for name, table in tables:
        seen: set[str] = set()
        for index, row in enumerate(table):
            if row.code in seen:
                yield f"{name}[{index}].code", _l('"%(code)s" stands in this table twice', code=row.code)
            seen.add(row.code)


def _check_materials(book: PriceBook) -> Found:
    known = {one.code for one in book.materials}
    named: list[tuple[str, Sequence[Any]]] = [("printers", book.printers), ("finishes", book.finishes)]
    for name, table in named:
        for index, row in enumerate(table):
            for missing in sorted(set(row.materials) - known):
                yield f"{name}[{index}].materials", _l('there is no material "%(code)s"', code=missing)
    for index, material in enumerate(book.materials):
        path = f"materials[{index}]"
        if not book.list_printers(material.code):
            yield f"{path}.code", _l("no printer takes this material")
        if not book.list_finishes(material.code):
            yield f"{path}.code", _l("no finish is offered for this material")
        if not material.infill_low <= material.infill_usual <= material.infill_high:
            yield f"{path}.infill_usual", _l("must lie between the lowest and the highest infill")
        if material.line_mm < material.layer_mm:
            yield f"{path}.line_mm", _l("must not be less than the height of a layer")


def _check_printers(book: PriceBook) -> Found:
    for index, printer in enumerate(book.printers):
        if min(printer.room_mm) <= 0:
            yield f"printers[{index}].margin_mm", _l("leaves no room for a part")
        if not any((printer.wall_seconds, printer.inner_seconds, printer.infill_seconds, printer.layer_seconds)):
            yield f"printers[{index}].wall_seconds", _l("printing must take some time")


def _check_breaks(book: PriceBook) -> Found:
    for index, (smaller, larger) in enumerate(pairwise(book.breaks), start=1):
        if larger.from_quantity <= smaller.from_quantity:
            yield f"breaks[{index}].from_quantity", _l("must be more than in the row before")
        if larger.percent < smaller.percent:
            yield f"breaks[{index}].percent", _l("must not be less than in the row before: more pieces never cost more")


def _check_rush(book: PriceBook) -> Found:
    missing = [code for code in RUSH if code not in {level.code for level in book.rush}]
    if missing:
        yield "rush", _l("these levels are missing: %(codes)s", codes=", ".join(missing))
        return
    if not book.get_rush("standard").daily_hours:
        yield f"rush[{book.rush.index(book.get_rush('standard'))}].daily_hours", _l("must be more than 0")
    for index, level in enumerate(book.rush):
        if level.code == "standard" and level.percent:
            yield f"rush[{index}].percent", _l("must be 0: the other levels are measured by this one")


def _check_limits(book: PriceBook) -> Found:
    if book.checks.supports_review_percent < book.checks.supports_from_percent:
        yield "checks.supports_review_percent", _l("must not be less than the share from which supports are likely")


_CHECKS: tuple[Callable[[PriceBook], Found], ...] = (
    _check_currency,
    _check_timezone,
    _check_codes,
    _check_materials,
    _check_printers,
    _check_breaks,
    _check_rush,
    _check_limits,
)


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Kind, Any]]:
    """Every single value of a book with its path and its kind, in the order of the fields."""
    for name, kind in kinds(type(value)).items():
        here, found = join(path, name), getattr(value, name)
        if isinstance(kind, Record):
            yield from walk(found, here)
        elif isinstance(kind, Rows):
            for index, row in enumerate(found):
                yield from walk(row, f"{here}[{index}]")
        else:
            yield here, kind, found
