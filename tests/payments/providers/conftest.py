"""One fixture a provider; `harness` runs a test against each of them."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask import Flask
from sqlalchemy.exc import OperationalError

from portal.core import clock
from portal.core.db import unit_of_work
from portal.core.faults import arm
from portal.payments.providers import payu as payu_module
from portal.payments.providers import payu_api, payu_events
from portal.payments.providers.base import Provider
from portal.payments.providers.payu import PayUProvider
from portal.payments.providers.sandbox import books
from portal.payments.providers.stripe import StripeProvider
from tests import sandbox
from tests.conftest import emptied
from tests.fakes.btcpay import FakeBTCPay
from tests.fakes.chain import Chain, FakeNode
from tests.fakes.payu import FakePayU
from tests.fakes.serving import serving
from tests.fakes.stripe import FakeStripe, sign
from tests.payments.providers import payu_support
from tests.payments.providers.btcpay_support import BTCPayHarness
from tests.payments.providers.chain_support import ChainHarness
from tests.payments.providers.harness import (
    CANNOT_BE_ASKED,
    CANNOT_EXPIRE,
    ONLY_A_LINK,
    PROVIDERS,
    RECURRING,
    REFUNDING,
    UNTIMED,
    WHOLE_REFUNDS_ONLY,
    Harness,
    RecurringHarness,
)
from tests.payments.providers.onecom_support import onecom_harness
from tests.payments.providers.recurrente_support import fake_recurrente, recurrente_harness, recurrente_provider
from tests.servers.redis import RedisServer

__all__ = ["fake_recurrente", "onecom_harness", "recurrente_harness", "recurrente_provider"]


@pytest.fixture
def fake() -> Iterator[FakeStripe]:
    """A Stripe of our own whose webhooks nobody answers."""
    with FakeStripe() as running:
        running.control.set_webhooks(lose=True)
        yield running


@pytest.fixture
def stripe_provider(fake: FakeStripe) -> StripeProvider:
    """Our adapter, talking to the fake."""
    return StripeProvider(
        api_key=fake.api_key, webhook_secrets=[fake.secret], api_base=fake.url, timeout=(1.0, 1.0), retries=0
    )


class StripeHarness:
    """Stripe's adapter and the fake Stripe."""

    def __init__(self, provider: StripeProvider, fake: FakeStripe) -> None:
        self.provider = provider
        self.fake = fake

    def pay(self, reference: str) -> None:
        self.fake.control.pay(reference)

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        session = self.fake.world.get("checkout.session", reference)
        mine = {reference, session["payment_intent"]}
        bodies = [
            json.dumps(event).encode()
            for event in reversed(self.fake.world.all("event"))
            if mine & {event["data"]["object"]["id"], event["data"]["object"].get("payment_intent")}
        ]
        return [(self.sign(body), body) for body in bodies]

    def renew(self, subscription: str) -> None:
        self.fake.control.renew(subscription)

    def fail_renewal(self, subscription: str) -> None:
        self.fake.control.fail_renewal(subscription)

    def all_webhooks(self) -> list[tuple[Mapping[str, str], bytes]]:
        bodies = [json.dumps(event).encode() for event in reversed(self.fake.world.all("event"))]
        return [(self.sign(body), body) for body in bodies]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        at = int(time.time() - age.total_seconds())
        return {"Stripe-Signature": sign(body, [self.fake.secret], at=at)}

    def foreign_body(self) -> bytes:
        event = {"id": "evt_1", "object": "event", "type": "account.updated", "created": 1, "livemode": False}
        return json.dumps({**event, "data": {"object": {"id": "acct_1"}}}).encode()

    @contextmanager
    def down(self) -> Iterator[None]:
        self.fake.control.add_fault("refused", times=100)
        yield
        self.fake.control.clear_faults()


@pytest.fixture
def stripe_harness(stripe_provider: StripeProvider, fake: FakeStripe) -> StripeHarness:
    return StripeHarness(stripe_provider, fake)


@pytest.fixture
def fake_payu() -> Iterator[FakePayU]:
    """A PayU of our own whose notifications go nowhere."""
    with FakePayU(webhook_url="") as running:
        yield running


@pytest.fixture
def payu(fake_payu: FakePayU) -> PayUProvider:
    """Our adapter, talking to the fake."""
    return payu_support.provider(fake_payu)


@pytest.fixture
def payu_log(monkeypatch: pytest.MonkeyPatch) -> payu_support.Log:
    """All that PayU's adapter logs."""
    log = payu_support.Log()
    for module in (payu_module, payu_api, payu_events):
        monkeypatch.setattr(module, "log", log)
    return log


@pytest.fixture
def payu_harness(payu: PayUProvider, fake_payu: FakePayU) -> payu_support.PayUHarness:
    return payu_support.PayUHarness(payu, fake_payu)


