"""What the sandbox company tells: how its events are written, and what they mean for the portal."""

import json
from datetime import UTC, datetime
from typing import Any

from portal.core.money import Money
from portal.payments.providers.base import InvalidPayload, NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.sandbox.models import SandboxCharge, SandboxPayment, SandboxRefund

PENDING = "payment.pending"
PAID = "payment.paid"
DECLINED = "payment.declined"
FAILED = "payment.failed"
REFUNDED = "payment.refunded"
RENEWAL_FAILED = "subscription.payment_failed"
ENDED = "subscription.ended"

# A decline is one try on a page that stays open, so nothing has failed yet.
_MEANINGS = {
    PENDING: Outcome.PENDING,
    PAID: Outcome.PAID,
    DECLINED: Outcome.IGNORED,
    FAILED: Outcome.FAILED,
    REFUNDED: Outcome.REFUNDED,
    RENEWAL_FAILED: Outcome.RENEWAL_FAILED,
    ENDED: Outcome.SUBSCRIPTION_ENDED,
}


def write_event(event_type: str, data: dict[str, Any], *, at: datetime) -> str:
    """The body of an event; every delivery of it has the same bytes."""
    return json.dumps({"type": event_type, "created": int(at.timestamp()), "data": data}, separators=(",", ":"))


def page_data(page: SandboxPayment, *, detail: str | None = None) -> dict[str, Any]:
    """What every event about a page says."""
    data = {
        "page": page.reference,
        "session_id": page.session_public_id,
        "amount": page.amount_minor,
        "currency": page.currency,
        "test": True,
    }
    if page.repeat_months and (page.charges or page.ended_at):
        data["subscription"] = page.subscription_reference
    return {**data, "detail": detail} if detail else data


def charge_data(page: SandboxPayment, charge: SandboxCharge) -> dict[str, Any]:
    """What an event about money says."""
    return {**page_data(page, detail=charge.method), "payment": charge.reference, "amount": charge.amount_minor}


def refund_data(page: SandboxPayment, charge: SandboxCharge, refund: SandboxRefund) -> dict[str, Any]:
    """What an event about money given back says."""
    return {
        **page_data(page, detail=refund.reason),
        "payment": charge.reference,
        "refund": refund.reference,
        "refund_key": refund.idempotency_key,
        "amount": refund.amount_minor,
    }


def read_event(webhook_id: str, body: bytes) -> ParsedWebhook:
    """Say what a verified event means. Raises InvalidPayload."""
    event = Fields(parse_object(body))
    event_type = event.text("type", longest=64)
    outcome = _MEANINGS.get(event_type)
    if outcome is None:
        return ParsedWebhook(webhook_id, event_type, ())
    return ParsedWebhook(webhook_id, event_type, (_fact(outcome, event),))


def _fact(outcome: Outcome, event: Fields) -> NormalisedEvent:
    data = event.fields("data")
    page = data.text("page", longest=64)
    payment, refund = data.optional_text("payment", longest=64), data.optional_text("refund", longest=64)
    subscription = data.optional_text("subscription", longest=64)
    subject = {
        Outcome.PAID: payment,
        Outcome.REFUNDED: refund,
        Outcome.RENEWAL_FAILED: subscription,
        Outcome.SUBSCRIPTION_ENDED: subscription,
    }.get(outcome, page)
    if subject is None:
        raise InvalidPayload("data.payment, data.refund or data.subscription is missing")
    amount = _amount(data)
    return NormalisedEvent(
        outcome=outcome,
        session_id=data.text("session_id", longest=64),
        attempt_reference=page,
        payment_reference=payment,
        business_key=None if outcome is Outcome.IGNORED else business_key(subject, outcome),
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        is_test=data.optional_flag("test"),
        occurred_at=event.optional_time("created"),
        detail=data.optional_text("detail"),
        subject_reference=refund,
        refund_key=data.optional_text("refund_key"),
        due_at=data.optional_time("next_try"),
        subscription_reference=subscription,
    )


def _amount(data: Fields) -> Money:
    try:
        return Money(data.whole("amount"), data.text("currency", longest=3))
    except ValueError:
        raise InvalidPayload("data.currency is not a currency") from None


def business_key(reference: str, outcome: Outcome) -> str:
    """The name of a fact, the same whether it is told or asked for."""
    return f"sandbox:{reference}:{outcome}"


def charge_fact(page: SandboxPayment, charge: SandboxCharge) -> NormalisedEvent:
    """The fact that money was taken, as the webhook tells it."""
    return NormalisedEvent(
        outcome=Outcome.PAID,
        session_id=page.session_public_id,
        attempt_reference=page.reference,
        payment_reference=charge.reference,
        business_key=business_key(charge.reference, Outcome.PAID),
        amount_minor=charge.amount_minor,
        currency=page.currency,
        is_test=True,
        occurred_at=charge.charged_at.replace(microsecond=0).astimezone(UTC),
        detail=charge.method,
        subscription_reference=page.subscription_reference,
    )


def ended_fact(page: SandboxPayment) -> NormalisedEvent:
    """The fact that a subscription is charged no more, as the webhook tells it."""
    reference = page.subscription_reference or page.reference
    return NormalisedEvent(
        outcome=Outcome.SUBSCRIPTION_ENDED,
        session_id=page.session_public_id,
        attempt_reference=page.reference,
        business_key=business_key(reference, Outcome.SUBSCRIPTION_ENDED),
        amount_minor=page.amount_minor,
        currency=page.currency,
        is_test=True,
        occurred_at=page.ended_at.replace(microsecond=0).astimezone(UTC) if page.ended_at else None,
        subscription_reference=reference,
    )


def closed_fact(page: SandboxPayment, detail: str) -> NormalisedEvent:
    """The fact that a page can no longer be paid, as the webhook tells it."""
    return NormalisedEvent(
        outcome=Outcome.FAILED,
        session_id=page.session_public_id,
        attempt_reference=page.reference,
        business_key=business_key(page.reference, Outcome.FAILED),
        amount_minor=page.amount_minor,
        currency=page.currency,
        is_test=True,
        detail=detail,
    )
