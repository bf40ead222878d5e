"""What the tests of PayU share: the harness, golden bodies, and short ways to use the adapter and the fake."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from portal.core import clock
from portal.payments.providers.base import ParsedWebhook
from portal.payments.providers.payu import PayUProvider
from tests.fakes.payu import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU, sign
from tests.payments.providers.harness import SESSION_ID, request

PORTAL_URL = "https://portal.example"


def provider(fake: FakePayU | None = None, **changes: Any) -> PayUProvider:
    """Our adapter with the account of PayU's public sandbox, talking to the fake or to nobody."""
    usual: dict[str, Any] = {
        "pos_id": POS_ID,
        "client_id": POS_ID,
        "client_secret": CLIENT_SECRET,
        "webhook_secrets": [SECOND_KEY],
        "portal_url": PORTAL_URL,
        "api_url": fake.url if fake else "http://127.0.0.1:9",
        "timeout": (1.0, 1.0),
    }
    return PayUProvider(**{**usual, **changes})


class PayUHarness:
    """PayU's adapter and the fake PayU."""

    def __init__(self, provider: PayUProvider, fake: FakePayU) -> None:
        self.provider = provider
        self.fake = fake

    def pay(self, reference: str) -> None:
        self.fake.control.pay(reference)

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        told = [one.body for one in self.fake.webhooks.sent if one.key.startswith(f"{reference}:")]
        return [(self.sign(body), body) for body in told]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        return {"OpenPayu-Signature": sign(body, SECOND_KEY)}

    def foreign_body(self) -> bytes:
        return b'{"payout":{"payoutId":"3242","status":"REALIZED"}}'

    @contextmanager
    def down(self) -> Iterator[None]:
        self.fake.control.add_fault("refused", times=100)
        yield
        self.fake.control.clear_faults()


def parse(body: bytes | dict[str, Any], header: str | None = None, *secrets: str) -> ParsedWebhook:
    """What our adapter reads in a body that was signed with the right key, unless a header is given."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"OpenPayu-Signature": sign(raw, SECOND_KEY) if header is None else header}
    return provider(webhook_secrets=secrets or [SECOND_KEY]).parse_webhook(headers, raw, at=clock.now())


def started(provider: PayUProvider, **changes: Any) -> str:
    """An order at PayU, and its id."""
    return provider.start(request(**changes)).reference


def paid(provider: PayUProvider, fake: FakePayU, **changes: Any) -> str:
    """A paid order's id, which is what a refund refers to."""
    reference = started(provider, **changes)
    fake.control.pay(reference)
    return reference


def order(**changes: Any) -> dict[str, Any]:
    """A notification about an order."""
    usual = {
        "orderId": "WZHF5FFDRJ140731GUEST000P01",
        "extOrderId": SESSION_ID,
        "merchantPosId": POS_ID,
        "currencyCode": "PLN",
        "totalAmount": "4900",
        "payMethod": {"type": "PBL"},
        "status": "COMPLETED",
    }
    return {
        "order": {name: value for name, value in {**usual, **changes}.items() if value is not None},
        "localReceiptDateTime": "2026-11-21T10:00:00.000+01:00",
        "properties": [{"name": "PAYMENT_ID", "value": "900000001"}],
    }


def refund(**changes: Any) -> dict[str, Any]:
    """A notification about a refund."""
    usual = {
        "refundId": "5000000142",
        "amount": "1500",
        "currencyCode": "PLN",
        "status": "FINALIZED",
        "statusDateTime": "2026-11-21T12:00:00.000+01:00",
        "reason": "refund",
        "reasonDescription": "Changed their mind",
        "refundDate": "2026-11-21T11:00:00.000+01:00",
    }
    return {
        "orderId": "WZHF5FFDRJ140731GUEST000P01",
        "extOrderId": SESSION_ID,
        "refund": {name: value for name, value in {**usual, **changes}.items() if value is not None},
    }


class Log:
    """Takes down what a module logs, however logging is set up."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))

    warning = error = info
