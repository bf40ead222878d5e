"""Really signed Stripe webhooks, as the provider would post them."""

import itertools
import json
from datetime import datetime
from typing import Any

import stripe
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.core import clock
from portal.core.db import unit_of_work
from portal.core.money import Money
from portal.payments.models import PaymentSession
from portal.payments.services.sessions import create_session

SECRET = "whsec_test_secret"
_numbers = itertools.count(1)


def make_session(*, amount_minor: int = 4900, currency: str = "PLN", purpose: str = "test") -> PaymentSession:
    """A payment session of a purpose that the tests registered."""
    with unit_of_work():
        return create_session(
            purpose=purpose,
            subject_id=next(_numbers),
            amount=Money(amount_minor, currency),
            description="A test purchase",
            success_url="http://localhost/ok",
            cancel_url="http://localhost/cancel",
            customer_email="alice@example.com",
            customer_name="Alice Nowak",
            locale="en",
            at=clock.now(),
        )


def checkout_event(
    session: PaymentSession | str,
    *,
    event_type: str = "checkout.session.completed",
    event_id: str | None = None,
    payment: str | None = None,
    amount_minor: int | None = None,
    currency: str | None = None,
    payment_status: str = "paid",
    livemode: bool = False,
) -> dict[str, Any]:
    """The payload of a Checkout Session event (shape: providers.md 1.2)."""
    public_id = session if isinstance(session, str) else session.public_id
    amount = amount_minor if amount_minor is not None else getattr(session, "amount_minor", 4900)
    code = currency or getattr(session, "currency", "PLN")
    return {
        "id": event_id or f"evt_{next(_numbers)}",
        "object": "event",
        "type": event_type,
        "api_version": "2026-10-28.endive",
        "created": int(clock.now().timestamp()),
        "livemode": livemode,
        "data": {
            "object": {
                "id": f"cs_{public_id}",
                "object": "checkout.session",
                "mode": "payment",
                "status": "expired" if event_type.endswith("expired") else "complete",
                "payment_status": payment_status,
                "amount_total": amount,
                "currency": code.lower(),
                "payment_intent": payment or f"pi_{public_id}",
                "client_reference_id": public_id,
                "metadata": {"session_id": public_id},
            }
        },
    }


def intent_event(session: PaymentSession, *, event_type: str = "payment_intent.succeeded") -> dict[str, Any]:
    """The payload of a PaymentIntent event about the same money."""
    return {
        "id": f"evt_{next(_numbers)}",
        "object": "event",
        "type": event_type,
        "api_version": "2026-10-28.endive",
        "created": int(clock.now().timestamp()),
        "livemode": False,
        "data": {
            "object": {
                "id": f"pi_{session.public_id}",
                "object": "payment_intent",
                "status": event_type.rsplit(".", 1)[1],
                "amount": session.amount_minor,
                "amount_received": session.amount_minor,
                "currency": session.currency.lower(),
                "metadata": {"session_id": session.public_id},
            }
        },
    }


def signature(body: str, *, at: datetime | None = None, secret: str = SECRET) -> str:
    """The Stripe-Signature header for a body."""
    seconds = int((at or clock.now()).timestamp())
    return str(stripe.WebhookSignature.generate_signature_header(body, secret, seconds))


def post(
    browser: FlaskClient, event: dict[str, Any] | str, *, header: str | None = None, prefix: str = ""
) -> TestResponse:
    """Post an event to the webhook address, signed unless a header is given."""
    body = event if isinstance(event, str) else json.dumps(event)
    return browser.post(
        f"{prefix}/webhooks/stripe",
        data=body,
        content_type="application/json",
        headers={"Stripe-Signature": signature(body) if header is None else header},
    )


def post_from_new_context(app: Flask, event: dict[str, Any] | str) -> int:
    """Post from a thread of its own, as a provider's parallel delivery does."""
    return post(app.test_client(), event).status_code