@pytest.fixture
def sandbox_harness(on_sqlite: Flask, redis_server: RedisServer) -> Iterator["SandboxHarness"]:
    """The sandbox, in the application: the contract is held once, whatever the database."""
    with emptied(on_sqlite, redis_server):
        yield SandboxHarness(on_sqlite)


class SandboxHarness:
    """The sandbox's adapter and its books."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.provider: Provider = app.extensions["payment_registry"].get("sandbox")

    def pay(self, reference: str) -> None:
        with unit_of_work():
            books.pay(reference, method="card", at=clock.now())

    def webhooks(self, reference: str) -> list[tuple[Mapping[str, str], bytes]]:
        told = books.events_of(books.get_page(reference))
        return [(self.sign(event.body.encode()), event.body.encode()) for event in told]

    def renew(self, subscription: str) -> None:
        with unit_of_work():
            books.renew(books.page_of_subscription(subscription), at=clock.now())

    def fail_renewal(self, subscription: str) -> None:
        with unit_of_work():
            books.fail_renewal(books.page_of_subscription(subscription), at=clock.now())

    def all_webhooks(self) -> list[tuple[Mapping[str, str], bytes]]:
        bodies = [event.body.encode() for event in sandbox.events(self.app)]
        return [(self.sign(body), body) for body in bodies]

    def sign(self, body: bytes, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        told = {event.body.encode(): event.webhook_id for event in sandbox.events(self.app)}
        return sandbox.signed(self.app, body, webhook_id=told.get(body, "evt_other"), at=clock.now() - age)

    def foreign_body(self) -> bytes:
        return b'{"type":"account.updated","created":1,"data":{}}'

    @contextmanager
    def down(self) -> Iterator[None]:
        def lose_the_books() -> None:
            raise OperationalError("SELECT", {}, OSError("the database is away"))

        with arm("sandbox-call", lose_the_books):
            yield


@pytest.fixture
def btcpay_harness() -> Iterator[BTCPayHarness]:
    with FakeBTCPay() as running:
        yield BTCPayHarness(running)


@pytest.fixture
def web3_harness(on_sqlite: Flask, redis_server: RedisServer) -> Iterator[ChainHarness]:
    """Payments on a chain, with their book in the application."""
    chain, before = Chain(), on_sqlite.extensions["payment_registry"]
    with emptied(on_sqlite, redis_server), FakeNode(chain) as node:
        yield ChainHarness(on_sqlite, node, chain.deploy())
        on_sqlite.extensions["payment_registry"] = before


@pytest.fixture(params=PROVIDERS)
def harness(request: pytest.FixtureRequest) -> Harness:
    """Each provider in turn."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=REFUNDING)
def refunding(request: pytest.FixtureRequest) -> Harness:
    """Each provider that can refund."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=[name for name in PROVIDERS if name not in REFUNDING])
def unrefunding(request: pytest.FixtureRequest) -> Harness:
    """Each provider whose money is given back by hand."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=[name for name in PROVIDERS if name not in UNTIMED])
def timed(request: pytest.FixtureRequest) -> Harness:
    """Each provider whose signatures carry the time they were made."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=[name for name in REFUNDING if name not in WHOLE_REFUNDS_ONLY])
def splitting(request: pytest.FixtureRequest) -> Harness:
    """Each provider that can give a part of a payment back."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=RECURRING)
def charging(request: pytest.FixtureRequest) -> RecurringHarness:
    """Each provider that charges again by itself."""
    found: RecurringHarness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=[name for name in PROVIDERS if name not in CANNOT_BE_ASKED])
def asking(request: pytest.FixtureRequest) -> Harness:
    """Each provider that can be asked."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=[name for name in PROVIDERS if name not in CANNOT_EXPIRE])
def closing(request: pytest.FixtureRequest) -> Harness:
    """Each provider that can close a page."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=CANNOT_EXPIRE)
def never_closing(request: pytest.FixtureRequest) -> Harness:
    """Each provider that cannot."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=[name for name in PROVIDERS if name not in ONLY_A_LINK])
def opening(request: pytest.FixtureRequest) -> Harness:
    """Each provider that opens something at its end, and remembers it."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture(params=UNTIMED)
def untimed(request: pytest.FixtureRequest) -> Harness:
    """Each provider that signs no time."""
    found: Harness = request.getfixturevalue(f"{request.param}_harness")
    return found


@pytest.fixture
def raw_server() -> Iterator[Callable[[int, bytes], str]]:
    """Starts a server that gives one answer to everything; returns its address."""

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # The base class's name.
                """Stay quiet."""

        return servers.enter_context(serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)))

    with ExitStack() as servers:
        yield start
