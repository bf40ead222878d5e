"""Reads for the room of quotes: the queue that waits for staff, all other quotes, and one with everything about it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, joinedload, selectinload

from portal.accounts.models import User
from portal.admin.queries.matching import has_words, is_named, starts_with
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.core.mail import MailMessage
from portal.core.paging import PAGE_SIZE, Page, cursor, paginate
from portal.orders.models import Order
from portal.production.models import SalesOrder
from portal.quotes.errors import ModelNotFound, QuoteNotFound
from portal.quotes.models import ModelFile, Quote, QuoteItem, QuoteStatus

_MAILS = 100
_EVENTS = 100
_NUMBER = re.compile(r"Q-[0-9-]*", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class QuoteState(StrEnum):
    """Where a quote stands for those who work on it: statuses, and what stamps say besides."""

    WAITING = "waiting"
    PRICED = "priced"
    DRAFT = "draft"
    ACCEPTED = "accepted"
    ORDERED = "ordered"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


_CONDITIONS = {
    QuoteState.WAITING: (Quote.status == QuoteStatus.PENDING, Quote.approved_at.is_(None)),
    QuoteState.PRICED: (Quote.status == QuoteStatus.PENDING, Quote.approved_at.is_not(None)),
    QuoteState.DRAFT: (Quote.status == QuoteStatus.DRAFT,),
    QuoteState.ACCEPTED: (Quote.status == QuoteStatus.ACCEPTED, Quote.converted_at.is_(None)),
    QuoteState.ORDERED: (Quote.converted_at.is_not(None),),
    QuoteState.REJECTED: (Quote.status == QuoteStatus.REJECTED,),
    QuoteState.CANCELLED: (Quote.status == QuoteStatus.CANCELLED,),
}


@dataclass(frozen=True, slots=True)
class QuoteFilter:
    """What staff want to see of the quotes; without a state, all that have a number."""

    text: str = ""
    state: QuoteState | None = None
    by_value: bool = False


def quotes_where(wanted: QuoteFilter) -> Select[Quote]:
    """The quotes of a filter, for a page or for the export, with what a row says about each."""
    statement: Select[Quote] = select(Quote).options(joinedload(Quote.user), selectinload(Quote.items))
    # A visitor's draft has no number: it is nobody's yet.
    statement = statement.where(Quote.number.is_not(None))
    if wanted.state is not None:
        statement = statement.where(*_CONDITIONS[wanted.state])
    if wanted.text:
        statement = statement.where(_named(wanted.text))
    return statement


def _named(typed: str) -> Any:
    if _NUMBER.fullmatch(typed):
        return is_named(Quote.number, typed.upper())
    if "@" in typed:
        return Quote.user_id.in_(select(User.id).where(is_named(User.email, typed.lower())))
    by_name = or_(has_words(User.name, typed), starts_with(User.email, typed.lower()))
    return Quote.user_id.in_(select(User.id).where(by_name))


def quotes_page(wanted: QuoteFilter, *, before: str | None, after: str | None) -> Page[Quote]:
    """A page: the queue with the longest waiting first, all else newest first, or the most money first."""
    statement = quotes_where(wanted)
    if wanted.by_value:
        return _page(statement, Quote.total_minor, before=before, after=after, is_falling=True)
    if wanted.state is QuoteState.WAITING:
        return _page(statement, Quote.submitted_at, before=before, after=after, is_falling=False)
    return paginate(statement, Quote.id, before=before, after=after)


def _page(
    statement: Select[Quote],
    column: InstrumentedAttribute[Any],
    *,
    before: str | None,
    after: str | None,
    is_falling: bool,
) -> Page[Quote]:
    """A page in the order of a column that is not unique, with the id where it is the same: `before` names the last
    row of the page above, `after` the first of the page below."""
    anchor = _anchor(before or after, column)
    is_back = after is not None and before is None and anchor is not None
    is_rising = is_falling == is_back
    if anchor is not None:
        value, row_id = anchor
        beyond = column > value if is_rising else column < value
        same = and_(column == value, Quote.id > row_id if is_rising else Quote.id < row_id)
        statement = statement.where(or_(beyond, same))
    order = (column.asc(), Quote.id.asc()) if is_rising else (column.desc(), Quote.id.desc())
    rows = list(db.session.scalars(statement.order_by(None).order_by(*order).limit(PAGE_SIZE + 1)).unique())
    has_more, rows = len(rows) > PAGE_SIZE, rows[:PAGE_SIZE]
    if is_back:
        rows.reverse()
    has_next, has_last = (True, has_more) if is_back else (has_more, anchor is not None)
    return Page(
        rows=rows,
        older=_cursor(rows[-1], column) if rows and has_next else None,
        newer=_cursor(rows[0], column) if rows and has_last else None,
    )


def _cursor(row: Quote, column: InstrumentedAttribute[Any]) -> str:
    value = getattr(row, column.key)
    number = (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value
    return f"{number}-{row.id}"


def _anchor(text: str | None, column: InstrumentedAttribute[Any]) -> tuple[Any, int] | None:
    """The value and id of a cursor from the address bar, or None for what is none."""
    value, _dash, row = (text or "").partition("-")
    number, row_id = cursor(value), cursor(row)
    if number is None or row_id is None:
        return None
    if column is not Quote.submitted_at:
        return number, row_id
    try:
        return _EPOCH + number * _MICROSECOND, row_id
    except OverflowError:
        return None


@dataclass(frozen=True, slots=True)
class QuoteFile:
    """Everything staff see about one quote, besides its price."""

    quote: Quote
    events: list[AuditEvent]
    mails: list[MailMessage]
    order_number: str | None


def get_quote(number: str) -> Quote:
    """A quote by its number with its items, models and customer. Raises QuoteNotFound."""
    found = db.session.scalar(
        select(Quote)
        .where(Quote.number == number)
        .options(selectinload(Quote.items).joinedload(QuoteItem.model_file), joinedload(Quote.user))
        .execution_options(populate_existing=True)
    )
    if found is None:
        raise QuoteNotFound
    return found


def read_quote_file(number: str) -> QuoteFile:
    """The same number of statements whatever the quote has been through. Raises QuoteNotFound."""
    quote = get_quote(number)
    events = db.session.scalars(
        select(AuditEvent).where(AuditEvent.subject == f"quotes:{quote.id}").order_by(AuditEvent.id).limit(_EVENTS)
    )
    to = quote.user.email if quote.user is not None else ""
    mails = db.session.scalars(
        select(MailMessage).where(MailMessage.to == to).order_by(MailMessage.id.desc()).limit(_MAILS)
    )
    ordered = select(Order.number).join(SalesOrder, SalesOrder.order_id == Order.id)
    return QuoteFile(
        quote=quote,
        events=list(events),
        mails=[mail for mail in mails if mail.params.get("quote_id") == quote.id],
        order_number=db.session.scalar(ordered.where(SalesOrder.quote_id == quote.id)),
    )


def get_model(public_id: str) -> ModelFile:
    """A model, whoever it belongs to and in whatever state. Raises ModelNotFound."""
    model = db.session.scalar(select(ModelFile).where(ModelFile.public_id == public_id))
    if model is None:
        raise ModelNotFound
    return model


def quotes_of_model(model: ModelFile) -> list[Quote]:
    """The quotes a model stands in, newest first."""
    stands_in = select(QuoteItem.quote_id).where(
        or_(QuoteItem.model_file_id == model.id, QuoteItem.revision_of_id == model.id)
    )
    return list(
        db.session.scalars(
            select(Quote).where(Quote.id.in_(stands_in), Quote.number.is_not(None)).order_by(Quote.id.desc()).limit(25)
        )
    )
