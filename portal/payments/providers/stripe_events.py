"""Stripe's webhooks: who signed them, and what each event means for us.

The one place where Stripe's words become ours. Anything that is not in `_MEANINGS` is ignored on purpose; above all
`charge.*`, whose facts reach us as payment intents and refunds.
See https://docs.stripe.com/webhooks and https://docs.stripe.com/checkout/fulfillment.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

import structlog

from portal.core.money import digits
from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    ParsedWebhook,
    SignatureProblem,
)
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.signing import any_matches, check_time, read_header

log = structlog.get_logger(__name__)

SIGNATURE_HEADER = "Stripe-Signature"
# Our payment session's uuid, in the metadata of whatever Stripe makes for it.
SESSION_KEY = "session_id"
ATTEMPT_KEY = "attempt"
REFUND_KEY = "refund_key"
# A text that is longer is not one of our session ids.
_LONGEST_SESSION_ID = 64
_LONGEST_EVENT_TYPE = 128
_ATTEMPT = re.compile(r"[0-9]{1,6}")
_TIME = re.compile(r"[0-9]{1,12}")
# Only lower-case hex: Stripe sends nothing else, and one way of writing a signature is enough.
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
# Where Stripe counts other minor units than ISO 4217 (https://docs.stripe.com/currencies#special-cases).
_STRIPE_DIGITS = {"ISK": 2, "MGA": 0}


def stripe_digits(currency: str) -> int:
    """How many decimal places Stripe's amounts in this currency have."""
    return _STRIPE_DIGITS.get(currency, digits(currency))


def from_stripe_amount(amount: int, currency: str) -> int:
    """Stripe's amount in our minor units; a remainder Stripe does not allow is cut, and the mismatch shows."""
    ours, theirs = digits(currency), stripe_digits(currency)
    return amount * power_of_ten(ours - theirs) // power_of_ten(theirs - ours)


def power_of_ten(exponent: int) -> int:
    """10 to the exponent, and 1 for a negative one."""
    return int(10 ** max(exponent, 0))


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], *, at: datetime) -> None:
    """Check the signature over the raw bytes. Raises InvalidSignature.

    The SDK's own check reads the wall clock, decodes the body first and accepts times in the future, so we do it
    ourselves: HMAC-SHA256 of `<t>.<body>` with the whole secret, in lower-case hex.
    """
    times: list[str] = []
    signatures: list[str] = []
    for part in read_header(headers, SIGNATURE_HEADER).split(","):
        scheme, _, value = part.strip().partition("=")
        if scheme == "t":
            times.append(value)
        elif scheme == "v1" and _SIGNATURE.fullmatch(value):
            signatures.append(value)
    if len(times) != 1 or not _TIME.fullmatch(times[0]):
        raise InvalidSignature(SignatureProblem.MALFORMED_HEADER)
    message = times[0].encode() + b"." + body
    expected = [hmac.new(secret.encode(), message, sha256).hexdigest() for secret in secrets]
    if not any_matches(signatures, expected):
        raise InvalidSignature(SignatureProblem.NO_MATCH)
    check_time(int(times[0]), at)


def parse_event(body: bytes) -> ParsedWebhook:
    """Say what a verified event means. Raises InvalidPayload."""
    event = Fields(parse_object(body))
    if event.text("object") != "event":
        raise InvalidPayload("not a Stripe event")
    delivery_key = event.text("id")
    event_type = event.text("type", longest=_LONGEST_EVENT_TYPE)
    meaning = _MEANINGS.get(event_type)
    if meaning is None:
        return ParsedWebhook(delivery_key, event_type, ())
    fact = meaning(event.fields("data").fields("object"))
    if fact is None:
        return ParsedWebhook(delivery_key, event_type, ())
    livemode = event.optional_flag("livemode")
    fact = replace(
        fact,
        is_test=None if livemode is None else not livemode,
        occurred_at=event.optional_time("created"),
    )
    return ParsedWebhook(delivery_key, event_type, (fact,))


def session_fact(session: Fields, outcome: Outcome, *, detail: str | None = None) -> NormalisedEvent:
    """A fact about a Checkout Session, from a webhook or from the API; the same fact gets the same business key."""
    reference = session.text("id")
    payment = session.optional_reference("payment_intent")
    # Only a session that was never paid has no payment intent, and one whose total was zero.
    subject = reference if outcome is Outcome.FAILED else payment or reference
    amount, currency = _money(session, "amount_total", is_needed=outcome is Outcome.PAID)
    return NormalisedEvent(
        outcome=outcome,
        session_id=_our_session(session),
        attempt_reference=reference,
        payment_reference=payment,
        business_key=None if outcome is Outcome.IGNORED else f"stripe:{subject}:{outcome}",
        amount_minor=amount,
        currency=currency,
        detail=detail,
        attempt=_attempt(session),
    )


