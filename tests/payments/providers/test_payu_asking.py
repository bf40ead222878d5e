"""The token, asking, closing and refunding at PayU, over real sockets to the fake."""

import json
import threading
from collections.abc import Callable

import pytest

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
)
from portal.payments.providers.payu import LIVE_URL, SANDBOX_URL, PayUProvider
from tests.fakes.payu import CLIENT_SECRET, SECOND_KEY, FakePayU, sign
from tests.payments.providers.harness import request
from tests.payments.providers.payu_support import Log, order, paid, provider, started

TOKENS, ORDERS = "/pl/standard/user/oauth/authorize", "/api/v2_1/orders"


# -- the token ----------------------------------------------------------------------------------------------------


def test_the_token_is_asked_for_once_however_many_want_it(fake_payu: FakePayU) -> None:
    payu = provider(fake_payu, timeout=(10.0, 10.0))
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


def test_neither_secrets_nor_tokens_are_logged(fake_payu: FakePayU, payu_log: Log) -> None:
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
    text = json.dumps(payu_log.lines) + repr(payu._api._token)
    assert "-fake" in text  # Each answer's Correlation-Id is there.
    assert {"payu.answered", "payu.garbled_answer", "payu.no_answer", "payu.credentials_refused"} <= {
        event for event, _values in payu_log.lines
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


def test_a_payment_that_waits_to_be_received_is_pending_and_said_aloud(
    payu: PayUProvider, fake_payu: FakePayU, payu_log: Log
) -> None:
    fake_payu.control.set_auto_receive(is_on=False)
    reference = paid(payu, fake_payu)
    found = payu.fetch(reference)
    assert (found.outcome, found.raw_status) == (Outcome.PENDING, "WAITING_FOR_CONFIRMATION")
    assert found.event is not None  # So the core lets the money be, also after the deadline.
    assert "payu.auto_receive_is_off" in [event for event, _values in payu_log.lines]


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
