"""Orders: finding them, one with everything about it, and what staff can do."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage, MailStatus
from portal.core.state import history
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.payments.models import AttemptStatus, PaymentAttempt, PaymentSession, SessionStatus
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form


def _order(number: str) -> Order:
    db.session.rollback()
    return db.session.scalars(db.select(Order).where(Order.number == number)).one()


def test_orders_are_listed_newest_first_in_pages(office: FlaskClient, alice: User) -> None:
    numbers = [support.make_order(alice).number for _ in range(30)]
    first = office.get("/admin/orders")
    assert rows(first) == numbers[:4:-1]
    assert 'rel="next"' in first.get_data(as_text=True)
    oldest = db.session.scalars(db.select(Order.id).where(Order.number == numbers[5])).one()
    assert rows(office.get(f"/admin/orders?before={oldest}")) == numbers[4::-1]


@pytest.mark.parametrize(
    "query",
    ["ORD-20260121-ZZ99", "ord-20260121-zz", "zuzanna@shop.example", "ZUZANNA@", "zuzanna", "Żółć", "żółć zuzanna"],
)
def test_an_order_is_found_by_number_address_and_name(office: FlaskClient, query: str) -> None:
    support.make_order(number="ORD-20260121-ZZ99", email="zuzanna@shop.example", name="Zuzanna Żółć")
    support.make_order(number="ORD-20260121-AA11", email="adam@shop.example", name="Adam Nowak")
    assert rows(office.get("/admin/orders", query_string={"q": query})) == ["ORD-20260121-ZZ99"]


@pytest.mark.parametrize("query", ["%", "_", "ORD-%", "a%@", "\\", "'--", "\x00"])
def test_signs_of_the_query_language_are_letters_like_others(office: FlaskClient, query: str) -> None:
    support.make_order(number="ORD-20260121-AA11", email="adam@shop.example", name="Adam Nowak")
    found = rows(office.get("/admin/orders", query_string={"q": query}))
    # A control character is dropped, so nothing was asked for; the others stand in no order.
    assert found == (["ORD-20260121-AA11"] if query == "\x00" else [])


def test_orders_are_filtered(office: FlaskClient, alice: User) -> None:
    now = clock.now()
    old = support.make_order(alice, at=now - timedelta(days=40)).number
    paid = support.make_order(alice, status=OrderStatus.FULFILLED, payment_status=PaymentStatus.PAID).number
    cancelled = support.make_order(alice, status=OrderStatus.CANCELLED).number
    assert rows(office.get("/admin/orders?payment=paid")) == [paid]
    assert rows(office.get("/admin/orders?status=cancelled")) == [cancelled]
    assert rows(office.get("/admin/orders?status=open&payment=pending")) == [old]
    day = (now - timedelta(days=20)).date()
    assert rows(office.get(f"/admin/orders?to={day}")) == [old]
    assert rows(office.get(f"/admin/orders?from={day}")) == [cancelled, paid]
    assert "Nothing fits these filters" in page(office, "/admin/orders?status=open&payment=paid")


def test_the_list_costs_the_same_with_one_row_and_with_a_hundred(
    office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    support.make_order(alice)
    count_queries()
    office.get("/admin/orders?q=alice")
    with_one = count_queries()
    for _ in range(99):
        support.make_order(alice)
    count_queries()
    office.get("/admin/orders?q=alice")
    assert count_queries() == with_one <= 4


def test_an_order_shows_everything_about_it(office: FlaskClient, alice: User) -> None:
    package = factories.make_package(name="Sales Automation")
    order = support.make_paid_order(alice, package=package)
    support.make_mail(alice.email, subject="Thank you", order_id=order.id)
    support.make_mail(alice.email, subject="About another order", order_id=order.id + 1)
    text = page(office, f"/admin/orders/{order.number}")
    for part in ("Sales Automation", "PLN 69.00", alice.email, "Invoice INV-2026-", "sandbox", "Placed", "Fulfilled"):
        assert part in text
    assert text.count("Send again") == 1
    panel = office.get(f"/admin/orders/{order.number}", headers=FRAGMENT)
    assert panel.get_data(as_text=True).lstrip().startswith("<article")


def test_an_order_costs_the_same_however_much_happened_to_it(
    office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    order = support.make_paid_order(alice)
    support.make_mail(alice.email, order_id=order.id)
    count_queries()
    office.get(f"/admin/orders/{order.number}")
    with_little = count_queries()
    for _ in range(20):
        session = support.make_session(order, status=SessionStatus.FAILED, attempt=AttemptStatus.FAILED)
        support.make_event(session)
        support.make_mail(alice.email, order_id=order.id)
    count_queries()
    office.get(f"/admin/orders/{order.number}")
    assert count_queries() == with_little <= 12


@pytest.mark.parametrize("number", ["ORD-NOPE", "%00", "x" * 500, "ORD-20260121-0001%27--"])
def test_an_unknown_order_is_not_found(office: FlaskClient, number: str) -> None:
    assert office.get(f"/admin/orders/{number}").status_code == 404
    assert office.get(f"/admin/orders/{number}", headers=FRAGMENT).status_code == 404


def test_cancelling_closes_the_order_and_its_payment(office: FlaskClient, alice: User, staff: User) -> None:
    order = support.make_order(alice)
    session = support.make_session(order, attempt=None, status=SessionStatus.CREATED)
    address = f"/admin/orders/{order.number}"
    answer = post_form(office, f"{address}/cancel", page=address)
    assert (answer.status_code, answer.location) == (303, address)
    cancelled = _order(order.number)
    assert cancelled.status is OrderStatus.CANCELLED
    assert [change.actor for change in history(cancelled)] == [staff.email]
    [line] = audited("order.cancelled")
    assert (line.actor, line.subject) == (staff.email, f"orders:{order.id}")
    # The worker that asks the providers finds nothing to wait for, and ends the payment.
    outbox.drain("webhooks")
    db.session.rollback()
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.FAILED
    assert "Cancelled" in page(office, address)


def test_cancelling_twice_is_told_how_it_stands(office: FlaskClient, alice: User) -> None:
    address = f"/admin/orders/{support.make_order(alice).number}"
    assert post_form(office, f"{address}/cancel", page=address).status_code == 303
    second = post_form(office, f"{address}/cancel", page=address)
    assert second.status_code == 409
    assert "can no longer be cancelled" in words(second)
    assert "Cancelled" in words(second)
    assert len(audited("order.cancelled")) == 1


@pytest.mark.parametrize(
    ("status", "payment_status"),
    [
        (OrderStatus.OPEN, PaymentStatus.PAID),
        (OrderStatus.OPEN, PaymentStatus.PARTIAL),
        (OrderStatus.FULFILLED, PaymentStatus.PAID),
        (OrderStatus.FULFILLED, PaymentStatus.REFUNDED),
        (OrderStatus.CANCELLED, PaymentStatus.PENDING),
    ],
)
def test_only_an_unpaid_open_order_can_be_cancelled(
    office: FlaskClient, alice: User, status: OrderStatus, payment_status: PaymentStatus
) -> None:
    order = support.make_order(alice, status=status, payment_status=payment_status)
    address = f"/admin/orders/{order.number}"
    assert f"{address}/cancel" not in office.get(address).get_data(as_text=True)
    assert post_form(office, f"{address}/cancel", page=address).status_code == 409
    now = _order(order.number)
    assert (now.status, now.payment_status) == (status, payment_status)


def test_cancelling_in_the_side_panel_shows_the_panel_afresh(office: FlaskClient, alice: User) -> None:
    address = f"/admin/orders/{support.make_order(alice).number}"
    answer = post_form(office, f"{address}/cancel", page=address, htmx=True)
    body = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert body.lstrip().startswith("<article")
    assert "The order is cancelled." in words(answer)
    raced = post_form(office, f"{address}/cancel", page=address, htmx=True)
    assert raced.status_code == 409
    assert raced.get_data(as_text=True).lstrip().startswith("<article")


def test_asking_the_provider_asks_once_however_often_it_is_clicked(office: FlaskClient, alice: User) -> None:
    order = support.make_order(alice)
    support.make_session(order)
    address = f"/admin/orders/{order.number}"
    for _ in range(2):
        assert post_form(office, f"{address}/ask", page=address).status_code == 303
    assert len(audited("payment_session.check_requested")) == 2


def test_there_is_nobody_to_ask_about_a_finished_payment(office: FlaskClient, alice: User) -> None:
    address = f"/admin/orders/{support.make_paid_order(alice).number}"
    answer = post_form(office, f"{address}/ask", page=address)
    assert answer.status_code == 409
    assert "nothing to ask" in words(answer)


def test_a_mail_of_the_order_is_sent_again(app: Flask, office: FlaskClient, alice: User) -> None:
    order = support.make_paid_order(alice)
    message = support.make_mail(alice.email, order_id=order.id)
    strangers = support.make_mail("bob@example.com", order_id=order.id)
    address = f"/admin/orders/{order.number}"
    assert post_form(office, f"{address}/mails/{message.id}", page=address).status_code == 303
    assert post_form(office, f"{address}/mails/{message.id}", page=address).status_code == 409
    assert post_form(office, f"{address}/mails/{strangers.id}", page=address).status_code == 404
    db.session.rollback()
    again = db.session.get_one(MailMessage, message.id)
    assert (again.status, again.sending) == (MailStatus.QUEUED, 2)
    assert [line.subject for line in audited("mail.sent_again")] == [f"mail_messages:{message.id}"]


def test_a_waiting_buyer_gets_the_link_again(office: FlaskClient) -> None:
    factories.make_user(email="waits@example.com", is_verified=False)
    order = support.make_order(email="waits@example.com", payment_status=PaymentStatus.PAID)
    address = f"/admin/orders/{order.number}"
    assert "waits until the buyer has opened the link" in page(office, address)
    assert post_form(office, f"{address}/link", page=address).status_code == 303
    [message] = db.session.scalars(db.select(MailMessage))
    assert (message.to, message.template) == ("waits@example.com", "account_set_up")


def test_a_buyer_without_an_account_cannot_be_sent_a_link(office: FlaskClient) -> None:
    address = f"/admin/orders/{support.make_order(email='nobody@example.com').number}"
    answer = post_form(office, f"{address}/link", page=address)
    assert answer.status_code == 409
    assert "no account that waits for its owner" in words(answer)


def test_an_answer_that_never_came_is_shown_with_its_reason(office: FlaskClient, alice: User) -> None:
    order = support.make_order(alice)
    session = support.make_session(order, attempt=AttemptStatus.UNKNOWN)
    attempt = db.session.scalars(db.select(PaymentAttempt).where(PaymentAttempt.session_id == session.id)).one()
    with unit_of_work():
        attempt.error = "the provider hung up <b>"
    assert "the provider hung up <b>" in page(office, f"/admin/orders/{order.number}")
