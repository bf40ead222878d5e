"""The work list shows what needs a person, most money first, and nothing when all is well."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.admin.queries.work_list import LIMIT, WorkKind, read_work_list
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage, MailStatus
from portal.core.money import Money
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.orders.models import OrderStatus, PaymentStatus
from portal.payments.models import AttemptStatus, EventStatus, PaymentSession, ProviderEvent, SessionStatus, Standing
from portal.payments.refund_models import RefundFlag
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form

SURPLUS = {"standing": Standing.SURPLUS, "surplus_reason": "second_payment"}


def test_an_empty_list_says_that_all_is_well(office: FlaskClient) -> None:
    assert "All is well" in page(office, "/admin")


def test_ordinary_business_is_no_work(office: FlaskClient, alice: User) -> None:
    support.make_paid_order(alice)
    support.make_session(support.make_order(alice))
    support.make_mail(status=MailStatus.SENT)
    support.make_mail(status=MailStatus.QUEUED)
    support.make_message(status=MessageStatus.DONE)
    support.make_message(status=MessageStatus.PENDING)
    for status in (EventStatus.APPLIED, EventStatus.DUPLICATE, EventStatus.IGNORED, EventStatus.RESOLVED):
        support.make_event(status=status)
    assert "All is well" in page(office, "/admin")


def test_money_comes_first_then_age(office: FlaskClient) -> None:
    now = clock.now()
    support.make_message(topic="payment_session.check_requested", at=now - timedelta(days=9))
    support.make_conflict(4900, at=now - timedelta(minutes=1))
    support.make_mail(to="karol@example.com", status=MailStatus.FAILED, at=now - timedelta(days=10))
    support.make_conflict(59700, reason="wrong_amount", at=now)
    support.make_conflict(4900, reason="after_failure", at=now - timedelta(hours=1))
    shown = rows(office.get("/admin"))
    assert shown[0].startswith("The amount is not what was asked for")
    assert shown[1].startswith("The money came after this payment had already ended")
    assert shown[2].startswith("This payment had already been paid")
    assert shown[3].endswith("karol@example.com")
    assert shown[4] == "payment_session.check_requested"
    assert len(shown) == 5


def test_every_queue_is_on_the_list(office: FlaskClient, app: Flask, alice: User) -> None:
    now = clock.now()
    support.make_conflict()
    support.make_event(status=EventStatus.UNMATCHED, session_public_id="5f0e3f7e-0000-4000-8000-000000000001")
    support.make_event(support.make_session(), status=EventStatus.FAILED, verdict="KeyError: 'x'")
    without_invoice = support.make_session(status=SessionStatus.PAID, attempt=AttemptStatus.PAID)
    support.make_payment(without_invoice, support.make_event(without_invoice, status=EventStatus.APPLIED))
    forgotten = support.make_session(support.make_order(alice), status=SessionStatus.PAID, attempt=AttemptStatus.PAID)
    support.make_payment(forgotten, support.make_event(forgotten, status=EventStatus.APPLIED))
    support.make_invoice(forgotten)
    support.make_order(email="waits@example.com", payment_status=PaymentStatus.PAID)
    support.make_session(attempt=AttemptStatus.UNKNOWN)
    support.make_session(at=now - timedelta(days=2))
    support.make_mail(status=MailStatus.FAILED)
    support.make_message()
    payment = support.make_payment(without_invoice, support.make_event(status=EventStatus.APPLIED), **SURPLUS)
    support.make_refund(payment, flag=RefundFlag.ELSEWHERE)
    support.make_dispute(payment)
    counts = read_work_list(at=now, kind=None).counts
    assert counts == {
        WorkKind.CONFLICT: 1, WorkKind.UNMATCHED: 1, WorkKind.PARKED: 1, WorkKind.NO_INVOICE: 1,
        WorkKind.NO_ORDER: 1, WorkKind.UNFULFILLED: 1, WorkKind.LATE: 2, WorkKind.MAIL: 1, WorkKind.EFFECT: 1,
        WorkKind.REFUND: 1, WorkKind.DISPUTE: 1,
        # These are filled by the tests of their rooms.
        WorkKind.PRODUCTION: 0, WorkKind.QUOTE: 0, WorkKind.CHANGE: 0,
    }  # fmt: skip
    text = page(office, "/admin")
    for words_of_a_queue in (
        "Money that does not fit 1", "Events without a payment 1", "Events that failed 1", "Paid without invoice 1",
        "Paid without order 1", "Paid, not delivered 1", "Payments without an end 2", "Failed mails 1",
        "Failed jobs 1", "Refunds to look at 1", "Disputes 1", "Everything 12",
    ):  # fmt: skip
        assert words_of_a_queue in text


def test_money_for_a_cancelled_order_is_on_the_list(app: Flask, alice: User) -> None:
    order = support.make_order(alice, status=OrderStatus.CANCELLED, payment_status=PaymentStatus.PAID)
    session = support.make_session(order, status=SessionStatus.PAID, attempt=AttemptStatus.PAID)
    support.make_payment(session, support.make_event(session, status=EventStatus.APPLIED))
    support.make_invoice(session)
    [item] = read_work_list(at=clock.now(), kind=None).page.rows
    assert (item.kind, item.detail) == (WorkKind.NO_ORDER, "cancelled")


def test_what_is_at_stake_is_what_came_not_what_was_asked_for(app: Flask) -> None:
    session = support.make_session(amount_minor=6900)
    event = support.make_event(session, status=EventStatus.CONFLICT, verdict="wrong_amount")
    support.make_payment(session, event, standing=support.Standing.SURPLUS, amount_minor=100)
    [item] = read_work_list(at=clock.now(), kind=None).page.rows
    assert item.amount == Money(100, "PLN")


def test_an_event_without_our_payment_tells_its_own_amount(app: Flask) -> None:
    support.make_event(status=EventStatus.UNMATCHED, amount_minor=12300, session_public_id="not-ours")
    [item] = read_work_list(at=clock.now(), kind=None).page.rows
    assert item.amount == Money(12300, "PLN")


@pytest.mark.parametrize("fact", [{"amount_minor": 5, "currency": "pln"}, {"amount_minor": 2**80, "currency": "PLN"}])
def test_an_amount_that_is_none_breaks_nothing(office: FlaskClient, fact: dict[str, object]) -> None:
    event = support.make_event(status=EventStatus.UNMATCHED, normalised=[{"outcome": "paid", **fact}])
    assert "Events without a payment 1" in page(office, "/admin")
    assert str(fact["amount_minor"]) in page(office, f"/admin/webhooks/{event.id}")


def test_a_long_queue_is_shown_in_pages_and_counted_to_a_limit(office: FlaskClient) -> None:
    with unit_of_work():
        db.session.add_all(
            OutboxMessage(
                topic="payment_session.check_requested", queue="webhooks", payload={}, attempts=12,
                status=MessageStatus.FAILED, available_at=clock.now(), created_at=clock.now(),
            )
            for _ in range(LIMIT + 5)
        )  # fmt: skip
    first = office.get("/admin")
    assert f"Failed jobs {LIMIT - 1}+" in words(first)
    assert len(rows(first)) == 25
    assert len(rows(office.get("/admin?before=75"))) == 25
    for nonsense in ("-1", "1e9", "999999", "x", "٣"):
        assert office.get(f"/admin?before={nonsense}&after={nonsense}&kind={nonsense}").status_code == 200


def test_one_queue_can_be_looked_at_alone(office: FlaskClient) -> None:
    support.make_conflict()
    support.make_message()
    assert rows(office.get("/admin?kind=effect")) == ["payment_session.check_requested"]
    assert "Nothing in this queue" in page(office, "/admin?kind=mail")


def test_the_list_costs_the_same_with_one_row_and_with_many(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    support.make_conflict()
    office.get("/admin")
    count_queries()
    office.get("/admin")
    with_one = count_queries()
    for _ in range(30):
        support.make_conflict()
        support.make_message()
    count_queries()
    office.get("/admin")
    assert count_queries() == with_one <= 3


def test_a_row_opens_in_the_side_panel_and_as_a_page(office: FlaskClient) -> None:
    event = support.make_conflict()
    address = f"/admin/webhooks/{event.id}"
    assert f'hx-get="{address}"' in office.get("/admin").get_data(as_text=True)
    panel = office.get(address, headers=FRAGMENT)
    assert panel.get_data(as_text=True).lstrip().startswith("<article")
    assert "<!doctype html>" in office.get(address).get_data(as_text=True)


def test_the_list_alone_is_sent_to_htmx(office: FlaskClient) -> None:
    support.make_conflict()
    fragment = office.get("/admin", headers=FRAGMENT).get_data(as_text=True)
    assert fragment.lstrip().startswith('<div id="results"')
    assert "<html" not in fragment


def test_the_button_of_a_row_does_it_and_comes_back(office: FlaskClient) -> None:
    event = support.make_event(status=EventStatus.FAILED, verdict="KeyError: 'x'", attempts=8)
    answer = post_form(office, f"/admin/webhooks/{event.id}/run-again", {"back": "work"}, page="/admin")
    assert answer.status_code == 303
    assert answer.location == "/admin"
    assert "All is well" in page(office, "/admin")
    assert db.session.get_one(ProviderEvent, event.id).status is EventStatus.PENDING


def test_the_buttons_of_all_rows_work(office: FlaskClient, alice: User) -> None:
    session = support.make_session(attempt=AttemptStatus.UNKNOWN)
    message = support.make_message()
    mail = support.make_mail(status=MailStatus.FAILED, template="account_set_up", user_id=alice.id)
    factories.make_user(email="waits@example.com", is_verified=False)
    order = support.make_order(email="waits@example.com", payment_status=PaymentStatus.PAID)
    for address in (
        f"/admin/payments/{session.public_id}/ask",
        f"/admin/jobs/{message.id}/run-again",
        f"/admin/mail/{mail.id}/again",
        f"/admin/orders/{order.number}/link",
    ):
        shown = office.get("/admin").get_data(as_text=True)
        assert f'action="{address}"' in shown
        assert post_form(office, address, {"back": "work"}, page="/admin").status_code == 303
    db.session.rollback()
    assert db.session.get_one(OutboxMessage, message.id).status is MessageStatus.PENDING
    assert db.session.get_one(MailMessage, mail.id).status is MailStatus.QUEUED
    assert db.session.scalars(db.select(MailMessage).where(MailMessage.to == "waits@example.com")).one()
    assert audited("payment_session.check_requested")[0].subject == f"payment_sessions:{session.id}"
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.PENDING
