"""The customer's arrows of a quote: send it, accept its price, refuse it, call it off.

Every function takes the quote's row lock first, so of two people who decide at once one decides after the other. What
was decided before is an ordinary answer: doing the same again changes nothing.
"""

from datetime import datetime, timedelta

from portal.core import audit
from portal.core.faults import fault
from portal.core.state import InvalidTransition, transition
from portal.quotes.errors import (
    AlreadyConverted,
    ModelDestroyed,
    NotApproved,
    NothingToPrice,
    PricesChanged,
    QuoteExpired,
    QuoteNotFound,
    ReasonMissing,
    RushNotOffered,
    StillMeasuring,
    UnusableModel,
)
from portal.quotes.models import ModelFileStatus, Quote, QuoteStatus
from portal.quotes.pricing.price import Price
from portal.quotes.services.loading import QuoteOwner, lock_quote
from portal.quotes.services.repricing import InForce, in_force, promised, reprice
from portal.quotes.services.telling import tell

LONGEST_REASON = 1_000


def seen_mark(version_id: int, total_minor: int) -> str:
    """What a page shows of a draft's price, in a form that can come back with the customer's decision."""
    return f"{version_id}-{total_minor}"


def submit_quote(number: str, owner: QuoteOwner, *, seen: str, at: datetime) -> Quote:
    """Send a draft: accepted at once when it costs less than the limit and nothing has to be checked, else staff look.

    From here on its prices and every step to them are frozen. `seen` is the `seen_mark` of the page it was sent from.
    Raises QuoteNotFound for a visitor, NothingToPrice, StillMeasuring, UnusableModel, PricesChanged,
    RushNotOffered or InvalidTransition.
    """
    if owner.user_id is None:
        raise QuoteNotFound
    quote = lock_quote(number, owner=owner)
    if quote.status in (QuoteStatus.PENDING, QuoteStatus.ACCEPTED):
        return quote
    if quote.status is not QuoteStatus.DRAFT:
        raise InvalidTransition(quote, QuoteStatus.PENDING)
    _check_models(quote)
    force = in_force(at)
    price = reprice(quote, force, at=at)
    if seen_mark(force.id, price.total_minor) != seen:
        raise PricesChanged
    quote.promised_at = promised(force.book, price.hours, quote.rush, at=at)
    if quote.promised_at is None:
        raise RushNotOffered
    quote.submitted_at = at
    _send(quote, force, price, by=owner.name, at=at)
    return quote


def accept_quote(number: str, owner: QuoteOwner, *, at: datetime) -> Quote:
    """Accept a price that staff have confirmed. The date the parts are promised for counts from now.

    Raises NotApproved, QuoteExpired, ModelDestroyed, RushNotOffered or InvalidTransition.
    """
    quote = lock_quote(number, owner=owner)
    if quote.status is QuoteStatus.ACCEPTED:
        return quote
    if quote.status is QuoteStatus.PENDING and not quote.is_approved:
        raise NotApproved
    if quote.is_expired(at):
        raise QuoteExpired
    if quote.status is not QuoteStatus.PENDING:
        raise InvalidTransition(quote, QuoteStatus.ACCEPTED)
    check_not_destroyed(quote)
    fault("accept-quote-after-check")
    price = Price.from_json(quote.pricing)
    quote.promised_at = promised(in_force(at).book, price.hours, quote.rush, at=at)
    if quote.promised_at is None:
        raise RushNotOffered
    transition(quote, QuoteStatus.ACCEPTED, by=owner.name, at=at, values={"accepted_at": at})
    _note(quote, "quote.accepted", by=owner.name)
    return quote


def reject_quote(number: str, owner: QuoteOwner, *, reason: str, at: datetime) -> Quote:
    """Say no to a price, and why. Raises ReasonMissing or InvalidTransition."""
    quote = lock_quote(number, owner=owner)
    if quote.status is QuoteStatus.REJECTED:
        return quote
    turn_down(quote, reason, by=owner.name, at=at)
    return quote


def turn_down(quote: Quote, reason: str, *, by: str, at: datetime) -> None:
    """Reject a locked quote for a reason, whoever says so. Raises ReasonMissing or InvalidTransition."""
    words = clean_reason(reason)
    transition(quote, QuoteStatus.REJECTED, by=by, at=at, reason=words, values={"reject_reason": words})
    _note(quote, "quote.rejected", by=by, detail=words)


def cancel_quote(number: str, owner: QuoteOwner, *, at: datetime) -> Quote:
    """Call a quote off. Raises AlreadyConverted when there is an order of it, or InvalidTransition."""
    quote = lock_quote(number, owner=owner)
    if quote.status is QuoteStatus.CANCELLED:
        return quote
    if quote.converted_at is not None:
        raise AlreadyConverted(quote)
    transition(quote, QuoteStatus.CANCELLED, by=owner.name, at=at)
    _note(quote, "quote.cancelled", by=owner.name)
    return quote


def check_not_destroyed(quote: Quote) -> None:
    """Raises ModelDestroyed when a model of a loaded quote is gone."""
    if any(item.model_file.status is ModelFileStatus.DESTROYED for item in quote.items):
        raise ModelDestroyed


def clean_reason(reason: str) -> str:
    """A reason as it is kept. Raises ReasonMissing."""
    words = reason.replace("\x00", "").strip()[:LONGEST_REASON]
    if not words:
        raise ReasonMissing(field="reason")
    return words


def _check_models(quote: Quote) -> None:
    if not quote.items:
        raise NothingToPrice
    models = [item.model_file for item in quote.items]
    if any(not model.is_final for model in models):
        raise StillMeasuring
    if any(model.status is not ModelFileStatus.MEASURED or model.outcome == "reject" for model in models):
        raise UnusableModel


def _send(quote: Quote, force: InForce, price: Price, *, by: str, at: datetime) -> None:
    """Freeze the quote and move it on. Without a reason to look, it is below the limit and every part has a price."""
    if quote.review_reasons or not price.is_complete:
        transition(quote, QuoteStatus.PENDING, by=by, at=at)
        _note(quote, "quote.submitted", by=by)
    else:
        ends_at = at + timedelta(days=force.book.validity_days)
        transition(
            quote,
            QuoteStatus.ACCEPTED,
            by=by,
            at=at,
            reason="below the limit, nothing to check",
            values={"approved_at": at, "accepted_at": at, "expires_at": ends_at},
        )
        _note(quote, "quote.accepted", by=by)
    tell(quote, "quote_received")


def _note(quote: Quote, event: str, *, by: str, detail: str | None = None) -> None:
    after = {"number": quote.number, "total_minor": quote.total_minor, "currency": quote.currency}
    audit.record(event, actor=by, subject=f"quotes:{quote.id}", after=after, detail=detail)
