"""The fake BTCPay Server itself: its webhooks' rules, its page, and that it runs by hand."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.btcpay import FakeBTCPay, sign
from tests.fakes.btcpay.delivery import REAL_GAPS
from tests.fakes.serving import serving


class Shop:
    """Takes in webhooks and answers with the next of its statuses; the last one stays."""

    def __init__(self) -> None:
        self.answers = [200]
        self.seen: list[tuple[str, bytes]] = []
        shop = self

        class Hook(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                shop.seen.append((self.headers["BTCPay-Sig"], body))
                status = shop.answers.pop(0) if len(shop.answers) > 1 else shop.answers[0]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
                """Stay quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
        self.url = ""


@pytest.fixture
def shop() -> Iterator[Shop]:
    running = Shop()
    with serving(running.server) as address:
        running.url = f"{address}/hook"
        yield running


@pytest.fixture
def fake(shop: Shop) -> Iterator[FakeBTCPay]:
    with FakeBTCPay(shop.url) as running:
        running.webhooks.gaps = (0.01,) * len(REAL_GAPS)
        yield running


def invoice(fake: FakeBTCPay) -> str:
    made = fake.world.create_invoice({"amount": "10.00", "currency": "USD", "metadata": {"orderId": "a"}})
    return str(made["id"])


@pytest.mark.parametrize(
    ("answers", "tries"),
    [([200], 1), ([500, 200], 2), ([503, 429, 408, 200], 4), ([404], 1), ([400], 1), ([409], 1), ([500], 9)],
)
def test_only_trouble_of_the_receiver_is_tried_again(
    fake: FakeBTCPay, shop: Shop, answers: list[int], tries: int
) -> None:
    shop.answers = answers
    invoice(fake)
    fake.webhooks.wait_idle()
    assert len(shop.seen) == tries
    for signature, body in shop.seen:
        assert signature == sign(body, fake.secret)
    events = [json.loads(body) for _signature, body in shop.seen]
    assert len({event["originalDeliveryId"] for event in events}) == 1
    assert len({event["deliveryId"] for event in events}) == tries
    assert [event["isRedelivery"] for event in events] == [False] + [True] * (tries - 1)


def test_a_payment_is_told_in_the_order_it_happened(fake: FakeBTCPay, shop: Shop) -> None:
    fake.act(invoice(fake), "pay")
    fake.webhooks.wait_idle()
    assert [json.loads(body)["type"] for _signature, body in shop.seen] == [
        "InvoiceCreated",
        "InvoiceReceivedPayment",
        "InvoiceProcessing",
        "InvoicePaymentSettled",
        "InvoiceSettled",
    ]


def test_the_page_pays_and_leads_back(fake: FakeBTCPay) -> None:
    identifier = invoice(fake)
    with urllib.request.urlopen(f"{fake.url}/i/{identifier}", timeout=5) as answer:
        assert b"10.00 USD" in answer.read()
    fake.world.invoices[identifier]["checkout"]["redirectURL"] = f"{fake.url}/i/{identifier}"
    with urllib.request.urlopen(f"{fake.url}/i/{identifier}", b"action=pay", timeout=5) as answer:
        assert b"Settled" in answer.read()


def test_a_null_amount_is_a_top_up_that_anything_settles(fake: FakeBTCPay) -> None:
    made = fake.world.create_invoice({"amount": None, "currency": "USD"})
    assert made["type"] == "TopUp"
    assert fake.world.pay(made["id"], "1")["status"] == "Settled"


def test_it_runs_by_hand() -> None:
    root = Path(__file__).resolve().parent.parent.parent
    program = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.btcpay"], cwd=root, stdout=subprocess.PIPE, text=True
    )
    try:
        assert program.stdout is not None
        url = re.search(r"http://127\.0\.0\.1:\d+", program.stdout.readline())
        assert url is not None
        with urllib.request.urlopen(f"{url[0]}/_control/state", timeout=5) as answer:
            assert json.load(answer) == {"invoices": [], "deliveries": []}
    finally:
        program.send_signal(signal.SIGTERM)
        program.communicate(timeout=10)
    assert program.returncode == 0