def intent_fact(intent: Fields, outcome: Outcome, *, detail: str | None = None) -> NormalisedEvent | None:
    """A fact about a PaymentIntent; None when it is not from a checkout of ours, such as a subscription's renewal."""
    session_id = _our_session(intent)
    if session_id is None:
        return None
    reference = intent.text("id")
    # What was received counts, not what was asked for; a rendering that lacks it is of a payment captured in full.
    is_received = outcome is Outcome.PAID and intent.optional_whole("amount_received") is not None
    amount, currency = _money(intent, "amount_received" if is_received else "amount", is_needed=outcome is Outcome.PAID)
    return NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        payment_reference=reference,
        business_key=None if outcome is Outcome.IGNORED else f"stripe:{reference}:{outcome}",
        amount_minor=amount,
        currency=currency,
        detail=detail,
        attempt=_attempt(intent),
    )


def _our_session(thing: Fields) -> str | None:
    """Our payment session's uuid.

    Metadata can be set with our secret key only. `client_reference_id` says the same, but whoever opens one of the
    account's payment links may choose it, so it counts only where no payment link is involved.
    """
    metadata = thing.optional_fields("metadata")
    found = metadata.optional_text(SESSION_KEY, longest=500) if metadata else None
    if not found and thing.optional_text("payment_link") is None:
        found = thing.optional_text("client_reference_id", longest=500)
    return found if found and len(found) <= _LONGEST_SESSION_ID else None


def _attempt(thing: Fields) -> int | None:
    """Which of the session's attempts; a payment intent does not know its Checkout Session."""
    metadata = thing.optional_fields("metadata")
    number = metadata.optional_text(ATTEMPT_KEY, longest=500) if metadata else None
    return int(number) if number and _ATTEMPT.fullmatch(number) else None


def _money(thing: Fields, field: str, *, is_needed: bool = True) -> tuple[int | None, str | None]:
    """The amount in our minor units, with its currency: both or neither."""
    if not is_needed and (thing.optional_whole(field) is None or thing.optional_text("currency") is None):
        return None, None
    currency = thing.text("currency", longest=3).upper()
    return from_stripe_amount(thing.whole(field), currency), currency


def _completed(session: Fields) -> NormalisedEvent | None:
    """The buyer finished the page: the money is here, or still on its way."""
    mode, status = session.text("mode"), session.text("payment_status")
    if mode == "subscription" and status == "paid":
        # Which payment it was, the invoice knows, and tells when it is asked.
        return _hint(session_fact(session, Outcome.IGNORED, detail="a subscription began"))
    if mode != "payment":
        return session_fact(session, Outcome.IGNORED, detail=f"mode {mode}")
    if status == "unpaid":
        return session_fact(session, Outcome.PENDING)
    if status == "paid":
        return session_fact(session, Outcome.PAID)
    if status == "no_payment_required":
        return session_fact(session, Outcome.PAID, detail="no payment required")
    log.warning("stripe.unknown_payment_status", payment_status=status, session=session.text("id"))
    return session_fact(session, Outcome.IGNORED, detail=f"unknown payment_status {status}")


def _hint(fact: NormalisedEvent | None) -> NormalisedEvent | None:
    """The fact as a hint that has the provider asked; None for what is not ours."""
    if fact is None or fact.session_id is None:
        return None
    return replace(fact, outcome=Outcome.HINT, business_key=None, amount_minor=None, currency=None)


def invoice_fact(invoice: Fields, outcome: Outcome, *, detail: str | None = None) -> NormalisedEvent | None:
    """A fact about an invoice of a subscription that a checkout of ours began; None for any other invoice."""
    parent = invoice.optional_fields("parent")
    about = parent.optional_fields("subscription_details") if parent else None
    session_id = _our_session(about) if about else None
    if about is None or session_id is None:
        return None
    reference = invoice.text("id")
    amount, currency = _money(invoice, "amount_paid" if outcome is Outcome.PAID else "amount_due")
    return NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        attempt_reference=reference,
        business_key=f"stripe:{reference}:{outcome}",
        amount_minor=amount,
        currency=currency,
        detail=detail,
        attempt=_attempt(about),
        subscription_reference=about.optional_reference("subscription"),
    )


def _invoice_paid(invoice: Fields) -> NormalisedEvent | None:
    return _hint(invoice_fact(invoice, Outcome.IGNORED, detail="an invoice of a subscription was paid"))


def renewal_failed(invoice: Fields) -> NormalisedEvent | None:
    """A charge that did not go through. While the buyer is on the first page, it is one try of several there."""
    fact = invoice_fact(invoice, Outcome.RENEWAL_FAILED, detail=invoice.optional_text("billing_reason"))
    if fact is None:
        return None
    if invoice.optional_text("billing_reason") == "subscription_create":
        return replace(fact, outcome=Outcome.IGNORED, business_key=None)
    tries = invoice.optional_whole("attempt_count") or 0
    return replace(
        fact,
        attempt_reference=None,
        business_key=f"stripe:{invoice.text('id')}:failed:{tries}",
        due_at=invoice.optional_time("next_payment_attempt"),
        subject_reference=invoice.text("id"),
    )


