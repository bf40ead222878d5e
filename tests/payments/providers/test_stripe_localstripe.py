"""Our adapter against localstripe, an imitation of Stripe by other people: a second opinion beside our own fake.

It knows payment intents, refunds and signed webhooks, but no Checkout Sessions, and it never refuses a refund that is
too large. It is under the GPL, so it runs as a process of its own.
"""

import os
import queue
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import stripe as sdk

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import InvalidSignature, Outcome, ProviderRejected, RefundRequest
from portal.payments.providers.stripe import StripeProvider
from tests.fakes.serving import serving

pytestmark = pytest.mark.xdist_group("localstripe")

SECRET = "whsec_localstripe"
READY_SECONDS = 20.0
Received = tuple[dict[str, str], bytes]


@pytest.fixture(scope="module")
def localstripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running localstripe."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("localstripe")
    program = Path(sys.executable).parent / "localstripe"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--port", str(port), "--from-scratch"],
            stdout=log,
            stderr=log,
            cwd=folder,
            # It keeps its state in the temporary folder.
            env={**os.environ, "TMPDIR": str(folder)},
        )
    address = f"http://localhost:{port}"
    try:
        _wait_until_ready(process, address, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{address}/js.stripe.com/v3/", timeout=2).close()
        except urllib.error.HTTPError as answer:
            answer.close()  # It answers, and that is enough.
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
            continue
        return


@pytest.fixture
def received(localstripe: str) -> Iterator["queue.Queue[Received]"]:
    """The payment_intent.succeeded webhooks that localstripe sends."""
    deliveries: queue.Queue[Received] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            deliveries.put((dict(self.headers.items()), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
            """Stay quiet."""

    with serving(HTTPServer(("127.0.0.1", 0), Handler)) as address:
        form = {
            "url": f"{address}/",
            "secret": SECRET,
            "events[]": "payment_intent.succeeded",
        }
        urllib.request.urlopen(f"{localstripe}/_config/webhooks/portal", urlencode(form).encode(), timeout=5).close()
        yield deliveries


@pytest.fixture
def provider(localstripe: str) -> StripeProvider:
    return StripeProvider(api_key="sk_test_local", webhook_secrets=[SECRET], api_base=localstripe)


def pay(address: str, **changes: Any) -> str:
    """A payment intent as our checkout would make one, confirmed at once."""
    client = sdk.StripeClient("sk_test_local", base_addresses={"api": address})
    params: Any = {
        "amount": 4900,
        "currency": "pln",
        "confirm": True,
        "payment_method": "pm_card_visa",
        "metadata": {"session_id": "ps_1"},
        **changes,
    }
    return client.v1.payment_intents.create(params).id


def test_its_webhook_is_believed_and_read(
    localstripe: str, provider: StripeProvider, received: "queue.Queue[Received]"
) -> None:
    payment = pay(localstripe)
    headers, body = received.get(timeout=15)
    parsed = provider.parse_webhook(headers, body, at=clock.now())
    (fact,) = parsed.events
    assert parsed.event_type == "payment_intent.succeeded"
    assert (fact.outcome, fact.business_key) == (Outcome.PAID, f"stripe:{payment}:paid")
    assert (fact.session_id, fact.amount_minor, fact.currency, fact.is_test) == ("ps_1", 4900, "PLN", True)
    with pytest.raises(InvalidSignature):
        provider.parse_webhook(headers, body + b" ", at=clock.now())


def test_its_payment_is_found_with_the_webhooks_business_key(localstripe: str, provider: StripeProvider) -> None:
    payment = pay(localstripe)
    found = provider.fetch(payment)
    assert found.outcome is Outcome.PAID
    assert found.event is not None
    assert found.event.business_key == f"stripe:{payment}:paid"


def test_an_unpaid_payment_is_pending(localstripe: str, provider: StripeProvider) -> None:
    payment = pay(localstripe, confirm=False)
    assert provider.fetch(payment).outcome is Outcome.PENDING


def test_it_refunds_in_parts(localstripe: str, provider: StripeProvider) -> None:
    payment = pay(localstripe)
    first = provider.refund(RefundRequest(payment, Money(1000, "PLN"), "refund:1", "Wrong size"))
    second = provider.refund(RefundRequest(payment, Money(3900, "PLN"), "refund:2", ""))
    client = sdk.StripeClient("sk_test_local", base_addresses={"api": localstripe})
    amounts = {refund.id: refund.amount for refund in client.v1.refunds.list({"payment_intent": payment}).data}
    assert amounts == {first.reference: 1000, second.reference: 3900}
    assert (first.status, second.status) == ("succeeded", "succeeded")


def test_an_unknown_payment_is_refused(provider: StripeProvider) -> None:
    with pytest.raises(ProviderRejected):
        provider.fetch("pi_unknown")
    with pytest.raises(ProviderRejected):
        provider.refund(RefundRequest("pi_unknown", None, "refund:4", ""))
