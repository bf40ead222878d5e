"""Whole payments at PayU, through sockets both ways: paid, lost, doubled, altered, late, and never believed unread."""

import http.client
import itertools
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock, faults, outbox
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Invoice,
    Payment,
    PaymentSession,
    SessionStatus,
)
from portal.payments.services import checking
from portal.payments.services.draining import drain_inbox, rematch_unmatched
from portal.payments.services.sessions import fail_session
from portal.payments.services.starting import start_attempt
from tests.crowd import all_at_once
from tests.fakes.payu import FakePayU
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.payments.payu_selling import body_of, events, fresh, post, started, surplus, work


def press(page: str, action: str) -> str:
    """Press a button of PayU's page; where the buyer is sent."""

    parts = urlsplit(page)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", f"{parts.path}?{parts.query}", f"action={action}", form)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 303
    return str(answer.headers["Location"])


def test_a_payment_from_the_page_to_the_invoice(payu_company: FakePayU, sold: Sold) -> None:
    session = signed.make_session()
    page = start_attempt(session.id, "payu", at=clock.now())
    assert press(page, "pay") == "http://localhost/ok"
    work(payu_company)
    (order,) = payu_company.world.orders.values()
    told = [(one.key, one.status, one.attempt) for one in payu_company.webhooks.deliveries]
    assert told == [(f"{order['orderId']}:PENDING", 200, 1), (f"{order['orderId']}:COMPLETED", 200, 1)]
    paid = fresh(session)
    assert (paid.status, paid.provider, paid.provider_reference) == (SessionStatus.PAID, "payu", order["orderId"])
    assert [one.status for one in paid.attempts] == [AttemptStatus.PAID]
    assert sold.settled == [session.id]
    payment = db.session.scalars(db.select(Payment)).one()
    assert payment.business_key == f"payu:{order['orderId']}:paid"
    assert (payment.amount_minor, payment.currency) == (4900, "PLN")
    assert db.session.scalars(db.select(Invoice)).one().provider_reference == order["orderId"]
    assert [one.event_type for one in events()] == ["order.PENDING", "order.COMPLETED", "poll.paid"]


def test_whoever_is_refused_returns_with_an_error_and_the_session_has_failed(
    payu_company: FakePayU, sold: Sold
) -> None:
    session = signed.make_session()
    page = start_attempt(session.id, "payu", at=clock.now())
    assert press(page, "decline") == "http://localhost/ok?error=501"
    work(payu_company)
    assert fresh(session).status is SessionStatus.FAILED
    assert (sold.settled, sold.failed) == ([], [session.id])


def test_whoever_gives_up_can_go_on_with_the_same_page(payu_company: FakePayU) -> None:
    session = signed.make_session()
    page = start_attempt(session.id, "payu", at=clock.now())
    press(page, "leave")
    work(payu_company)
    assert fresh(session).status is SessionStatus.PENDING
    assert start_attempt(session.id, "payu", at=clock.now()) == page


def test_a_lost_notification_is_found_by_asking(payu_company: FakePayU, sold: Sold) -> None:
    session, order = started(payu_company)
    payu_company.control.pay(order, lose_webhook=True)
    assert payu_company.webhooks.deliveries == []
    with clock.shifted(timedelta(minutes=3)):
        assert checking.request_due_checks(at=clock.now()) == 1
        work(payu_company)
    assert fresh(session).status is SessionStatus.PAID
    assert sold.settled == [session.id]


def test_the_late_notification_after_asking_counts_nothing_twice(payu_company: FakePayU, sold: Sold) -> None:
    session, order = started(payu_company)
    payu_company.control.pay(order, lose_webhook=True)
    checking.check_session(session.id)
    drain_inbox()
    payu_company.control.resend(f"{order}:COMPLETED")
    payu_company.control.resend(f"{order}:PENDING")
    work(payu_company)
    assert sold.settled == [session.id]
    assert surplus() == [None]


def test_a_notification_twice_is_one_event(payu_company: FakePayU, sold: Sold) -> None:
    payu_company.control.set_webhooks(copies=2)
    session, order = started(payu_company)
    payu_company.control.pay(order)
    work(payu_company)
    assert [one.status for one in payu_company.webhooks.deliveries] == [200] * 4
    assert [one.delivery_key for one in events() if one.source == "webhook"] == [
        f"{order}:PENDING",
        f"{order}:COMPLETED",
    ]
    assert sold.settled == [session.id]


