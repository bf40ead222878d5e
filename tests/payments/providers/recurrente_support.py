"""What the tests of Recurrente share: its adapter, the fake one, its samples, and short ways to use them."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from portal.payments.providers.base import NormalisedEvent, ParsedWebhook
from portal.payments.providers.recurrente import RecurrenteProvider
from tests.fakes.recurrente import PUBLIC_KEY, SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.fakes.standard_webhooks import headers

SIGNED_AT = datetime.fromtimestamp(1_700_000_000, UTC)
# The older collection's sample of a subscription's charge, with our metadata.
SAMPLE: dict[str, Any] = {
    "id": "pa_1",
    "event_type": "payment_intent.succeeded",
    "api_version": "2024-04-24",
    "created_at": "2026-11-21T09:00:00Z",
    "amount_in_cents": 9500,
    "currency": "USD",
    "failure_reason": None,
    "checkout": {
        "id": "ch_1",
        "status": "paid",
        "metadata": {"session_id": "ps_1", "attempt": "2"},
        "payment_method": {"id": "pay_m_1", "type": "card", "card": {"last4": "4242", "network": "visa"}},
    },
    "payment": {"id": "pa_1", "paymentable": {"type": "OneTimePayment", "id": "on_1"}},
    "customer": {"id": "us_1", "email": "a@example.com"},
    "invoice": {"id": "inv_1"},
}


def offline(*secrets: str, key: str = SECRET_KEY) -> RecurrenteProvider:
    """An adapter that nobody is meant to call."""
    return RecurrenteProvider(
        secret_key=key, webhook_secrets=secrets or (WEBHOOK_SECRET,), api_url="http://127.0.0.1:9"
    )


def parse(event: Mapping[str, Any] | bytes, *, webhook_id: str = "msg_1", key: str = SECRET_KEY) -> ParsedWebhook:
    """What the adapter makes of an event that was signed just now."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signed = headers([WEBHOOK_SECRET], webhook_id, body, at=1_700_000_000, prefix="svix")
    return offline(key=key).parse_webhook(signed, body, at=SIGNED_AT)


def only_fact(event: Mapping[str, Any], **changes: Any) -> NormalisedEvent:
    """The one fact of an event."""
    [fact] = parse(event, **changes).events
    return fact


@pytest.fixture
def fake_recurrente() -> Iterator[FakeRecurrente]:
    """A Recurrente of our own that sends nothing."""
    with FakeRecurrente() as fake:
        yield fake


@pytest.fixture
def recurrente_provider(fake_recurrente: FakeRecurrente) -> RecurrenteProvider:
    """Our adapter, talking to the fake."""
    return adapter(fake_recurrente)


def adapter(fake: FakeRecurrente, **changes: Any) -> RecurrenteProvider:
    """An adapter for a fake, impatient."""
    usual: dict[str, Any] = {
        "secret_key": fake.secret_key, "public_key": PUBLIC_KEY, "webhook_secrets": [fake.secret],
        "api_url": fake.api_url, "timeout": (1.0, 1.0),
    }  # fmt: skip
    return RecurrenteProvider(**{**usual, **changes})


class RecurrenteHarness:
    """Recurrente's adapter and the fake Recurrente."""

    def __init__(self, provider: RecurrenteProvider, fake: FakeRecurrente) -> None:
        self.provider = provider
        self.fake = fake

    def pay(self, reference: str) -> None:
        self.fake.world.pay(reference)

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        mine = [
            event for event in self.fake.events if json.loads(event["body"]).get("checkout", {}).get("id") == reference
        ]
        return [(self.sign(event["body"]), event["body"]) for event in mine]

    def renew(self, subscription: str) -> None:
        self.fake.world.renew(subscription)

    def fail_renewal(self, subscription: str) -> None:
        self.fake.world.fail_renewal(subscription)

    def all_webhooks(self) -> list[tuple[Mapping[str, str], bytes]]:
        return [(self.sign(event["body"]), event["body"]) for event in self.fake.events]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        told = {event["body"]: event["id"] for event in self.fake.events}
        at = int(time.time() - age.total_seconds())
        return headers([self.fake.secret], told.get(body, "msg_other"), body, at=at, prefix="svix")

    def foreign_body(self) -> bytes:
        return b'{"event_type":"product.update","id":"prod_1"}'

    @contextmanager
    def down(self) -> Iterator[None]:
        self.fake.faults.add("refused", times=100)
        yield
        self.fake.faults.clear()


@pytest.fixture
def recurrente_harness(recurrente_provider: RecurrenteProvider, fake_recurrente: FakeRecurrente) -> RecurrenteHarness:
    return RecurrenteHarness(recurrente_provider, fake_recurrente)
