"""What the tests of One.com share: its adapter, a shop of our own, and short ways to use them."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from portal.payments.providers.base import NormalisedEvent, ParsedWebhook
from portal.payments.providers.onecom import OneComProvider
from tests.fakes.onecom import WEBHOOK_SECRET, OneComShop
from tests.fakes.standard_webhooks import headers
from tests.payments.providers.harness import request

LINK = "https://shop.example/pay?ref={reference}&sum={amount}&cur={currency}&back={return_url}"
SIGNED_AT = datetime.fromtimestamp(1_700_000_000, UTC)
# The contract's own sample.
SAMPLE: dict[str, Any] = {
    "type": "payment.completed",
    "timestamp": "2026-11-21T09:00:00Z",
    "data": {"reference": "ps_1", "transaction_id": "oc_123", "amount": 4900, "currency": "DKK", "status": "completed"},
}


def offline(*secrets: str, requires_amount: bool = True) -> OneComProvider:
    """An adapter; it never calls anybody."""
    return OneComProvider(
        checkout_url=LINK, webhook_secrets=secrets or (WEBHOOK_SECRET,), requires_amount=requires_amount
    )


def parse(event: Mapping[str, Any] | bytes, *, requires_amount: bool = True) -> ParsedWebhook:
    """What the adapter makes of a message that was signed just now."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signed = headers([WEBHOOK_SECRET], "evt_1", body, at=1_700_000_000)
    return offline(requires_amount=requires_amount).parse_webhook(signed, body, at=SIGNED_AT)


def only_fact(event: Mapping[str, Any], **changes: Any) -> NormalisedEvent:
    """The one fact of a message."""
    [fact] = parse(event, **changes).events
    return fact


def sample(event_type: str = "payment.completed", **data: Any) -> dict[str, Any]:
    """The sample with other values; None leaves one out."""
    values = {key: value for key, value in {**SAMPLE["data"], **data}.items() if value is not None}
    return {**SAMPLE, "type": event_type, "data": values}


class OneComHarness:
    """One.com's adapter and a shop of our own that sends nothing."""

    def __init__(self, shop: OneComShop) -> None:
        self.shop = shop
        self.provider = OneComProvider(checkout_url=shop.link, webhook_secrets=[shop.secret], requires_amount=True)

    def pay(self, reference: str) -> None:
        session_id, _, attempt = reference.rpartition(":")
        page = self.provider.start(request(session_id=session_id, attempt=int(attempt))).redirect_url
        asked = {key: values[0] for key, values in parse_qs(urlsplit(page).query).items()}
        self.shop.pay(asked["reference"], int(asked["amount"]), asked["currency"])

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        return [(self.sign(event["body"]), event["body"]) for event in self.shop.events]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        told = {event["body"]: event["id"] for event in self.shop.events}
        at = int(time.time() - age.total_seconds())
        return headers([self.shop.secret], told.get(body, "evt_other"), body, at=at)

    def foreign_body(self) -> bytes:
        return b'{"type":"stock.changed","data":{}}'

    @contextmanager
    def down(self) -> Iterator[None]:
        """Nobody is called, so nothing changes."""
        yield


@pytest.fixture
def onecom_harness() -> Iterator[OneComHarness]:
    with OneComShop() as shop:
        yield OneComHarness(shop)