def test_twenty_notifications_and_four_workers_at_once_are_one_sale(
    app: Flask, payu_company: FakePayU, sold: Sold
) -> None:
    session, order = started(payu_company)
    payu_company.control.pay(order, lose_webhook=True)
    body = body_of(payu_company, f"{order}:COMPLETED")
    answers = all_at_once(app, [lambda: post(app.test_client(), body).status_code] * 20)
    assert answers == [200] * 20
    all_at_once(app, [drain_inbox] * 4)
    all_at_once(app, [lambda: outbox.drain(QueueName.WEBHOOKS)] * 4)
    all_at_once(app, [drain_inbox] * 4)
    assert sold.settled == [session.id]
    assert surplus() == [None]
    assert len([one for one in events() if one.source == "webhook"]) == 1


@pytest.mark.parametrize("places", list(itertools.permutations(("PENDING", "COMPLETED", "FINALIZED"))))
def test_notifications_in_any_order_end_alike(
    client: FlaskClient, payu_company: FakePayU, sold: Sold, places: tuple[str, ...]
) -> None:
    payu_company.control.set_webhooks(lose=True)
    payu_company.control.set_refunds("FINALIZED")
    session, order = started(payu_company)
    payu_company.control.pay(order)
    refund = payu_company.control.panel_refund(order, 1000)["refund"]["refundId"]
    for status in places:
        key = f"{refund if status == 'FINALIZED' else order}:{status}"
        assert post(client, body_of(payu_company, key)).status_code == 200
        work(payu_company)
    assert fresh(session).status is SessionStatus.PAID
    assert sold.settled == [session.id]
    assert surplus() == [None]
    (told,) = [one for one in events() if one.event_type == "refund.FINALIZED"]
    assert told.session_public_id == session.public_id
    (fact,) = told.normalised
    assert (fact["outcome"], fact["payment_reference"], fact["amount_minor"]) == ("refunded", order, 1000)
    assert fact["business_key"] == f"payu:{refund}:succeeded"


@pytest.mark.parametrize(
    ("amount", "currency", "reason"),
    [
        (4899, None, "wrong_amount"),
        (4901, None, "wrong_amount"),
        (1, None, "wrong_amount"),
        (4900, "HUF", "wrong_currency"),
    ],
)
def test_another_amount_than_was_asked_for_is_kept_and_does_not_pay(
    payu_company: FakePayU, sold: Sold, amount: int, currency: str | None, reason: str
) -> None:
    session, order = started(payu_company)
    payu_company.control.set_amount(order, amount, currency)
    payu_company.control.pay(order)
    work(payu_company)
    assert fresh(session).status is SessionStatus.PENDING
    assert (sold.settled, surplus()) == ([], [reason])


def test_while_payu_does_not_answer_a_notification_pays_nothing_and_is_followed_later(
    payu_company: FakePayU, sold: Sold
) -> None:
    session, order = started(payu_company)
    payu_company.control.add_fault("status", method="GET", status=503, times=100)
    payu_company.control.pay(order)
    work(payu_company)
    assert fresh(session).status is SessionStatus.PENDING
    assert sold.settled == []
    payu_company.control.clear_faults()
    with clock.shifted(timedelta(minutes=10)):
        work(payu_company)
    assert fresh(session).status is SessionStatus.PAID
    assert sold.settled == [session.id]


def test_a_payment_that_no_notification_could_be_followed_for_is_found_by_the_check(
    payu_company: FakePayU, sold: Sold
) -> None:
    """Even when every try to follow it was used up in a long outage."""
    session, order = started(payu_company)
    payu_company.control.add_fault("refused", method="GET", times=10_000)
    payu_company.control.pay(order)
    for hours in range(1, 12):
        with clock.shifted(timedelta(hours=hours)):
            work(payu_company)
    assert fresh(session).status is SessionStatus.PENDING
    payu_company.control.clear_faults()
    with clock.shifted(timedelta(hours=12)):
        checking.request_due_checks(at=clock.now())
        work(payu_company)
    assert sold.settled == [session.id]


def test_a_notification_that_was_not_answered_comes_again(payu_company: FakePayU, sold: Sold) -> None:
    """Stored, and then the worker of the web server died: PayU's next try finds it stored."""
    session, order = started(payu_company)
    failures = itertools.count()

    def fail_twice() -> None:
        if next(failures) < 2:
            raise faults.InjectedFault("accept-after-insert")

    with faults.arm("accept-after-insert", fail_twice):
        payu_company.control.pay(order)
        payu_company.webhooks.wait_idle()
    assert [one.status for one in payu_company.webhooks.deliveries].count(500) == 2
    assert {one.key for one in payu_company.webhooks.deliveries if one.status == 200} == {
        f"{order}:PENDING",
        f"{order}:COMPLETED",
    }
    work(payu_company)
    assert sold.settled == [session.id]


