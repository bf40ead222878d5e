"""A new draft made of an old quote, at today's prices."""

from datetime import datetime

from sqlalchemy import select

from portal.core import audit
from portal.core.db import db
from portal.quotes.errors import NothingToPrice, NotRequotable
from portal.quotes.models import ModelFileStatus, Quote, QuoteStatus
from portal.quotes.services.drafting import new_number
from portal.quotes.services.editing import copy_of
from portal.quotes.services.loading import QuoteOwner, lock_quote
from portal.quotes.services.repricing import in_force, reprice


def requote(number: str, owner: QuoteOwner, *, at: datetime) -> Quote:
    """Begin a draft with the same models, options and delivery time. Two clicks make one draft.

    Raises NotRequotable while the quote is still good, NothingToPrice when its models are destroyed.
    """
    quote = lock_quote(number, owner=owner)
    if not is_over(quote, at):
        raise NotRequotable
    made = db.session.scalar(
        select(Quote).where(Quote.requote_of_id == quote.id, Quote.status == QuoteStatus.DRAFT).order_by(Quote.id)
    )
    return made if made is not None else _copy(quote, owner, at=at)


def is_over(quote: Quote, at: datetime) -> bool:
    """Whether nothing more can come of it: refused, called off, expired, or ordered already."""
    ended = quote.status in (QuoteStatus.REJECTED, QuoteStatus.CANCELLED)
    return ended or quote.converted_at is not None or quote.is_expired(at)


def _copy(quote: Quote, owner: QuoteOwner, *, at: datetime) -> Quote:
    kept = [item for item in quote.items if item.model_file.status is not ModelFileStatus.DESTROYED]
    if not kept:
        raise NothingToPrice
    force = in_force(at)
    new = Quote(
        number=new_number(at),
        user_id=quote.user_id,
        status=QuoteStatus.DRAFT,
        locale=quote.locale,
        currency=force.book.currency,
        rush=quote.rush,
        requote_of_id=quote.id,
        created_at=at,
        updated_at=at,
        items=[copy_of(item, position=place) for place, item in enumerate(kept, start=1)],
    )
    db.session.add(new)
    db.session.flush()
    reprice(new, force, at=at)
    after = {"number": new.number, "of": quote.number}
    audit.record("quote.requoted", actor=owner.name, subject=f"quotes:{new.id}", after=after)
    return new
