"""A quote as its page shows it: rows with what is to be said about each, the price, and what else it could cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from flask_babel import gettext as _

from portal.core import settings
from portal.core.db import db
from portal.core.money import tax_included
from portal.core.ui import date_text, datetime_text
from portal.quotes import capacity
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem
from portal.quotes.pricing.book import PriceBook, read_book
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.pricing.price import MOST_PIECES, LinePrice, Price
from portal.quotes.pricing.wording import charge_name, rush_name
from portal.quotes.services.deciding import seen_mark
from portal.quotes.services.editing import UNITS
from portal.quotes.services.repricing import in_force, price_of, promised, review_reasons
from portal.quotes.services.requoting import is_over
from portal.quotes.wording import Remark, remarks_on

# What the table offers for a single model, and how many times everything for several.
_QUANTITIES = (1, 5, 10, 25, 50, 100)
_TIMES = (1, 2, 5, 10)
# Each cell prices the whole quote: with more models the table shows the chosen quantities only.
_LARGEST_TABLE = 12


@dataclass(frozen=True, slots=True)
class Row:
    """One model of the quote."""

    item: QuoteItem
    model: ModelFile
    line: LinePrice
    remarks: Sequence[Remark]

    @property
    def is_waiting(self) -> bool:
        """Whether the row will change by itself: the file is looked at, or its picture is being made."""
        return not self.model.is_final or (
            self.model.status is ModelFileStatus.MEASURED and self.model.picture_name is None
        )

    @property
    def is_usable(self) -> bool:
        """Whether it can be made."""
        return self.model.status is ModelFileStatus.MEASURED and self.model.outcome != "reject"

    @property
    def asks_for_unit(self) -> bool:
        """Whether the customer may say what the file was drawn in."""
        return not self.model.has_unit and self.model.status is not ModelFileStatus.QUARANTINED

    @property
    def waits_for_scan(self) -> bool:
        """Whether nobody has scanned it yet, where files are scanned."""
        return bool(settings.current().clamd_address) and self.model.scanned_at is None

    @property
    def size_mm(self) -> Sequence[float] | None:
        """Its box, when it is known."""
        sides = self.model.measures.get("bbox_mm")
        return sides if isinstance(sides, list) and len(sides) == 3 else None


@dataclass(frozen=True, slots=True)
class Cell:
    """A price of the table, and by when; none when that level is not offered for so much work."""

    rush: str
    total_minor: int
    ready_at: datetime | None
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class TableRow:
    """A quantity with its prices. `quantity` is how many pieces of the only model, or how many times everything."""

    quantity: int
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class QuoteView:
    """Everything the page of a quote needs; prices of a draft are those of now, of a sent one those frozen then."""

    quote: Quote
    book: PriceBook
    price: Price
    rows: Sequence[Row]
    table: Sequence[TableRow]
    ready_at: datetime | None
    seen: str
    was_minor: int | None
    is_expired: bool
    is_over: bool

    @property
    def number(self) -> str:
        """How its address names it."""
        return self.quote.number or "draft"

    @property
    def total_minor(self) -> int:
        """What is asked for: the frozen total, which staff may have set, or a draft's price of now."""
        return self.price.total_minor if self.quote.is_draft else self.quote.total_minor

    @property
    def rush_text(self) -> str:
        """How soon, in words."""
        return rush_name(self.quote.rush)

    @property
    def charges(self) -> list[tuple[str, int]]:
        """What is paid besides the parts, in words: with the difference to a total that staff have set."""
        charges = [(charge_name(one), one.amount_minor) for one in self.price.charges]
        difference = self.total_minor - self.price.total_minor
        return [*charges, (_("Price agreed with us"), difference)] if difference else charges

    @property
    def tax_minor(self) -> int:
        """The tax inside the total, line by line as an invoice has it."""
        amounts = [*(line.total_minor for line in self.price.lines), *(amount for _text, amount in self.charges)]
        return sum(tax_included(amount, self.price.tax_rate_basis_points) for amount in amounts)

    @property
    def is_waiting(self) -> bool:
        """Whether a model is still being measured."""
        return any(not row.model.is_final for row in self.rows)

    @property
    def is_usable(self) -> bool:
        """Whether every model can be made."""
        return all(row.is_usable for row in self.rows)

    @property
    def is_incomplete(self) -> bool:
        """Whether the total lacks the price of a part."""
        return self.quote.override_reason is None and any(
            row.is_usable and row.line.unit_minor is None for row in self.rows
        )

    @property
    def is_sendable(self) -> bool:
        """Whether the customer can send it now."""
        return self.quote.is_draft and bool(self.rows) and self.is_usable and bool(self.ready_at)

    @property
    def waits_for_staff(self) -> bool:
        """Whether a person would have to confirm a draft's price."""
        return bool(review_reasons(self.quote, self.price, self.book))

    @property
    def sums(self) -> Sequence[tuple[str, int]]:
        """What the total is made of."""
        parts = sum(line.total_minor for line in self.price.lines)
        return [(_("Parts"), parts), *self.charges, (_("Tax included"), self.tax_minor)]

    @property
    def facts(self) -> Sequence[tuple[str, str]]:
        """How soon, and how long the price is held."""
        rows = [(_("Delivery time"), self.rush_text)]
        if self.ready_at is not None:
            rows.append((_("Ready by"), date_text(self.ready_at)))
        if self.quote.expires_at is not None:
            rows.append((_("Price held until"), datetime_text(self.quote.expires_at)))
        return rows

    @property
    def is_single(self) -> bool:
        """Whether the table counts pieces rather than sets."""
        return len(self.rows) == 1

    @property
    def units(self) -> Sequence[str]:
        """What a file without units may have been drawn in."""
        return UNITS