def test_a_notification_that_overtakes_its_session_waits_for_it(client: FlaskClient, payu_company: FakePayU) -> None:
    payu_company.control.set_webhooks(lose=True)
    session, order = started(payu_company)
    payu_company.control.pay(order)
    known = session.public_id
    with unit_of_work():
        db.session.get_one(PaymentSession, session.id).public_id = "not-yet-committed"
    # 200, though there is no such session yet: a repetition would only be a duplicate.
    assert post(client, body_of(payu_company, f"{order}:COMPLETED")).status_code == 200
    assert [one.status for one in events()] == [EventStatus.UNMATCHED]
    with unit_of_work():
        db.session.get_one(PaymentSession, session.id).public_id = known
    assert rematch_unmatched(at=clock.now()) == 1
    work(payu_company)
    assert fresh(session).status is SessionStatus.PAID


def test_test_money_does_not_pay_a_live_session(payu_company: FakePayU, sold: Sold) -> None:
    session, order = started(payu_company)
    with unit_of_work():
        db.session.get_one(PaymentSession, session.id).mode = "live"
    payu_company.control.pay(order)
    work(payu_company)
    assert (fresh(session).status, sold.settled, surplus()) == (SessionStatus.PENDING, [], ["wrong_mode"])


def test_an_unpaid_order_is_cancelled_after_the_deadline_and_the_session_fails(
    payu_company: FakePayU, sold: Sold
) -> None:
    session, order = started(payu_company)
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
        work(payu_company)
    assert payu_company.world.orders[order]["status"] == "CANCELED"
    assert (fresh(session).status, sold.failed) == (SessionStatus.FAILED, [session.id])


def test_a_payment_under_way_at_the_deadline_is_waited_for(payu_company: FakePayU, sold: Sold) -> None:
    session, order = started(payu_company)
    payu_company.control.wait(order)
    work(payu_company)
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
        work(payu_company)
        assert fresh(session).status is SessionStatus.PENDING
        payu_company.control.complete(order)
        work(payu_company)
    assert (fresh(session).status, sold.settled) == (SessionStatus.PAID, [session.id])


def test_wrong_credentials_end_no_payment(payu_company: FakePayU, sold: Sold) -> None:
    """A changed client secret must not look like "this order does not exist"."""
    session, order = started(payu_company)
    payu_company.control.pay(order, lose_webhook=True)
    payu_company.control.end_tokens()
    secret, payu_company.client_secret = payu_company.client_secret, "changed"
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
        work(payu_company)
        assert [one.status for one in fresh(session).attempts] == [AttemptStatus.OPEN]
        payu_company.client_secret = secret
        checking.check_session(session.id)
        work(payu_company)
    assert sold.settled == [session.id]


def test_money_for_a_session_that_is_over_is_kept_apart(payu_company: FakePayU, sold: Sold) -> None:
    session, order = started(payu_company)
    with unit_of_work():
        fail_session(db.session.get_one(PaymentSession, session.id), by="test", at=clock.now(), reason="cancelled")
    payu_company.control.pay(order)
    work(payu_company)
    assert (fresh(session).status, sold.settled, surplus()) == (SessionStatus.FAILED, [], ["after_failure"])


def test_a_page_of_a_session_that_is_over_is_closed_when_somebody_begins_to_pay(
    payu_company: FakePayU, sold: Sold
) -> None:
    session, order = started(payu_company)
    with unit_of_work():
        fail_session(db.session.get_one(PaymentSession, session.id), by="test", at=clock.now(), reason="cancelled")
    payu_company.control.wait(order)
    work(payu_company)
    assert payu_company.world.orders[order]["status"] == "CANCELED"
    assert (fresh(session).status, surplus()) == (SessionStatus.FAILED, [])


def test_thirty_payments_come_right_though_notifications_are_lost_doubled_and_shuffled(
    payu_company: FakePayU, sold: Sold
) -> None:
    payu_company.control.set_webhooks(lose_rate=0.4, double_rate=0.2, order="shuffled")
    sessions = [started(payu_company) for _ in range(30)]
    for number, (_session, order) in enumerate(sessions):
        (payu_company.control.decline if number % 10 == 0 else payu_company.control.pay)(order)
    work(payu_company)
    waiting = [session for session, _order in sessions if not fresh(session).is_final]
    assert waiting, "PayU was too good: nothing was lost"
    for minutes in (3, 14):
        with clock.shifted(timedelta(minutes=minutes)):
            checking.request_due_checks(at=clock.now())
            work(payu_company)
    paid = [session.id for number, (session, _order) in enumerate(sessions) if number % 10]
    assert sorted(sold.settled) == sorted(paid)
    assert {fresh(session).status for session, _order in sessions} == {SessionStatus.PAID, SessionStatus.FAILED}
    assert surplus() == [None] * len(paid)
