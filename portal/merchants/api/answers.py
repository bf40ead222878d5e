"""What programs are told, as JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from portal.core.money import Money
from portal.merchants import queries
from portal.merchants.models import Merchant
from portal.merchants.services import refunding
from portal.merchants.services.selling import pay_url
from portal.payments.models import PaymentSession
from portal.payments.refund_models import Refund, RefundStatus

# What programs need of a refund's state: asked for and being asked for are the same to them.
_REFUND_STATUSES = {RefundStatus.SUCCEEDED: "succeeded", RefundStatus.FAILED: "failed"}


def session_values(
    session: PaymentSession, merchant: Merchant, webhook_sources: Sequence[str], refunded_minor: int
) -> dict[str, Any]:
    """One payment session; `refunded_minor` is what has gone back of it."""
    details: Mapping[str, Any] = session.details
    return {
        "id": session.public_id,
        "object": "session",
        "merchant_id": merchant.public_id,
        "amount": format(Money(session.amount_minor, session.currency).to_decimal(), "f"),
        "amount_minor": session.amount_minor,
        "refunded_minor": refunded_minor,
        "currency": session.currency,
        "mode": session.mode,
        "status": session.status.value,
        "payment_status": session.payment_status,
        "description": session.description,
        "success_url": details.get("success_url") or None,
        "cancel_url": details.get("cancel_url") or None,
        "url": pay_url(session.public_id),
        "created_at": instant(session.created_at),
        "expires_at": instant(session.expires_at),
        "paid_at": instant(session.paid_at),
        "payment_provider": session.provider,
        "provider_reference": session.provider_reference,
        # The name that older integrations read the same value by.
        "stripe_intent_id": session.provider_reference,
        "metadata": {
            **details.get("metadata", {}),
            "customer_email": session.customer_email,
            "customer_name": session.customer_name,
            "webhook_sources": list(webhook_sources),
        },
    }


def sessions_values(sessions: Sequence[PaymentSession], merchant: Merchant) -> list[dict[str, Any]]:
    """Several payment sessions, with two more statements for all of them."""
    sources = queries.webhook_sources([session.public_id for session in sessions]) if sessions else {}
    refunded = refunding.refunded_minor([session.id for session in sessions]) if sessions else {}
    return [
        session_values(session, merchant, sources.get(session.public_id, ()), refunded.get(session.id, 0))
        for session in sessions
    ]


def refund_values(refund: Refund, session: PaymentSession) -> dict[str, Any]:
    """Money of a session that goes back. Why it failed is said in the provider's words, for a person."""
    return {
        "id": refund.public_id,
        "object": "refund",
        "session_id": session.public_id,
        "amount": format(refund.amount.to_decimal(), "f"),
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "status": _REFUND_STATUSES.get(refund.status, "pending"),
        "reason": refund.reason.value,
        "failure": refund.failure if refund.status is RefundStatus.FAILED else None,
        "created_at": instant(refund.requested_at),
        "succeeded_at": instant(refund.succeeded_at) if refund.status is RefundStatus.SUCCEEDED else None,
    }


def instant(at: datetime | None) -> str | None:
    """A time as programs read it: ISO 8601 in UTC, to the second."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def as_text(values: Mapping[str, Any]) -> str:
    """JSON as it goes over the wire, and as it is kept for whoever asks again."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")) + "\n"
