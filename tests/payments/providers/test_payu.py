"""Starting, asking, refunding and closing at PayU, over real sockets to the fake: what is sent, and what goes wrong."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers import payu as payu_module
from portal.payments.providers import payu_api, payu_events
from portal.payments.providers.base import (
    AlreadyStarted,
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    StartRequest,
)
from portal.payments.providers.payu import LIVE_URL, SANDBOX_URL, PayUProvider
from tests.fakes.payu import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU, sign
from tests.payments.providers.harness import SESSION_ID, request
from tests.payments.providers.payu_support import PORTAL_URL, order, paid, provider, started

TOKENS, ORDERS = "/pl/standard/user/oauth/authorize", "/api/v2_1/orders"


@pytest.fixture
def payu(fake_payu: FakePayU) -> PayUProvider:
    """Our adapter, talking to the fake."""
    return provider(fake_payu)


class Log:
    """Takes down what a module logs, however logging is set up."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **values: Any) -> None:
        self.lines.append((event, values))

    warning = error = info


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Log:
    """All that the adapter logs."""
    log = Log()
    for module in (payu_module, payu_api, payu_events):
        monkeypatch.setattr(module, "log", log)
    return log


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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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
        provider(api_url=url, timeout=(0.3, 0.3)).start(request())
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


# -- the token ----------------------------------------------------------------------------------------------------


def test_the_token_is_asked_for_once_however_many_want_it(payu: PayUProvider, fake_payu: FakePayU) -> None:
    fake_payu.control.add_fault("latency", path=TOKENS, seconds=0.3)
    barrier, found = threading.Barrier(20), []

    def start(number: int) -> None:
        barrier.wait()
        found.append(payu.start(request(attempt=number)).reference)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 20
    assert len(fake_payu.calls_to("POST", TOKENS)) == 1