def subscription_ended(subscription: Fields) -> NormalisedEvent:
    """A subscription that is charged no more, whoever ended it: us, the buyer's bank, or somebody at the dashboard."""
    details = subscription.optional_fields("cancellation_details")
    return NormalisedEvent(
        outcome=Outcome.SUBSCRIPTION_ENDED,
        session_id=_our_session(subscription),
        business_key=f"stripe:{subscription.text('id')}:cancelled",
        detail=details.optional_text("reason") if details else None,
        subscription_reference=subscription.text("id"),
        occurred_at=subscription.optional_time("ended_at"),
    )


def _async_succeeded(session: Fields) -> NormalisedEvent | None:
    return session_fact(session, Outcome.PAID)


def _async_failed(session: Fields) -> NormalisedEvent | None:
    return session_fact(session, Outcome.FAILED, detail="the bank refused the payment")


def _expired(session: Fields) -> NormalisedEvent | None:
    return session_fact(session, Outcome.FAILED, detail="the payment page expired")


def _intent_processing(intent: Fields) -> NormalisedEvent | None:
    return intent_fact(intent, Outcome.PENDING)


def _intent_succeeded(intent: Fields) -> NormalisedEvent | None:
    return intent_fact(intent, Outcome.PAID)


def _intent_declined(intent: Fields) -> NormalisedEvent | None:
    """One card was declined. The buyer may take another on the same page, so nothing has failed yet."""
    error = intent.optional_fields("last_payment_error")
    code = (error.optional_text("decline_code") or error.optional_text("code")) if error else None
    return intent_fact(intent, Outcome.IGNORED, detail=f"declined: {code or 'no reason given'}")


def _refund(refund: Fields) -> NormalisedEvent | None:
    """A refund, made by us or in Stripe's dashboard. It names the payment, not our session."""
    status = refund.optional_text("status") or "no status"
    outcome = {
        "succeeded": Outcome.REFUNDED,
        "failed": Outcome.REFUND_FAILED,
        "canceled": Outcome.REFUND_FAILED,
        "pending": Outcome.IGNORED,
        "requires_action": Outcome.IGNORED,
    }.get(status)
    if outcome is None:
        log.warning("stripe.unknown_refund_status", status=status, refund=refund.text("id"))
        outcome = Outcome.IGNORED
    fact_name = {Outcome.REFUNDED: "succeeded", Outcome.REFUND_FAILED: "failed"}.get(outcome)
    amount, currency = _money(refund, "amount")
    metadata = refund.optional_fields("metadata")
    return NormalisedEvent(
        outcome=outcome,
        session_id=_our_session(refund),
        payment_reference=refund.optional_reference("payment_intent"),
        business_key=f"stripe:{refund.text('id')}:{fact_name}" if fact_name else None,
        amount_minor=amount,
        currency=currency,
        detail=refund.optional_text("failure_reason") or status,
        subject_reference=refund.text("id"),
        refund_key=metadata.optional_text(REFUND_KEY, longest=500) if metadata else None,
    )


def _dispute(outcome: Outcome, fact_name: str, detail_field: str) -> Callable[[Fields], NormalisedEvent]:
    def fact(dispute: Fields) -> NormalisedEvent:
        amount, currency = _money(dispute, "amount")
        details = dispute.optional_fields("evidence_details")
        detail = dispute.optional_text(detail_field)
        return NormalisedEvent(
            outcome=outcome,
            payment_reference=dispute.optional_reference("payment_intent"),
            business_key=f"stripe:{dispute.text('id')}:{fact_name}",
            amount_minor=amount,
            currency=currency,
            detail=_WITHDRAWN.get(detail, detail) if detail else None,
            subject_reference=dispute.text("id"),
            due_at=details.optional_time("due_by") if details else None,
        )

    return fact


# An inquiry that never became a dispute, and a dispute that the card network stopped: nothing was taken.
_WITHDRAWN = {"warning_closed": "withdrawn", "prevented": "withdrawn"}

_MEANINGS: Mapping[str, Callable[[Fields], NormalisedEvent | None]] = {
    "checkout.session.completed": _completed,
    "checkout.session.async_payment_succeeded": _async_succeeded,
    "checkout.session.async_payment_failed": _async_failed,
    "checkout.session.expired": _expired,
    "payment_intent.processing": _intent_processing,
    "payment_intent.succeeded": _intent_succeeded,
    "payment_intent.payment_failed": _intent_declined,
    "invoice.paid": _invoice_paid,
    "invoice.payment_succeeded": _invoice_paid,
    "invoice.payment_failed": renewal_failed,
    "customer.subscription.deleted": subscription_ended,
    "refund.created": _refund,
    "refund.updated": _refund,
    "refund.failed": _refund,
    "charge.refund.updated": _refund,
    "charge.dispute.created": _dispute(Outcome.DISPUTED, "created", "reason"),
    "charge.dispute.updated": _dispute(Outcome.DISPUTED, "created", "reason"),
    "charge.dispute.closed": _dispute(Outcome.DISPUTE_CLOSED, "closed", "status"),
}
# What the webhook endpoint at Stripe must be subscribed to.
EVENT_TYPES = tuple(_MEANINGS)
