"""The work list's queue of quotes that wait for a price."""

from typing import Any

from sqlalchemy import Select, text

from portal.accounts.models import User
from portal.admin.queries.work_rows import LIMIT, WorkKind, row
from portal.quotes.models import Quote


def quotes_to_price() -> Select[Any]:
    """Quotes that customers have sent and nobody has looked at, the longest waiting first."""
    return (
        row(
            WorkKind.QUOTE,
            id=Quote.id,
            name=Quote.number,
            note=User.email,
            amount_minor=Quote.total_minor,
            currency=Quote.currency,
            since=Quote.submitted_at,
        )
        .join(User, User.id == Quote.user_id)
        # In the words of the partial index ix_quotes_review.
        .where(text("quotes.status = 'pending' AND quotes.approved_at IS NULL"))
        .order_by(Quote.submitted_at, Quote.id)
        .limit(LIMIT)
    )
