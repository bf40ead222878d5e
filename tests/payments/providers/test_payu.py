"""Starting at PayU, over real sockets to the fake: what is sent, what comes back, and what goes wrong."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    AlreadyStarted,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    StartRequest,
)
from portal.payments.providers.payu import PayUProvider
from tests.fakes.payu import POS_ID, FakePayU
from tests.fakes.serving import serving
from tests.payments.providers.harness import SESSION_ID, request
from tests.payments.providers.payu_support import PORTAL_URL, paid, provider, started

TOKENS, ORDERS = "/pl/standard/user/oauth/authorize", "/api/v2_1/orders"


def order_sent(fake: FakePayU) -> dict[str, Any]:
    """The last order as it went over the wire."""
    sent: dict[str, Any] = fake.calls_to("POST", ORDERS)[-1].json
    return sent


# -- starting -----------------------------------------------------------------------------------------------------


def test_start_sends_what_payu_needs(payu: PayUProvider, fake_payu: FakePayU) -> None:
    wanted = request(client_address="203.0.113.7", expires_at=clock.now() + timedelta(hours=2))
    answer = payu.start(wanted)
    sent = order_sent(fake_payu)
    assert 7190 <= int(sent.pop("validityTime")) <= 7200
    assert sent == {
        "merchantPosId": POS_ID,
        "extOrderId": SESSION_ID,
        "notifyUrl": f"{PORTAL_URL}/api/v1/webhooks/payu",
        "continueUrl": wanted.success_url,
        "customerIp": "203.0.113.7",
        "description": "Automation bundle",
        "visibleDescription": "Automation bundle",
        "currencyCode": "PLN",
        "totalAmount": "4900",
        "products": [{"name": "Automation bundle", "unitPrice": "4900", "quantity": "1"}],
        "buyer": {"email": "alice@example.com", "language": "pl"},
    }
    assert answer.redirect_url == fake_payu.world.page_url(answer.reference)
    assert answer.expires_at is not None
    assert abs(answer.expires_at - wanted.expires_at) < timedelta(seconds=10)


def test_a_redirect_is_an_answer_and_is_not_followed(payu: PayUProvider, fake_payu: FakePayU) -> None:
    assert payu.start(request()).reference in fake_payu.world.orders
    assert [call.path for call in fake_payu.calls] == [TOKENS, ORDERS]


@pytest.mark.parametrize("attempt", [2, 11])
def test_a_later_attempt_has_a_name_of_its_own(payu: PayUProvider, fake_payu: FakePayU, attempt: int) -> None:
    payu.start(request(attempt=attempt))
    assert order_sent(fake_payu)["extOrderId"] == f"{SESSION_ID}-{attempt}"


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        (None, "127.0.0.1"),
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # PayU refuses it
        ("not an address", "127.0.0.1"),
        ("198.51.100.9", "198.51.100.9"),
        ("2001:db8::7", "2001:db8::7"),
    ],
)
def test_the_buyers_address_goes_along_where_it_is_known(
    payu: PayUProvider, fake_payu: FakePayU, address: str | None, sent: str
) -> None:
    payu.start(request(client_address=address))
    assert order_sent(fake_payu)["customerIp"] == sent


def test_what_is_not_known_is_left_out(payu: PayUProvider, fake_payu: FakePayU) -> None:
    payu.start(request(customer_email=None, locale="tlh"))
    assert "buyer" not in order_sent(fake_payu)
    payu.start(request(attempt=2, locale="tlh"))
    assert order_sent(fake_payu)["buyer"] == {"email": "alice@example.com"}


def test_long_descriptions_are_cut_to_what_payu_shows(payu: PayUProvider, fake_payu: FakePayU) -> None:
    payu.start(request(description="Paczka ż" * 1000))
    sent = order_sent(fake_payu)
    assert (len(sent["description"]), len(sent["visibleDescription"]), len(sent["products"][0]["name"])) == (
        4000,
        80,
        255,
    )


def test_a_page_that_should_be_closed_already_is_closed_soon(payu: PayUProvider, fake_payu: FakePayU) -> None:
    payu.start(request(expires_at=clock.now() - timedelta(hours=1)))
    assert order_sent(fake_payu)["validityTime"] == "60"


@pytest.mark.parametrize(
    ("amount", "sent"),
    [(Money(1, "PLN"), "1"), (Money(123_456, "HUF"), "123456"), (Money(999, "EUR"), "999")],
)
def test_amounts_are_texts_in_hundredths(payu: PayUProvider, fake_payu: FakePayU, amount: Money, sent: str) -> None:
    payu.start(request(amount=amount))
    assert (order_sent(fake_payu)["totalAmount"], order_sent(fake_payu)["currencyCode"]) == (sent, amount.currency)


def test_a_currency_without_subunits_is_multiplied(payu: PayUProvider, fake_payu: FakePayU) -> None:
    fake_payu.world.currencies = ("JPY",)
    reference = started(payu, amount=Money(500, "JPY"))
    assert order_sent(fake_payu)["totalAmount"] == "50000"
    fake_payu.control.pay(reference)
    event = payu.fetch(reference).event
    assert event is not None
    assert (event.amount_minor, event.currency) == (500, "JPY")


def test_an_amount_that_cannot_be_written_is_refused_unsent(payu: PayUProvider, fake_payu: FakePayU) -> None:
    with pytest.raises(ProviderRejected) as refusal:
        payu.start(request(amount=Money(12_345, "KWD")))
    assert refusal.value.reason == "currency_not_supported"
    assert fake_payu.calls == []


@pytest.mark.parametrize("minor", [0, -1])
def test_nothing_to_pay_is_a_bug_of_ours(payu: PayUProvider, minor: int) -> None:
    with pytest.raises(ValueError, match="nothing to pay"):
        payu.start(request(amount=Money(minor, "PLN")))


def test_a_currency_the_contract_lacks_is_refused(payu: PayUProvider) -> None:
    with pytest.raises(ProviderRejected, match="in this currency") as refusal:
        payu.start(request(amount=Money(4900, "CHF")))
    assert refusal.value.reason == "currency_not_supported"
    assert refusal.value.detail is not None
    assert "-fake" in refusal.value.detail  # The Correlation-Id that PayU's support asks for.


def test_another_point_of_sale_is_not_let_in(fake_payu: FakePayU) -> None:
    with pytest.raises(ProviderRejected, match="right now") as refusal:
        provider(fake_payu, pos_id="145227").start(request())
    assert refusal.value.reason == "not_configured"


def test_a_lost_answer_is_unknown_and_asking_again_opens_no_second_order(
    payu: PayUProvider, fake_payu: FakePayU
) -> None:
    fake_payu.control.add_fault("lost_answer", path=ORDERS)
    with pytest.raises(ProviderUnavailable) as trouble:
        payu.start(request())
    assert trouble.value.is_answered is False
    with pytest.raises(AlreadyStarted):
        payu.start(request())
    assert len(fake_payu.world.orders) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "refused"},
        {"kind": "garbage"},
        {"kind": "half"},
        {"kind": "hang"},
        {"kind": "latency", "seconds": 1.6},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 408},
        {"kind": "status", "status": 429},
    ],
    ids=lambda fault: "-".join(str(value) for value in fault.values()),
)
@pytest.mark.parametrize("call", ["start", "fetch", "refund", "expire"])
def test_whatever_is_no_clear_answer_is_unknown(
    payu: PayUProvider, fake_payu: FakePayU, fault: dict[str, Any], call: str
) -> None:
    reference = paid(payu, fake_payu, attempt=9)
    calls: dict[str, Callable[[], object]] = {
        "start": lambda: payu.start(request()),
        "fetch": lambda: payu.fetch(reference),
        "refund": lambda: payu.refund(RefundRequest(reference, None, "refund:1", "")),
        "expire": lambda: payu.expire(reference),
    }
    fake_payu.control.add_fault(path=ORDERS, **fault)
    with pytest.raises(ProviderUnavailable) as trouble:
        calls[call]()
    assert trouble.value.is_answered is False


@contextmanager
def hand_made(payu_answer: Callable[[BaseHTTPRequestHandler], None], *, status: int = 200) -> Iterator[str]:
    """A server that gives tokens, and whose orders are answered by hand."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200 if self.path == TOKENS else status)
            if self.path == TOKENS:
                body = b'{"access_token":"t","expires_in":43199}'
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.end_headers()
            try:
                payu_answer(self)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # The base class's name.
            """Stay quiet."""

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as address:
        yield address


