"""Recurrente's words: what its events and its checkouts mean for us.

Two vocabularies announce the same payment: since 2026 `intent.*` is sent together with the older `payment_intent.*`,
`bank_transfer_intent.*` and so on. Both name the payment, and so does the business key: it counts once. Two shapes are
documented too, flat and with everything under `data`. See https://docs.recurrente.com and
`docs/providers/recurrente.md`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from portal.payments.providers.base import FetchResult, InvalidPayload, NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.providers.payloads import Fields, parse_object

log = structlog.get_logger(__name__)

# What we put into a checkout's metadata, which comes back in its events. It can be set with our secret key only.
SESSION_KEY, ATTEMPT_KEY = "session_id", "attempt"
IDEMPOTENCY_KEY, AMOUNT_KEY, CLOSES_KEY = "idempotency_key", "amount", "closes_at"
# A payment that began in the last moment may still be under way when the page closes.
GRACE = timedelta(minutes=10)
_LONGEST_EVENT_TYPE = 128
_LONGEST_SESSION_ID = 64
_LONGEST_VALUE = 500
_ATTEMPT = re.compile(r"[0-9]{1,6}")
_AMOUNT = re.compile(r"([0-9]{1,18}) ([A-Z]{3})")
# How the ids of payments begin that are documented: by card, and by bank transfer.
_PAYMENT_ID = re.compile(r"(pa|ba)_.+")
_SUBSCRIPTION = "Subscription"

_UNIFIED = "intent"
_FAMILIES = frozenset(
    {_UNIFIED, "payment_intent", "bank_transfer_intent", "crypto_intent", "balance_intent", "cash_intent"}
)
# A declined card or a cancelled try leaves the page as it was: whether it is over, the checkout itself says.
_OF_INTENTS = {
    "pending": Outcome.PENDING,
    "succeeded": Outcome.PAID,
    "failed": Outcome.HINT,
    "canceled": Outcome.HINT,
    "cancelled": Outcome.HINT,
}
# What the events of a subscription say. Each with every name that is documented, or was ever said to be sent. That one
# began, its first payment says.
_OF_SUBSCRIPTIONS = {
    "subscription.create": Outcome.IGNORED,
    "subscription.activated": Outcome.IGNORED,
    "subscription.reactivate": Outcome.SUBSCRIPTION_RESUMED,
    "subscription.unpause": Outcome.SUBSCRIPTION_RESUMED,
    "subscription.pause": Outcome.SUBSCRIPTION_PAUSED,
    "subscription.paused": Outcome.SUBSCRIPTION_PAUSED,
    "subscription.past_due": Outcome.RENEWAL_FAILED,
    "subscription.payment_failed": Outcome.RENEWAL_FAILED,
    "subscription.payment_succeeded": Outcome.PAID,
    "subscription.cancel": Outcome.SUBSCRIPTION_ENDED,
    "subscription.cancelled": Outcome.SUBSCRIPTION_ENDED,
    "setup_intent.succeeded": Outcome.IGNORED,
    "setup_intent.cancelled": Outcome.SUBSCRIPTION_ENDED,
    "setup_intent.canceled": Outcome.SUBSCRIPTION_ENDED,
}
# How a subscription stands, when it is asked.
_STATES = {
    "past_due": Outcome.RENEWAL_FAILED,
    "paused": Outcome.SUBSCRIPTION_PAUSED,
    "cancelled": Outcome.SUBSCRIPTION_ENDED,
    "canceled": Outcome.SUBSCRIPTION_ENDED,
    "unable_to_start": Outcome.SUBSCRIPTION_ENDED,
}
_REFUND_FAILED = frozenset({"failed", "canceled", "cancelled", "rejected"})
_DISPUTE_OPEN = frozenset({"", "open", "pending", "in_review", "under_review", "needs_response"})


def read_event(webhook_id: str, body: bytes, *, is_test: bool) -> ParsedWebhook:
    """Say what a verified event means; `is_test` is the mode of our keys, for events that name none.

    Raises InvalidPayload.
    """
    event = Fields(parse_object(body))
    event_type = event.text("event_type", longest=_LONGEST_EVENT_TYPE)
    thing = event.optional_fields("data") or event
    family, _, suffix = event_type.rpartition(".")
    if family in _FAMILIES and suffix in _OF_INTENTS:
        fact = _intent(thing, _OF_INTENTS[suffix], event_type, is_unified=family == _UNIFIED)
    elif event_type in _OF_SUBSCRIPTIONS:
        fact = _subscription(thing, _OF_SUBSCRIPTIONS[event_type], event_type)
    else:
        meaning = _OTHERS.get(event_type)
        if meaning is None:
            return ParsedWebhook(webhook_id, event_type, ())
        fact = meaning(thing)
    return ParsedWebhook(webhook_id, event_type, (_dated(fact, event, thing, is_test),))


def _dated(fact: NormalisedEvent, event: Fields, thing: Fields, is_test: bool) -> NormalisedEvent:
    at = _instant(event.optional_text("created_at")) or _instant(thing.optional_text("created_at"))
    return replace(fact, occurred_at=at, is_test=is_test_of(thing, default=is_test))


def is_test_of(thing: Fields, *, default: bool) -> bool:
    """Whether an object is of test mode; one that does not say is of the mode of the key that made it."""
    is_live = thing.optional_flag("live_mode")
    return default if is_live is None else not is_live


def _intent(thing: Fields, outcome: Outcome, event_type: str, *, is_unified: bool) -> NormalisedEvent:
    if _paid_for(thing) is not None:
        return _subscription(thing, Outcome.RENEWAL_FAILED if outcome is Outcome.HINT else outcome, event_type)
    checkout = _part(thing, "checkout")
    payment = payment_of(thing)
    amount, currency = thing.optional_whole("amount_in_cents"), _currency(thing)
    is_known = payment is not None and amount is not None and currency is not None
    if is_unified and (payment is None or not _PAYMENT_ID.fullmatch(payment)):
        # The payload of the unified events is not documented: only an id that the older name has too is believed.
        is_known = False
    if outcome is Outcome.PAID and not is_known:
        log.warning("recurrente.payment_not_named", event_type=event_type)
        outcome = Outcome.HINT
    return NormalisedEvent(
        outcome=outcome,
        session_id=_ours(checkout, SESSION_KEY),
        attempt_reference=checkout.optional_text("id") if checkout else None,
        payment_reference=payment,
        business_key=f"recurrente:{payment}:{outcome}" if payment and outcome is not Outcome.HINT else None,
        amount_minor=amount if currency is not None else None,
        currency=currency if amount is not None else None,
        detail=thing.optional_text("failure_reason", longest=_LONGEST_VALUE) or event_type,
        attempt=_attempt(checkout),
    )


def payment_of(thing: Fields) -> str | None:
    """The payment's id, the same in both vocabularies: of its payment, else its own."""
    payment = _part(thing, "payment")
    return (payment.optional_text("id") if payment else None) or thing.optional_text("id")


