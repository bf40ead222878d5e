"""The price of a draft, by the price book in force; and when its parts would be ready.

A draft's price is stored with every change of it. Once the quote is sent nothing here touches it again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from portal.quotes import capacity
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem
from portal.quotes.pricing.book import PriceBook
from portal.quotes.pricing.dates import promise_date
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.pricing.price import Options, Part, Price, price_parts
from portal.quotes.pricing.services import current_book

# Why staff have to look at a quote, besides what its parts say.
NOTE, LIMIT, UNIT = "note", "limit", "unit"


@dataclass(frozen=True, slots=True)
class InForce:
    """The price book of now, with the version it is stored as."""

    version: PriceBookVersion
    book: PriceBook

    @property
    def id(self) -> int:
        """The version's key."""
        return self.version.id


def in_force(at: datetime) -> InForce:
    """The price book of now. Raises NoPriceBook."""
    return InForce(*current_book(at))


def default_options(book: PriceBook) -> Options:
    """How a part is made until somebody chooses: the first of everything in the book."""
    material = book.materials[0]
    return Options(
        material=material.code,
        colour=material.colours[0].code,
        finish=book.list_finishes(material.code)[0].code,
        infill_percent=material.infill_usual,
    )


def price_of(
    quote: Quote, book: PriceBook, *, rush: str | None = None, times: int = 1, quantity: int | None = None
) -> Price:
    """What the quote costs by a book; if asked for at another rush level, for `times` as many of everything, or for
    `quantity` pieces of each model."""
    parts = [part_of(item, quantity or item.quantity * times) for item in quote.items]
    return price_parts(book, parts, rush=rush or quote.rush)


def part_of(item: QuoteItem, quantity: int, *, model: ModelFile | None = None) -> Part:
    """A row as pricing knows it; of another `model` made the same way, when one is given."""
    return Part(
        measures=measures_of(model or item.model_file),
        options=Options(item.material, item.colour, item.finish, item.infill_percent),
        quantity=quantity,
    )


def measures_of(model: ModelFile) -> Mapping[str, Any]:
    """What prices are made of; nothing while a model is not measured, is locked away or destroyed."""
    return model.measures if model.status is ModelFileStatus.MEASURED else {}


def reprice(quote: Quote, force: InForce, *, at: datetime) -> Price:
    """Store the price of a draft by the book in force."""
    price = price_of(quote, force.book)
    quote.price_book_id = force.id
    quote.currency = price.currency
    quote.pricing = price.to_json()
    quote.computed_total_minor = quote.total_minor = price.total_minor
    quote.review_reasons = review_reasons(quote, price, force.book)
    for item, line in zip(quote.items, price.lines, strict=True):
        item.unit_price_minor = line.unit_minor
        item.total_minor = line.total_minor if line.unit_minor is not None else None
    quote.updated_at = at
    return price


def review_reasons(quote: Quote, price: Price, book: PriceBook) -> list[str]:
    """Why staff would have to look at it, as codes; the limit itself waits for staff."""
    reasons = list(price.review)
    if any(asks_for_unit(item.model_file) for item in quote.items):
        reasons.append(UNIT)
    if quote.note:
        reasons.append(NOTE)
    if price.total_minor >= book.auto_approve_below_minor:
        reasons.append(LIMIT)
    return reasons


def asks_for_unit(model: ModelFile) -> bool:
    """Whether it is so small that it was probably drawn in another unit, and nobody has said which."""
    return model.unit is None and not model.has_unit and "too_small" in measures_of(model).get("codes", ())


def promised(
    book: PriceBook, hours: Decimal, rush: str, *, at: datetime, booked: Mapping[str, Decimal] | None = None
) -> datetime | None:
    """When parts that take so many machine hours would be ready; None when the level is not offered for them now.

    `booked` is what `capacity.booked_hours()` says, for those who ask many times.
    """
    return promise_date(book, hours, rush, at=at, booked_hours=capacity.booked_hours() if booked is None else booked)
