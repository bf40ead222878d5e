"""What staff do with a quote that waits for them: confirm its price, set another one with a reason, or turn it down."""

from datetime import datetime, timedelta

from portal.core import audit
from portal.core.db import db
from portal.core.state import InvalidTransition
from portal.quotes.errors import InvalidPrice, MessageMissing, PriceMissing, QuoteMoved
from portal.quotes.models import Quote, QuoteStatus
from portal.quotes.pricing.book import read_book
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.pricing.price import Price
from portal.quotes.services.deciding import check_not_destroyed, clean_reason, turn_down
from portal.quotes.services.loading import lock_by_id
from portal.quotes.services.repricing import promised
from portal.quotes.services.telling import tell

# As for a single piece: above it, it is a slip of the finger.
HIGHEST_TOTAL_MINOR = 10**11
LONGEST_MESSAGE = 2_000


def review_mark(quote: Quote) -> str:
    """How a quote stands, in a form that comes back with a decision: who decides about what has changed is told."""
    approved = f"{quote.approved_at.timestamp():.6f}" if quote.approved_at is not None else ""
    return f"{quote.status}-{quote.total_minor}-{approved}"


def approve_quote(quote_id: int, *, by: str, message: str = "", seen: str | None = None, at: datetime) -> Quote:
    """Confirm the price, so that the customer can accept it; it is held from now on. Confirming again changes nothing.

    `seen` is the `review_mark` of the page that was looked at. Raises QuoteMoved when a colleague was faster,
    PriceMissing while a part has no price and no total was set, ModelDestroyed, or InvalidTransition when it does not
    wait.
    """
    quote = _waiting(quote_id, seen)
    if quote.is_approved:
        return quote
    if quote.override_reason is None and not Price.from_json(quote.pricing).is_complete:
        raise PriceMissing
    _approve(quote, by=by, message=message, at=at)
    return quote


def override_price(
    quote_id: int,
    total_minor: int,
    *,
    reason: str,
    by: str,
    message: str = "",
    seen: str | None = None,
    at: datetime,
) -> Quote:
    """Ask for another total than the computed one, and confirm it; also for one that was confirmed before.

    The computed price and its steps stay beside it. The same total and reason again change nothing. Raises
    QuoteMoved, InvalidPrice, ReasonMissing, ModelDestroyed or InvalidTransition.
    """
    quote = _waiting(quote_id, seen)
    if not 0 < total_minor <= HIGHEST_TOTAL_MINOR:
        raise InvalidPrice(field="total")
    words = clean_reason(reason)
    if quote.is_approved and (quote.total_minor, quote.override_reason) == (total_minor, words):
        return quote
    before = {"total_minor": quote.total_minor, "reason": quote.override_reason}
    quote.total_minor, quote.override_reason = total_minor, words
    after = {"total_minor": total_minor, "reason": words}
    audit.record("quote.price_set", actor=by, subject=f"quotes:{quote.id}", before=before, after=after)
    _approve(quote, by=by, message=message, at=at)
    return quote


def reject_quote(quote_id: int, *, reason: str, by: str, seen: str | None = None, at: datetime) -> Quote:
    """Turn a quote down; the customer reads the reason. Doing it again changes nothing.

    Raises QuoteMoved, ReasonMissing or InvalidTransition.
    """
    quote = lock_by_id(quote_id)
    _check_seen(quote, seen)
    if quote.status is QuoteStatus.REJECTED:
        return quote
    turn_down(quote, reason, by=by, at=at)
    tell(quote, "quote_declined")
    return quote


def write_to_customer(quote_id: int, message: str, *, by: str, seen: str | None = None, at: datetime) -> Quote:
    """Tell the customer something about a quote that waits, without deciding: a mail, and words on its page.

    Raises QuoteMoved, MessageMissing or InvalidTransition when it does not wait any more.
    """
    quote = _waiting(quote_id, seen)
    words = clean_message(message)
    if not words:
        raise MessageMissing(field="message")
    quote.staff_message, quote.updated_at = words, at
    audit.record("quote.message", actor=by, subject=f"quotes:{quote.id}", detail=words)
    tell(quote, "quote_message", occasion=f"{at.timestamp():.6f}")
    return quote


def clean_message(message: str) -> str:
    """Words to the customer as they are kept."""
    return message.replace("\x00", "").strip()[:LONGEST_MESSAGE]


def _check_seen(quote: Quote, seen: str | None) -> None:
    if seen is not None and seen != review_mark(quote):
        raise QuoteMoved


def _waiting(quote_id: int, seen: str | None = None) -> Quote:
    quote = lock_by_id(quote_id)
    _check_seen(quote, seen)
    if quote.status is not QuoteStatus.PENDING:
        raise InvalidTransition(quote, QuoteStatus.ACCEPTED)
    return quote


def _approve(quote: Quote, *, by: str, message: str, at: datetime) -> None:
    check_not_destroyed(quote)
    book = read_book(db.session.get_one(PriceBookVersion, quote.price_book_id).content)
    quote.approved_at = at
    quote.expires_at = at + timedelta(days=book.validity_days)
    quote.promised_at = promised(book, Price.from_json(quote.pricing).hours, quote.rush, at=at)
    quote.staff_message = clean_message(message)
    quote.updated_at = at
    db.session.flush()
    audit.record(
        "quote.approved",
        actor=by,
        subject=f"quotes:{quote.id}",
        after={"total_minor": quote.total_minor, "expires_at": quote.expires_at.isoformat()},
    )
    # Another price is another mail; the same approval is announced once.
    tell(quote, "quote_priced", occasion=f"{at.timestamp():.6f}")
