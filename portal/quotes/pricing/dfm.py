"""What can be said about making a part: whether it fits, needs supports, may break; as codes with their numbers.

A finding that is a *review* keeps the quote from being accepted before staff looked at it; a *note* is only said. The
sentences are in `wording`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from portal.quotes.pricing.book import Material, PriceBook, Printer, Size, fits
from portal.quotes.pricing.measures import Measures
from portal.quotes.pricing.schema import plain

NOTE, REVIEW = "note", "review"

REVIEW_CODES = ("no_price", "not_offered", "too_big", "near_limits", "long_print", "supports")
NOTE_CODES = (
    "supports_likely",
    "tall",
    "small_contact",
    "small_feature",
    "several_pieces",
    "thin_wall",
    "colours_ignored",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a part; `values` are the numbers and names of its sentence."""

    code: str
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """Whether staff have to look, or the customer is only told."""
        return REVIEW if self.code in REVIEW_CODES else NOTE


def room_for(material: Material, printer: Printer) -> Size:
    """How large a part of a material may be on a printer."""
    if material.largest_mm is None:
        return printer.room_mm
    (a, d), (b, e), (c, f) = zip(printer.room_mm, material.largest_mm, strict=True)
    return min(a, d), min(b, e), min(c, f)


def choose_printer(book: PriceBook, material: Material, size: Size) -> Printer | None:
    """The first printer of the book that takes the material and has room for the part, turned as it may be."""
    return next(
        (one for one in book.list_printers(material.code) if fits(size, room_for(material, one))),
        None,
    )


def overhang_percent(measures: Measures) -> Decimal:
    """How much of the surface hangs over, not counting what lies on the bed. Call it inside `estimate.EXACT`."""
    return measures.overhang / measures.area * 100


def supports_percent(book: PriceBook, measures: Measures) -> Decimal:
    """What supports add to plastic and time: nothing, or the book's share where they are likely."""
    likely = overhang_percent(measures) > book.checks.supports_from_percent
    return book.checks.supports_share_percent if likely else Decimal(0)


def too_big(book: PriceBook, material: Material, size: Size) -> Finding:
    """What is said about a part that no printer has room for; the room is the roomiest printer's."""
    rooms = [room_for(material, one) for one in book.list_printers(material.code)]
    room = max(rooms, key=lambda one: one[0] * one[1] * one[2])
    return Finding("too_big", {"size": size_text(size), "room": size_text(room)})


def check(
    book: PriceBook, measures: Measures, material: Material, printer: Printer, hours: Decimal
) -> tuple[Finding, ...]:
    """Everything to say about a part that can be priced; `hours` is what one piece takes."""
    return (
        *_check_limits(book, measures, material, printer, hours),
        *_check_supports(book, measures),
        *_check_shape(book, measures),
    )


def _check_limits(
    book: PriceBook, measures: Measures, material: Material, printer: Printer, hours: Decimal
) -> Iterator[Finding]:
    # A part that fits another printer with room to spare is no risk: whoever plans the print can choose that one.
    near = book.checks.near_limit_mm
    rooms = [room_for(material, one) for one in book.list_printers(material.code)]
    if not any(fits([length + near for length in measures.size], room) for room in rooms):
        room = size_text(room_for(material, printer))
        yield Finding("near_limits", {"size": size_text(measures.size), "room": room, "printer": printer.name})
    if hours > printer.longest_hours:
        yield Finding("long_print", {"hours": short(hours), "limit": plain(printer.longest_hours)})


def _check_supports(book: PriceBook, measures: Measures) -> Iterator[Finding]:
    share = overhang_percent(measures)
    values = {"percent": short(share), "share": plain(book.checks.supports_share_percent)}
    if share > book.checks.supports_review_percent:
        yield Finding("supports", values)
    elif share > book.checks.supports_from_percent:
        yield Finding("supports_likely", values)


def _check_shape(book: PriceBook, measures: Measures) -> Iterator[Finding]:
    checks = book.checks
    base = min(measures.size[:2])
    if measures.height > checks.tall_ratio * base:
        yield Finding("tall", {"height": short(measures.height), "base": short(base)})
    if measures.contact is not None and measures.contact < checks.contact_mm2:
        yield Finding("small_contact", {"area": short(measures.contact)})
    if measures.smallest_shell is not None and measures.smallest_shell < checks.smallest_shell_mm:
        yield Finding("small_feature", {"size": short(measures.smallest_shell)})
    if measures.shells > 1:
        yield Finding("several_pieces", {"count": str(measures.shells)})
    if measures.wall is not None and measures.wall < checks.thin_wall_mm:
        yield Finding("thin_wall", {"wall": short(measures.wall), "limit": plain(checks.thin_wall_mm)})
    if measures.has_colours:
        yield Finding("colours_ignored")


def size_text(size: Size) -> str:
    """A box as people write it: "20 x 30.5 x 10"."""
    return " x ".join(short(length) for length in size)


def short(value: Decimal) -> str:
    """A number with one decimal at most."""
    text = format(round(value, 1), "f")
    return text.removesuffix(".0")
