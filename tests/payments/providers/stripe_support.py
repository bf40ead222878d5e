"""What the tests of Stripe share: its objects, its signatures, and short ways to use the adapter and the fake."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from portal.payments.providers.base import ParsedWebhook
from portal.payments.providers.stripe import StripeProvider
from tests.fakes.stripe import FakeStripe
from tests.payments.providers.harness import request

SECRET = "whsec_test_secret"
SIGNED_AT = datetime.fromtimestamp(1_700_000_000, UTC)


def provider(*secrets: str) -> StripeProvider:
    return StripeProvider(api_key="sk_test_1", webhook_secrets=secrets or (SECRET,))


def mark(body: bytes, secret: str = SECRET, time: str = "1700000000") -> str:
    return hmac.new(secret.encode(), time.encode() + b"." + body, hashlib.sha256).hexdigest()


def parse(body: bytes, header: str, *, at: datetime = SIGNED_AT, secrets: tuple[str, ...] = (SECRET,)) -> ParsedWebhook:
    return provider(*secrets).parse_webhook({"Stripe-Signature": header}, body, at=at)


def sent(fake: FakeStripe) -> dict[str, str]:
    """The parameters of the last call, as they went over the wire."""
    return dict(parse_qsl(fake.calls[-1].body, keep_blank_values=True))


def started(provider: StripeProvider, **changes: Any) -> str:
    return provider.start(request(**changes)).reference


def paid(provider: StripeProvider, fake: FakeStripe, **changes: Any) -> str:
    reference = started(provider, **changes)
    fake.control.pay(reference)
    event = provider.fetch(reference).event
    assert event is not None
    assert event.payment_reference
    return event.payment_reference


SESSION = {
    "id": "cs_1",
    "object": "checkout.session",
    "mode": "payment",
    "status": "complete",
    "payment_status": "paid",
    "amount_total": 4900,
    "currency": "usd",
    "payment_intent": "pi_1",
    "client_reference_id": "ps_1",
    "metadata": {"session_id": "ps_1"},
}
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 4900,
    "amount_received": 4900,
    "currency": "usd",
    "status": "succeeded",
    "metadata": {"session_id": "ps_1"},
}
REFUND = {
    "id": "re_1",
    "object": "refund",
    "amount": 1500,
    "currency": "usd",
    "payment_intent": "pi_1",
    "status": "succeeded",
    "metadata": {},
}
DISPUTE = {
    "id": "dp_1",
    "object": "dispute",
    "amount": 4900,
    "currency": "usd",
    "payment_intent": "pi_1",
    "reason": "fraudulent",
    "status": "needs_response",
}


def event(kind: str, thing: dict[str, Any], **changes: Any) -> bytes:
    body = {
        "id": "evt_1",
        "object": "event",
        "type": kind,
        "api_version": "2026-10-28.endive",
        "created": 1_795_224_000,
        "livemode": False,
        "data": {"object": thing},
    }
    return json.dumps({**body, **changes}).encode()


INVOICE = {
    "id": "in_1",
    "object": "invoice",
    "status": "paid",
    "billing_reason": "subscription_cycle",
    "amount_due": 9500,
    "amount_paid": 9500,
    "attempt_count": 1,
    "currency": "usd",
    "parent": {
        "type": "subscription_details",
        "subscription_details": {"subscription": "sub_1", "metadata": {"session_id": "ps_1", "attempt": "1"}},
    },
}