def view_of(quote: Quote, *, at: datetime) -> QuoteView:
    """A loaded quote as its page shows it. Raises NoPriceBook for a draft when nothing can be priced."""
    return _draft_view(quote, at) if quote.is_draft else _sent_view(quote, at)


def _draft_view(quote: Quote, at: datetime) -> QuoteView:
    force = in_force(at)
    price = price_of(quote, force.book)
    booked = capacity.booked_hours()
    has_changed = quote.price_book_id != force.id and price.total_minor != quote.total_minor
    return QuoteView(
        quote=quote,
        book=force.book,
        price=price,
        rows=_rows(quote, price),
        table=_table(quote, force.book, price, booked, at),
        ready_at=promised(force.book, price.hours, quote.rush, at=at, booked=booked),
        seen=seen_mark(force.id, price.total_minor),
        was_minor=quote.total_minor if has_changed else None,
        is_expired=False,
        is_over=False,
    )


def _sent_view(quote: Quote, at: datetime) -> QuoteView:
    book = read_book(db.session.get_one(PriceBookVersion, quote.price_book_id).content)
    price = Price.from_json(quote.pricing)
    return QuoteView(
        quote=quote,
        book=book,
        price=price,
        rows=_rows(quote, price),
        table=(),
        ready_at=quote.promised_at,
        seen="",
        was_minor=None,
        is_expired=quote.is_expired(at),
        is_over=is_over(quote, at),
    )


def _rows(quote: Quote, price: Price) -> list[Row]:
    return [
        Row(item, item.model_file, line, remarks_on(item.model_file, line))
        for item, line in zip(quote.items, price.lines, strict=True)
    ]


def _table(quote: Quote, book: PriceBook, price: Price, booked: Mapping[str, Decimal], at: datetime) -> list[TableRow]:
    """Prices by quantity and rush level; nothing while no model has a price."""
    if not any(line.unit_minor for line in price.lines):
        return []
    is_single = len(quote.items) == 1
    if is_single:
        chosen = quote.items[0].quantity
        asked = sorted({chosen, *_QUANTITIES})
    else:
        chosen = 1
        most = max(item.quantity for item in quote.items)
        asked = [times for times in _TIMES if most * times <= MOST_PIECES]
        asked = asked if len(quote.items) <= _LARGEST_TABLE else [1]

    def cell(rush: str, count: int) -> Cell:
        wanted = {"quantity": count} if is_single else {"times": count}
        total = price_of(quote, book, rush=rush, **wanted)
        ready_at = promised(book, total.hours, rush, at=at, booked=booked)
        return Cell(rush, total.total_minor, ready_at, is_chosen=count == chosen and rush == quote.rush)

    return [TableRow(count, [cell(level.code, count) for level in book.rush]) for count in asked]