def _part(thing: Fields, key: str) -> Fields | None:
    """An object inside another one, of which a sparing rendering may give the id alone. Raises InvalidPayload."""
    try:
        return thing.optional_fields(key)
    except InvalidPayload:
        reference = thing.optional_text(key)
        return Fields({"id": reference}) if reference else None


def _paid_for(thing: Fields) -> str | None:
    """The subscription that a payment was for; None for what is paid once."""
    payment = _part(thing, "payment")
    paid_for = payment.optional_fields("paymentable") if payment else None
    if paid_for is None or paid_for.optional_text("type") != _SUBSCRIPTION:
        return None
    return paid_for.optional_text("id")


def _subscription(thing: Fields, outcome: Outcome, event_type: str) -> NormalisedEvent:
    """A fact about a subscription: its payments, and what becomes of it. The samples spell its key in two ways.

    Its own events carry no metadata, so our session is found by its id, which its first payment told.
    """
    named = _part(thing, "subscription") or _part(thing, "suscription")
    own = thing.optional_text("id") or ""
    reference = own if own.startswith("su_") else (named.optional_text("id") if named else None) or _paid_for(thing)
    checkout, payment = _part(thing, "checkout"), payment_of(thing)
    amount, currency = thing.optional_whole("amount_in_cents"), _currency(thing)
    is_named = payment not in (None, reference) and (
        not event_type.startswith(f"{_UNIFIED}.") or _PAYMENT_ID.fullmatch(payment or "") is not None
    )
    is_known = is_named and amount is not None and currency is not None
    if reference is None or outcome is Outcome.PENDING or (outcome is Outcome.PAID and not is_known):
        outcome = Outcome.IGNORED
    is_paid = outcome is Outcome.PAID
    subject = payment if is_paid else reference
    return NormalisedEvent(
        outcome=outcome,
        session_id=_ours(checkout, SESSION_KEY),
        attempt_reference=checkout.optional_text("id") if checkout else None,
        payment_reference=payment if is_paid else None,
        business_key=None if outcome is Outcome.IGNORED else f"recurrente:{subject}:{outcome}",
        amount_minor=amount if is_paid else None,
        currency=currency if is_paid else None,
        detail=thing.optional_text("failure_reason", longest=_LONGEST_VALUE) or event_type,
        attempt=_attempt(checkout),
        subscription_reference=reference,
    )


