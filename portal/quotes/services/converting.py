"""Handing an accepted quote over to whoever makes an order of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import update

from portal.core import audit
from portal.core.db import db
from portal.core.faults import fault
from portal.quotes.errors import AlreadyConverted, ExpiredBeforeOrder, ModelGone, NotAccepted
from portal.quotes.models import ModelFileStatus, Quote, QuoteStatus
from portal.quotes.services.loading import QuoteOwner, lock_quote


def lock_to_convert(number: str, owner: QuoteOwner, *, at: datetime) -> Quote:
    """The customer's own quote under its row lock, ready to be ordered. Raises QuoteNotFound or NotConvertible."""
    quote = lock_quote(number, owner=owner)
    check_convertible(quote, at=at)
    return quote


def check_convertible(quote: Quote, *, at: datetime) -> None:
    """Raises AlreadyConverted, NotAccepted, ExpiredBeforeOrder or ModelGone, all of them NotConvertible."""
    if quote.converted_at is not None:
        raise AlreadyConverted(quote)
    if quote.status is not QuoteStatus.ACCEPTED or quote.user_id is None:
        raise NotAccepted(quote)
    if quote.is_expired(at):
        raise ExpiredBeforeOrder(quote)
    if any(item.model_file.status is ModelFileStatus.DESTROYED for item in quote.items):
        raise ModelGone(quote)


def mark_converted(quote: Quote, *, at: datetime) -> None:
    """Stamp the quote in the transaction that makes its order, once for ever. Raises NotConvertible.

    Compare-and-set, so that it holds whoever forgot the lock: of two orders of one quote the second is undone.
    """
    check_convertible(quote, at=at)
    fault("convert-after-check")
    result: Any = db.session.execute(
        update(Quote)
        .where(Quote.id == quote.id, Quote.converted_at.is_(None), Quote.status == QuoteStatus.ACCEPTED)
        .values(converted_at=at)
        .execution_options(synchronize_session=False)
    )
    if result.rowcount != 1:
        raise AlreadyConverted(quote)
    quote.converted_at = at
    audit.record(
        "quote.converted",
        actor=quote.user.email if quote.user else "job:quotes",
        subject=f"quotes:{quote.id}",
        after={"number": quote.number},
    )