def test_a_refused_token_is_replaced_and_nobody_notices(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = started(payu)
    fake_payu.control.end_tokens()
    assert payu.fetch(reference).raw_status == "NEW"
    fake_payu.control.end_tokens()
    payu.start(request(attempt=2))
    assert len(fake_payu.world.orders) == 2
    assert len(fake_payu.calls_to("POST", TOKENS)) == 3


def test_a_token_that_ends_is_replaced_before_it_does(fake_payu: FakePayU) -> None:
    fake_payu.token_seconds = 30
    payu = provider(fake_payu)
    started(payu)
    started(payu, attempt=2)
    assert len(fake_payu.calls_to("POST", TOKENS)) == 2
    assert not [call for call in fake_payu.calls if "401" in call.body]


def test_a_token_that_could_not_be_had_is_asked_for_again(payu: PayUProvider, fake_payu: FakePayU) -> None:
    fake_payu.control.add_fault("status", path=TOKENS, status=503)
    with pytest.raises(ProviderUnavailable):
        payu.start(request())
    assert fake_payu.world.orders == {}
    assert payu.start(request()).reference


def test_wrong_credentials_refuse_a_start_and_decide_nothing_else(fake_payu: FakePayU) -> None:
    reference = started(provider(fake_payu))
    wrong = provider(fake_payu, client_secret="another")
    with pytest.raises(ProviderRejected) as refusal:
        wrong.start(request(attempt=2))
    assert refusal.value.reason == "not_configured"
    # "This order does not exist" would end a payment that may have been made.
    for ask in (wrong.fetch, wrong.expire):
        with pytest.raises(ProviderUnavailable):
            ask(reference)


def test_neither_secrets_nor_tokens_are_logged(fake_payu: FakePayU, logged: Log) -> None:
    payu = provider(fake_payu)
    reference = started(payu)
    fake_payu.control.pay(reference)
    payu.refund(RefundRequest(reference, None, "refund:1", ""))
    (token,) = fake_payu.tokens
    for kind in ("garbage", "refused"):
        fake_payu.control.add_fault(kind, path=ORDERS)
        with pytest.raises(ProviderUnavailable):
            payu.fetch(reference)
    with pytest.raises(ProviderRejected):
        provider(fake_payu, client_secret="my-wrong-secret").start(request(attempt=2))
    text = json.dumps(logged.lines) + repr(payu._api._token)
    assert "-fake" in text  # Each answer's Correlation-Id is there.
    assert {"payu.answered", "payu.garbled_answer", "payu.no_answer", "payu.credentials_refused"} <= {
        event for event, _values in logged.lines
    }
    for secret in (CLIENT_SECRET, SECOND_KEY, token, "my-wrong-secret", "alice@example.com"):
        assert secret not in text


# -- asking and closing -------------------------------------------------------------------------------------------


def test_an_order_is_followed_from_open_to_paid(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = started(payu)
    opened = payu.fetch(reference)
    fake_payu.control.wait(reference)
    waiting = payu.fetch(reference)
    fake_payu.control.complete(reference)
    arrived = payu.fetch(reference)
    assert [(one.outcome, one.raw_status) for one in (opened, waiting, arrived)] == [
        (Outcome.PENDING, "NEW"),
        (Outcome.PENDING, "PENDING"),
        (Outcome.PAID, "COMPLETED"),
    ]
    assert opened.event is None
    assert waiting.event is not None
    assert arrived.event is not None
    assert arrived.event.payment_reference == reference


def test_a_payment_that_waits_to_be_received_is_pending_and_said_aloud(payu: PayUProvider, fake_payu: FakePayU) -> None:
    fake_payu.control.set_auto_receive(is_on=False)
    reference = paid(payu, fake_payu)
    found = payu.fetch(reference)
    assert (found.outcome, found.raw_status) == (Outcome.PENDING, "WAITING_FOR_CONFIRMATION")
    assert found.event is not None  # So the core lets the money be, also after the deadline.
    assert "payu.auto_receive_is_off" in [event for event, _values in logged.lines]


def test_an_order_ends_by_its_validity(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = started(payu)
    fake_payu.control.advance(2 * 3600 + 1)
    assert payu.fetch(reference).outcome is Outcome.FAILED


@pytest.mark.parametrize("reference", ["", "../orders", "a/b", "a b", "x" * 65, "O1?x=1"])
def test_a_reference_that_is_none_of_payus_is_not_asked_for(
    payu: PayUProvider, fake_payu: FakePayU, reference: str
) -> None:
    for call in (payu.fetch, payu.expire, lambda one: payu.refund(RefundRequest(one, None, "refund:1", ""))):
        with pytest.raises(ProviderRejected) as refusal:
            call(reference)
        assert refusal.value.reason == "resource_missing"
    assert fake_payu.calls == []


@pytest.mark.parametrize(
    "orders",
    [
        None,
        [],
        {},
        [7],
        [{"orderId": "O2", "status": "COMPLETED", "totalAmount": "1", "currencyCode": "PLN"}],
        [{"orderId": "O1", "status": "COMPLETED", "currencyCode": "PLN"}],
        [{"orderId": "O1", "status": "COMPLETED", "totalAmount": "1.00", "currencyCode": "PLN"}],
        [{"orderId": "O1", "status": "COMPLETED", "totalAmount": "1"}],
        [{"orderId": "O1", "totalAmount": "1", "currencyCode": "PLN"}],
        [{"orderId": "O1", "status": "NEW"}, {"orderId": "O1", "status": "NEW"}],
    ],
)
def test_an_order_of_another_shape_is_unknown_never_paid(
    orders: object, raw_server: Callable[[int, bytes], str]
) -> None:
    answer = {"access_token": "t", "expires_in": 43199, "orders": orders, "status": {"statusCode": "SUCCESS"}}
    with pytest.raises(ProviderUnavailable):
        provider(api_url=raw_server(200, json.dumps(answer).encode())).fetch("O1")


def test_closing_an_order_that_is_being_paid_takes_the_money_from_nobody(
    payu: PayUProvider, fake_payu: FakePayU
) -> None:
    reference = started(payu)
    fake_payu.control.wait(reference)
    payu.expire(reference)
    assert fake_payu.world.orders[reference]["status"] == "CANCELED"


def test_a_cancellation_that_did_nothing_is_not_believed(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = started(payu)
    fake_payu.world.cancel = lambda order_id: {"orderId": order_id, "status": {"statusCode": "SUCCESS"}}  # type: ignore[method-assign]  # a PayU that only says so
    with pytest.raises(ProviderUnavailable):
        payu.expire(reference)


# -- refunds ------------------------------------------------------------------------------------------------------


def test_a_refund_sends_its_key_and_its_reason(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = paid(payu, fake_payu)
    payu.refund(RefundRequest(reference, Money(1000, "PLN"), "refund:17", "Changed my mind"))
    assert fake_payu.calls[-1].path == f"{ORDERS}/{reference}/refunds"
    assert fake_payu.calls[-1].json == {
        "refund": {
            "description": "Changed my mind",
            "extRefundId": "refund:17",
            "amount": "1000",
            "currencyCode": "PLN",
        }
    }


def test_a_refund_without_amount_is_of_all_that_is_left(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = paid(payu, fake_payu)
    payu.refund(RefundRequest(reference, Money(900, "PLN"), "refund:1", ""))
    payu.refund(RefundRequest(reference, None, "refund:2", ""))
    assert [one["amount"] for one in fake_payu.world.list_refunds(reference)] == ["900", "4000"]


def test_two_equal_parts_are_two_refunds(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = paid(payu, fake_payu)
    first = payu.refund(RefundRequest(reference, Money(1000, "PLN"), "refund:1", "same"))
    second = payu.refund(RefundRequest(reference, Money(1000, "PLN"), "refund:2", "same"))
    assert first.reference != second.reference


def test_a_refund_whose_answer_was_lost_is_found_by_asking_again(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = paid(payu, fake_payu)
    wanted = RefundRequest(reference, Money(1000, "PLN"), "refund:1", "")
    fake_payu.control.add_fault("lost_answer", path=ORDERS)
    with pytest.raises(ProviderUnavailable):
        payu.refund(wanted)
    assert payu.refund(wanted).reference
    assert len(fake_payu.world.list_refunds(reference)) == 1


@pytest.mark.parametrize(
    ("status", "expected"), [("PENDING", "pending"), ("FINALIZED", "succeeded"), ("CANCELED", "failed")]
)
def test_a_refund_says_how_it_stands(payu: PayUProvider, fake_payu: FakePayU, status: str, expected: str) -> None:
    reference = paid(payu, fake_payu)
    fake_payu.control.set_refunds(status)
    assert payu.refund(RefundRequest(reference, None, "refund:1", "")).status == expected


def test_a_key_with_another_amount_is_refused(payu: PayUProvider, fake_payu: FakePayU) -> None:
    reference = paid(payu, fake_payu)
    payu.refund(RefundRequest(reference, Money(1000, "PLN"), "refund:1", ""))
    with pytest.raises(ProviderRejected) as refusal:
        payu.refund(RefundRequest(reference, Money(1001, "PLN"), "refund:1", ""))
    assert refusal.value.reason == "refund_idempotency_mismatch"


def test_what_is_not_paid_or_refunded_already_cannot_be_refunded(payu: PayUProvider, fake_payu: FakePayU) -> None:
    unpaid = started(payu)
    with pytest.raises(ProviderRejected) as refusal:
        payu.refund(RefundRequest(unpaid, None, "refund:1", ""))
    assert refusal.value.reason == "trans_not_ended"
    fake_payu.control.pay(unpaid)
    payu.refund(RefundRequest(unpaid, None, "refund:2", ""))
    with pytest.raises(ProviderRejected, match="already been refunded"):
        payu.refund(RefundRequest(unpaid, None, "refund:3", ""))


# -- test and live ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "is_test"),
    [(LIVE_URL, False), (f"{LIVE_URL}/", False), (SANDBOX_URL, True), ("http://127.0.0.1:9", True)],
)
def test_where_money_is_real_is_known_by_the_address(url: str, is_test: bool) -> None:
    body = json.dumps(order()).encode()
    headers = {"OpenPayu-Signature": sign(body, SECOND_KEY)}
    (event,) = provider(api_url=url).parse_webhook(headers, body, at=clock.now()).events
    assert event.is_test is is_test


@pytest.mark.parametrize("blank", ["pos_id", "client_id", "client_secret"])
def test_a_blank_account_does_not_start(blank: str) -> None:
    with pytest.raises(ValueError, match="PayU needs"):
        provider(**{blank: " "})


def test_a_request_repeated_later_keeps_its_name(payu: PayUProvider, fake_payu: FakePayU) -> None:
    """The closing time is the only thing that moves, and PayU does not compare."""

    def name_of(wanted: StartRequest) -> object:
        with pytest.raises(ProviderUnavailable):
            payu.start(wanted)
        return order_sent(fake_payu)["extOrderId"]

    fake_payu.control.add_fault("refused", path=ORDERS, times=2)
    assert name_of(request()) == name_of(request(expires_at=clock.now() + timedelta(minutes=40)))