def subscription_state(subscription: Fields, *, is_test: bool) -> FetchResult:
    """How a subscription stands. Its charges are not told: only events name them. Raises InvalidPayload."""
    status, reference = subscription.text("status"), subscription.text("id")
    outcome = _STATES.get(status)
    if outcome is None:
        if status != "active":
            log.warning("recurrente.unknown_status", status=status, subscription=reference)
        return FetchResult(Outcome.PENDING, None, status)
    fact = NormalisedEvent(
        outcome=outcome,
        business_key=f"recurrente:{reference}:{outcome}",
        is_test=is_test_of(subscription, default=is_test),
        detail=status,
        subscription_reference=reference,
    )
    # It may be late, or paused, more than once.
    period = subscription.optional_text("current_period_end") or ""
    return FetchResult(outcome, fact, f"{status} {period}".strip())


def _refund(thing: Fields) -> NormalisedEvent:
    """A payment is given back once and in full, so its refund goes by its payment's id: see `RecurrenteProvider`."""
    payment = thing.optional_reference("payment_intent_id") or thing.optional_reference("payment_intent")
    inner = _part(thing, "payment")
    payment = payment or (inner.optional_text("id") if inner else None)
    checkout = _part(thing, "checkout")
    status = thing.optional_text("status") or ""
    outcome = Outcome.REFUND_FAILED if status in _REFUND_FAILED else Outcome.REFUNDED
    amount = thing.optional_whole("customer_refunded_amount_in_cents")
    amount = thing.optional_whole("amount_in_cents") if amount is None else amount
    currency = _currency(thing)
    fact_name = "failed" if outcome is Outcome.REFUND_FAILED else "succeeded"
    return NormalisedEvent(
        outcome=outcome,
        session_id=_ours(checkout, SESSION_KEY),
        attempt_reference=checkout.optional_text("id") if checkout else None,
        payment_reference=payment,
        business_key=f"recurrente:{payment or thing.text('id')}:{fact_name}",
        amount_minor=amount if currency else None,
        currency=currency if amount is not None else None,
        detail=" ".join(filter(None, (thing.optional_text("id"), status))),
    )


def _dispute_opened(thing: Fields) -> NormalisedEvent:
    return _dispute(thing, Outcome.DISPUTED, "created", thing.optional_text("reason", longest=_LONGEST_VALUE))


def _dispute_changed(thing: Fields) -> NormalisedEvent:
    status = thing.optional_text("status") or ""
    if status.lower() in _DISPUTE_OPEN:
        return _dispute(thing, Outcome.IGNORED, "", f"dispute {status or 'without a status'}")
    return _dispute(thing, Outcome.DISPUTE_CLOSED, "closed", status)


def _dispute(thing: Fields, outcome: Outcome, fact_name: str, detail: str | None) -> NormalisedEvent:
    payment = thing.optional_reference("payment_intent_id") or thing.optional_reference("payment_intent")
    inner = _part(thing, "payment")
    checkout = _part(thing, "checkout")
    amount, currency = thing.optional_whole("amount_in_cents"), _currency(thing)
    return NormalisedEvent(
        outcome=outcome,
        session_id=_ours(checkout, SESSION_KEY),
        attempt_reference=checkout.optional_text("id") if checkout else None,
        payment_reference=payment or (inner.optional_text("id") if inner else None),
        business_key=f"recurrente:{thing.text('id')}:{fact_name}" if fact_name else None,
        amount_minor=amount if currency else None,
        currency=currency if amount is not None else None,
        detail=detail,
    )


