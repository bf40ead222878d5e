"""Telling customers that a price is about to end, once. That it has ended follows from the clock and needs no job."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from portal.core.db import db
from portal.quotes.models import Quote, QuoteStatus
from portal.quotes.services.telling import tell

NOTICE = timedelta(days=3)
_BATCH = 200


def announce_expiring(*, at: datetime, after_id: int = 0) -> int | None:
    """Mail everybody whose confirmed price ends within three days and who has not ordered; a batch at a time.

    Returns where the next batch begins, or None after the last. A mail has its quote's key, so nobody gets two.
    """
    quotes = list(
        db.session.scalars(
            select(Quote)
            .where(
                Quote.expires_at > at,
                Quote.expires_at <= at + NOTICE,
                Quote.status.in_((QuoteStatus.PENDING, QuoteStatus.ACCEPTED)),
                Quote.converted_at.is_(None),
                Quote.id > after_id,
            )
            .options(joinedload(Quote.user))
            .order_by(Quote.id)
            .limit(_BATCH)
        )
    )
    for quote in quotes:
        if quote.expires_at is not None:
            tell(quote, "quote_expiring", occasion=f"{quote.expires_at.timestamp():.0f}")
    return quotes[-1].id if len(quotes) == _BATCH else None
