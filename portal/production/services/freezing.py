"""A quote as it was accepted, kept for ever with its sales order; and the order lines that it becomes.

The lines of an order are multiplied (a check of the table: total = unit price x quantity) and add up to what the
customer agreed on. As a rule they do so by themselves, because quotes round the unit price. When staff set another
total, it is spread over the parts and charges in proportion; a part whose new total does not divide by its quantity
becomes two lines that differ by one cent a piece. No line is negative, so every line can be invoiced and given back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flask_babel import force_locale
from flask_babel import gettext as _

from portal.core.db import db
from portal.core.languages import LANGUAGES
from portal.core.money import Money, tax_included
from portal.orders.models import LineKind
from portal.quotes.models import Quote, QuoteItem
from portal.quotes.pricing.book import PriceBook, read_book
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.wording import colour_name, finish_name, material_name

_LONGEST_DESCRIPTION, _LONGEST_NAME = 200, 110


@dataclass(frozen=True, slots=True)
class Position:
    """One thing that is charged for: `unit_minor` is None for a part that the price book could not price."""

    description: str
    quantity: int
    unit_minor: int | None

    @property
    def total_minor(self) -> int:
        """What it costs, as far as it was computed."""
        return (self.unit_minor or 0) * self.quantity


def frozen(quote: Quote) -> dict[str, Any]:
    """Everything a quote said, as plain data: parts with options, files and measures, the price with its steps."""
    return {
        "number": quote.number,
        "currency": quote.currency,
        "rush": quote.rush,
        "note": quote.note,
        "staff_message": quote.staff_message,
        "price_book_id": quote.price_book_id,
        "pricing": quote.pricing,
        "computed_total_minor": quote.computed_total_minor,
        "total_minor": quote.total_minor,
        "override_reason": quote.override_reason,
        "review_reasons": list(quote.review_reasons),
        "submitted_at": quote.submitted_at.isoformat() if quote.submitted_at else None,
        "accepted_at": quote.accepted_at.isoformat() if quote.accepted_at else None,
        "promised_at": quote.promised_at.isoformat() if quote.promised_at else None,
        "items": [_frozen_item(item) for item in quote.items],
    }


def _frozen_item(item: QuoteItem) -> dict[str, Any]:
    file = item.model_file
    return {
        "position": item.position,
        "file": file.public_id,
        "name": file.name,
        "sha256": file.sha256,
        "size_bytes": file.size_bytes,
        "unit": file.unit,
        "measures": file.measures,
        "material": item.material,
        "colour": item.colour,
        "finish": item.finish,
        "infill_percent": item.infill_percent,
        "quantity": item.quantity,
        "unit_price_minor": item.unit_price_minor,
        "total_minor": item.total_minor,
    }


def machine_minutes(quote: Quote) -> int:
    """How long the machines are busy with it, rounded to minutes."""
    return round(Decimal(str(quote.pricing.get("hours") or 0)) * 60)


def order_lines(quote: Quote) -> list[dict[str, Any]]:
    """The lines of the order that a quote becomes, as they are stored; they add up to the quote's total."""
    tax_rate_basis_points = int(quote.pricing["tax_rate_basis_points"])
    positions = positions_of(quote)
    totals = spread(positions, quote.total_minor, quote.currency)
    lines: list[dict[str, Any]] = []
    for position, total_minor in zip(positions, totals, strict=True):
        for unit_minor, quantity in divided(total_minor, position.quantity):
            gross_minor = unit_minor * quantity
            lines.append(
                {
                    "position": len(lines) + 1,
                    "kind": LineKind.PRINT,
                    "description": position.description,
                    "unit_price_minor": unit_minor,
                    "quantity": quantity,
                    "tax_rate_basis_points": tax_rate_basis_points,
                    "tax_minor": tax_included(gross_minor, tax_rate_basis_points),
                    "total_minor": gross_minor,
                }
            )
    return lines


def positions_of(quote: Quote) -> list[Position]:
    """Parts and charges of a quote, in the words of the quote's language; charges of nothing are left out."""
    book = _book_of(quote.price_book_id)
    with force_locale(quote.locale if quote.locale in LANGUAGES else "en"):
        parts = [Position(_describe(item, book), item.quantity, item.unit_price_minor) for item in quote.items]
        charges = [
            Position(charge_words(charge), 1, int(charge["amount_minor"]))
            for charge in quote.pricing.get("charges", ())
            if charge["amount_minor"]
        ]
    return [*parts, *charges]


def options_of(frozen: Mapping[str, Any]) -> list[str]:
    """How each part of an order is made, such as `PLA, Black, As printed, 20 % infill`, in the reader's language."""
    book = _book_of(frozen.get("price_book_id"))
    return [
        _options(book, part["material"], part["colour"], part["finish"], part["infill_percent"])
        for part in frozen.get("items", ())
    ]


def _book_of(version_id: int | None) -> PriceBook | None:
    version = db.session.get(PriceBookVersion, version_id) if version_id else None
    return read_book(version.content) if version is not None else None


def _options(book: PriceBook | None, material: str, colour: str, finish: str, infill_percent: int) -> str:
    """The options of a part by the names that the price book has for them, or as they are stored."""
    names = [material, colour, finish]
    if book is not None:
        names = [material_name(book, material), colour_name(book, material, colour), finish_name(book, finish)]
    return ", ".join([*names, str(_("%(percent)s %% infill", percent=infill_percent))])


def _describe(item: QuoteItem, book: PriceBook | None) -> str:
    """A part in one line."""
    name = item.model_file.name
    if len(name) > _LONGEST_NAME:
        name = f"{name[: _LONGEST_NAME - 11]}…{name[-10:]}"
    options = _options(book, item.material, item.colour, item.finish, item.infill_percent)
    return f"{name} · {options}"[:_LONGEST_DESCRIPTION]


def charge_words(charge: Mapping[str, Any]) -> str:
    """What a charge of a quote is called."""
    names = {"setup": _("Set-up"), "minimum": _("Up to the minimum order"), "rush": _("Faster production")}
    return str(names.get(str(charge["code"]), charge["code"]))


def spread(positions: Sequence[Position], total_minor: int, currency: str) -> list[int]:
    """What each position costs so that all together cost the total, in minor units.

    What was computed stays when it fits. More than that goes to the parts that had no price, if there are any, by their
    quantity; otherwise everything is raised or lowered in proportion.
    """
    computed = [position.total_minor for position in positions]
    left = total_minor - sum(computed)
    unpriced = [position.quantity if position.unit_minor is None else 0 for position in positions]
    if left > 0 and any(unpriced):
        more = Money(left, currency).allocate(unpriced)
        return [was + one.amount_minor for was, one in zip(computed, more, strict=True)]
    if left == 0:
        return computed
    weights = computed if any(computed) else [position.quantity for position in positions]
    return [one.amount_minor for one in Money(total_minor, currency).allocate(weights)]


def divided(total_minor: int, quantity: int) -> list[tuple[int, int]]:
    """A total as (unit price, quantity): one pair when it divides, otherwise two that differ by one minor unit."""
    unit_minor, dearer = divmod(total_minor, quantity)
    pairs = [(unit_minor, quantity - dearer)]
    return [(unit_minor + 1, dearer), *pairs] if dearer else pairs