_OTHERS: Mapping[str, Callable[[Fields], NormalisedEvent]] = {
    "refund.create": _refund,
    "dispute.create": _dispute_opened,
    "dispute.update": _dispute_changed,
}


def checkout_state(checkout: Fields, *, at: datetime, is_test: bool) -> FetchResult:
    """How a checkout stands. It says `unpaid` for ever, so the time at which it closes decides whether it has failed.

    Raises InvalidPayload.
    """
    status = checkout.text("status")
    if status == "paid":
        return FetchResult(Outcome.PAID, _checkout_fact(checkout, Outcome.PAID, is_test), status)
    if status == "payment_in_progress":
        return FetchResult(Outcome.PENDING, _checkout_fact(checkout, Outcome.PENDING, is_test), status)
    closes_at = _instant(_ours(checkout, CLOSES_KEY)) or _instant(checkout.optional_text("expires_at"))
    if status == "expired" or (status == "unpaid" and closes_at is not None and closes_at + GRACE <= at):
        return FetchResult(Outcome.FAILED, _checkout_fact(checkout, Outcome.FAILED, is_test), f"{status}, closed")
    if status != "unpaid":
        log.warning("recurrente.unknown_status", status=status, checkout=checkout.text("id"))
    return FetchResult(Outcome.PENDING, None, status)


def _checkout_fact(checkout: Fields, outcome: Outcome, is_test: bool) -> NormalisedEvent:
    reference = checkout.text("id")
    intent = _part(checkout, "latest_intent")
    payment = _part(checkout, "payment")
    named = (payment.optional_text("id") if payment else None) or (intent.optional_text("id") if intent else None)
    if outcome is Outcome.FAILED:
        named = None
    elif outcome is Outcome.PAID and named is None:
        raise InvalidPayload("a paid checkout names no payment")
    amount, currency = _amount_of(checkout, intent)
    return NormalisedEvent(
        outcome=outcome,
        session_id=_ours(checkout, SESSION_KEY),
        attempt_reference=reference,
        payment_reference=named,
        subscription_reference=_paid_for(checkout),
        business_key=f"recurrente:{named or reference}:{outcome}",
        amount_minor=amount,
        currency=currency,
        is_test=is_test_of(checkout, default=is_test),
        occurred_at=_instant(intent.optional_text("created_at")) if intent and outcome is Outcome.PAID else None,
        detail=checkout.optional_text("status"),
        attempt=_attempt(checkout),
    )


def _amount_of(checkout: Fields, intent: Fields | None) -> tuple[int | None, str | None]:
    """What was paid. A checkout without its payment's amount took exactly what we asked for: its prices are fixed."""
    if intent is not None:
        amount, currency = intent.optional_whole("amount_in_cents"), _currency(intent)
        if amount is not None and currency is not None:
            return amount, currency
    asked = _AMOUNT.fullmatch(_ours(checkout, AMOUNT_KEY) or "")
    return (int(asked[1]), asked[2]) if asked else (None, None)


def _ours(checkout: Fields | None, key: str) -> str | None:
    """One of the values that we put into the metadata of a checkout."""
    try:
        metadata = checkout.optional_fields("metadata") if checkout else None
        found = metadata.optional_text(key, longest=_LONGEST_VALUE) if metadata else None
    except InvalidPayload:
        return None  # Somebody else's checkout: ours have an object of texts.
    return found if found and (key != SESSION_KEY or len(found) <= _LONGEST_SESSION_ID) else None


def marks_of(checkout: Fields) -> tuple[str | None, str | None]:
    """Under which key a checkout was made, and for which amount, as we wrote it down there."""
    return _ours(checkout, IDEMPOTENCY_KEY), _ours(checkout, AMOUNT_KEY)


def _attempt(checkout: Fields | None) -> int | None:
    number = _ours(checkout, ATTEMPT_KEY)
    return int(number) if number and _ATTEMPT.fullmatch(number) else None


def _currency(thing: Fields) -> str | None:
    found = thing.optional_text("currency", longest=3)
    return found.upper() if found else None


def _instant(text: str | None) -> datetime | None:
    """An ISO 8601 instant; one without a zone is UTC, and what is none says nothing."""
    try:
        found = datetime.fromisoformat(text or "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