def saying(answer: dict[str, Any]) -> Callable[[BaseHTTPRequestHandler], None]:
    """What writes that answer."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(json.dumps(answer).encode())

    return write


def drip(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(200):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def flood(handler: BaseHTTPRequestHandler) -> None:
    for _ in range(400):
        handler.wfile.write(b" " * 8192)


@pytest.mark.parametrize("how", [drip, flood])
def test_an_answer_without_end_is_cut_off(how: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with hand_made(how) as url, pytest.raises(ProviderUnavailable, match="does not answer") as trouble:
        provider(api_url=url).start(request())
    assert "without end" in str(trouble.value.detail)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": {"statusCode": "SUCCESS"}},
        {"status": {"statusCode": "SUCCESS"}, "orderId": "O1", "redirectUri": "javascript:alert(1)"},
        {"status": {"statusCode": "SUCCESS"}, "orderId": "O1", "redirectUri": "//evil.example"},
        {"status": {"statusCode": "SUCCESS"}, "orderId": "../O1", "redirectUri": "https://secure.payu.com/pay"},
        {"status": {"statusCode": "SUCCESS"}, "redirectUri": "https://secure.payu.com/pay"},
        {"status": {"statusCode": "PROMISED"}, "orderId": "O1", "redirectUri": "https://secure.payu.com/pay"},
        {"status": "SUCCESS", "orderId": "O1", "redirectUri": "https://secure.payu.com/pay"},
        {"orderId": "O1", "redirectUri": "https://secure.payu.com/pay"},
    ],
)
def test_half_an_answer_is_no_page(answer: dict[str, Any]) -> None:
    with hand_made(saying(answer)) as url, pytest.raises(ProviderUnavailable):
        provider(api_url=url).start(request())


@pytest.mark.parametrize("answer", [{"message": "blocked"}, {"status": 400}, {"status": {"statusCode": 400}}])
def test_a_refusal_that_is_not_payus_is_unknown(answer: dict[str, Any]) -> None:
    """A proxy's 400 says nothing about an order."""
    with hand_made(saying(answer), status=400) as url, pytest.raises(ProviderUnavailable):
        provider(api_url=url).start(request())


def test_a_refusal_in_payus_words_is_final() -> None:
    answer = {"status": {"statusCode": "BUSINESS_ERROR", "codeLiteral": "ERROR_VALUE_INVALID"}}
    with hand_made(saying(answer), status=400) as url, pytest.raises(ProviderRejected) as refusal:
        provider(api_url=url).start(request())
    assert refusal.value.reason == "error_value_invalid"


def test_a_request_repeated_later_keeps_its_name(payu: PayUProvider, fake_payu: FakePayU) -> None:
    """The closing time is the only thing that moves, and PayU does not compare."""

    def name_of(wanted: StartRequest) -> object:
        with pytest.raises(ProviderUnavailable):
            payu.start(wanted)
        return order_sent(fake_payu)["extOrderId"]

    fake_payu.control.add_fault("refused", path=ORDERS, times=2)
    assert name_of(request()) == name_of(request(expires_at=clock.now() + timedelta(minutes=40)))
