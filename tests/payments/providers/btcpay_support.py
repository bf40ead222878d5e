"""BTCPay's adapter and the fake server, as the contract's tests need them."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from portal.payments.providers.btcpay import BTCPayProvider
from tests.fakes.btcpay import FakeBTCPay, sign


def provider_for(fake: FakeBTCPay, **changes: Any) -> BTCPayProvider:
    """Our adapter, talking to the fake."""
    usual: dict[str, Any] = {
        "url": fake.url,
        "api_key": fake.api_key,
        "store_id": fake.store_id,
        "webhook_secrets": [fake.secret],
        "timeout": (1.0, 1.0),
    }
    return BTCPayProvider(**{**usual, **changes})


def event(kind: str, **fields: Any) -> bytes:
    """A webhook's body."""
    usual = {
        "deliveryId": "d-1",
        "webhookId": "w-1",
        "originalDeliveryId": "d-1",
        "isRedelivery": False,
        "type": kind,
        "timestamp": 1_795_224_000,
        "storeId": FakeBTCPay().store_id,
        "invoiceId": "inv_1",
        "metadata": {"orderId": "ps_1-1", "sessionId": "ps_1", "attempt": "1"},
    }
    return json.dumps({**usual, **fields}).encode()


class BTCPayHarness:
    """BTCPay's adapter and the fake BTCPay Server."""

    def __init__(self, fake: FakeBTCPay) -> None:
        self.fake = fake
        self.provider = provider_for(fake)

    def pay(self, reference: str) -> None:
        self.fake.world.pay(reference)

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        bodies = [json.dumps(one).encode() for one in self.fake.webhooks.events if one.get("invoiceId") == reference]
        return [(self.sign(body), body) for body in bodies]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:  # no time is signed
        return {"BTCPay-Sig": sign(body, self.fake.secret)}

    def foreign_body(self) -> bytes:
        return event("PaymentRequestCreated")

    @contextmanager
    def down(self) -> Iterator[None]:
        self.fake.faults.add("refused", times=100)
        yield
        self.fake.faults.clear()
