"""A purpose of the tests' own, so that the money core is tested without anything that is sold."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import pytest
from flask import Flask

from portal import payments
from portal.payments import BillLine, BillOfSale, hooks
from portal.payments.models import PaymentSession
from portal.payments.providers.registry import Registry
from tests.fakes.payu import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU
from tests.fakes.stripe import FakeStripe
from tests.payments import serving


class Sold:
    """What the registered hooks were told."""

    def __init__(self) -> None:
        self.settled: list[int] = []
        self.failed: list[int] = []
        self.trouble: Exception | None = None

    def on_settled(self, session: PaymentSession, *, at: datetime) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.settled.append(session.id)

    def on_failed(self, session: PaymentSession, *, at: datetime) -> None:
        self.failed.append(session.id)

    def describe(self, session: PaymentSession) -> BillOfSale:
        line = BillLine("A test purchase", 1, session.amount_minor, 2300)
        return BillOfSale(f"T-{session.id}", None, {"name": session.customer_name}, (line,))


@pytest.fixture(autouse=True)
def sold() -> Iterator[Sold]:
    """The purpose `test`, registered for one test."""
    witness = Sold()
    payments.on_settled("test", witness.on_settled)
    payments.on_failed("test", witness.on_failed)
    payments.describes("test", witness.describe)
    yield witness
    for registered in (hooks._settled, hooks._failed, hooks._describes):
        registered.pop("test", None)  # type: ignore[attr-defined]  # three dictionaries of different hooks


@pytest.fixture
def fake_stripe(app: Flask) -> Iterator[FakeStripe]:
    """A Stripe of our own that the application calls; its webhooks go nowhere unless a test serves them."""
    with FakeStripe(webhook_url="") as fake:
        settings = replace(
            app.config["SETTINGS"], stripe_api_base=fake.url, stripe_secret_key=fake.api_key, sandbox_enabled=False
        )
        before = app.extensions["payment_registry"]
        app.extensions["payment_registry"] = Registry(settings)
        yield fake
        app.extensions["payment_registry"] = before


@pytest.fixture
def served(app: Flask) -> Iterator[str]:
    """The application behind a real socket, for whoever has to post to it; its address."""
    with serving.served(app) as address:
        yield address


@pytest.fixture
def payu_company(app: Flask, served: str) -> Iterator[FakePayU]:
    """A PayU of our own that the application calls, and that notifies the application over HTTP."""
    with FakePayU() as fake:
        settings = replace(
            app.config["SETTINGS"],
            portal_url=served,
            payu_api_url=fake.url,
            payu_merchant_id=POS_ID,
            payu_secret_key=CLIENT_SECRET,
            payu_webhook_secret=SECOND_KEY,
            stripe_secret_key="",
            sandbox_enabled=False,
        )
        before = app.extensions["payment_registry"]
        app.extensions["payment_registry"] = Registry(settings)
        yield fake
        app.extensions["payment_registry"] = before
