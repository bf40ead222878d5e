"""An order that is paid in parts: they add up, each has its invoice, and the money goes back to where it came from."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.money import Money
from portal.orders.errors import OrderNotPayable
from portal.orders.models import Order, PaymentStatus
from portal.orders.services import placing
from portal.payments.models import Invoice, PaymentSession, SessionStatus
from portal.payments.refund_models import CreditNote, Refund, RefundStatus
from portal.payments.services.refunding import Wish, request_refund
from portal.payments.services.starting import start_attempt
from tests import invariants, sandbox
from tests.browser_like import csrf_token
from tests.crowd import all_at_once
from tests.factories import make_package
from tests.orders import shop


@pytest.fixture
def order(app: Flask, alice: User, login: Callable[[User], FlaskClient]) -> Order:
    """An order of 100.00 PLN at two tax rates, whose first payment was cancelled: nothing is under way."""
    browser = login(alice)
    packages = [
        make_package(slug="biuro", price_minor=6900, tax_rate_basis_points=2300),
        make_package(slug="ebook", price_minor=3100, tax_rate_basis_points=500),
    ]
    shop.ready(browser, *packages, email=alice.email)
    sent = shop.place(browser)
    sandbox.press(app.test_client(), sent.headers["Location"], "cancel")
    shop.work(app)
    return shop.only_order()


def asked(order: Order, amount_minor: int) -> PaymentSession:
    with unit_of_work():
        return placing.ask_for_part(again(order), amount_minor, at=clock.now())


def again(order: Order) -> Order:
    return db.session.get_one(Order, order.id, populate_existing=True)


def paid(app: Flask, session: PaymentSession) -> None:
    page = start_attempt(session.id, "sandbox", at=clock.now())
    assert sandbox.press(app.test_client(), page, "pay_card").status_code == 303
    shop.work(app)


def paid_part(app: Flask, order: Order, amount_minor: int) -> PaymentSession:
    session = asked(order, amount_minor)
    paid(app, session)
    return session


def rest(order: Order) -> PaymentSession:
    with unit_of_work():
        return placing.session_to_pay(again(order), at=clock.now())


def bills() -> list[list[tuple[int, int]]]:
    """What each invoice has at each tax rate, oldest first."""
    shop.look_again()
    invoices = db.session.scalars(select(Invoice).order_by(Invoice.id)).all()
    return [[(line.tax_rate_basis_points, line.gross_minor) for line in invoice.lines] for invoice in invoices]


def test_parts_add_up_to_paid(app: Flask, order: Order, alice: User) -> None:
    deposit = paid_part(app, order, 3000)
    found = again(order)
    assert (found.payment_status, found.paid_minor, found.paid_at) == (PaymentStatus.PARTIAL, 3000, None)
    assert shop.owned_by(alice.email) == {}
    last = rest(order)
    assert last.amount == Money(7000, "PLN")
    assert last.id != deposit.id
    paid(app, last)
    found = again(order)
    assert (found.payment_status, found.paid_minor) == (PaymentStatus.PAID, 10000)
    assert found.paid_at is not None
    assert shop.owned_by(alice.email) == {"biuro": 1, "ebook": 1}
    assert invariants.check(db.session) == []


@pytest.mark.parametrize("parts", [(3000, 7000), (1, 9999), (3333, 3333, 3334), (9999, 1), (7, 11, 13, 9969)])
def test_the_invoices_bill_each_rate_exactly(app: Flask, order: Order, parts: tuple[int, ...]) -> None:
    for amount_minor in parts:
        paid_part(app, order, amount_minor)
    billed = bills()
    assert [sum(gross for _rate, gross in bill) for bill in billed] == list(parts)
    assert sum(gross for bill in billed for rate, gross in bill if rate == 2300) == 6900
    assert sum(gross for bill in billed for rate, gross in bill if rate == 500) == 3100
    assert invariants.check(db.session) == []


def test_a_parts_invoice_says_so_in_the_buyers_language(app: Flask, order: Order) -> None:
    with unit_of_work():
        again(order).locale = "pl"
    paid_part(app, order, 3000)
    [invoice] = db.session.scalars(select(Invoice)).all()
    assert {line.description for line in invoice.lines} == {f"Płatność częściowa za zamówienie {order.number}"}
    assert (invoice.subject_number, invoice.locale) == (order.number, "pl")


def test_no_more_is_asked_for_than_is_left(app: Flask, order: Order) -> None:
    for amount_minor in (0, -1, 10001):
        with pytest.raises(OrderNotPayable):
            asked(order, amount_minor)
    paid_part(app, order, 4000)
    with pytest.raises(OrderNotPayable):
        asked(order, 6001)
    under_way = asked(order, 5000)
    with pytest.raises(OrderNotPayable):
        asked(order, 1000)
    assert rest(order).id == under_way.id
    paid(app, under_way)
    paid(app, rest(order))
    with pytest.raises(OrderNotPayable):
        rest(order)


def test_two_windows_ask_for_one_part(app: Flask, order: Order) -> None:
    order_id = order.id
    db.session.rollback()

    def ask() -> int:
        with unit_of_work():
            return placing.ask_for_part(db.session.get_one(Order, order_id), 3000, at=clock.now()).id

    answers = all_at_once(app, [ask] * 6)
    assert len([one for one in answers if isinstance(one, int)]) == 1
    assert {type(one) for one in answers} == {int, OrderNotPayable}


def give_back(app: Flask, order: Order, amount_minor: int | None) -> list[Refund]:
    ids = db.session.scalars(select(PaymentSession.id).where(PaymentSession.subject_id == order.id)).all()
    amount = Money(amount_minor, "PLN") if amount_minor is not None else None
    with unit_of_work():
        made = request_refund(
            Wish(tuple(ids), key=f"key-{amount_minor}-{len(ids)}", amount=amount), by="a", at=clock.now()
        )
        numbers = [one.id for one in made]
    shop.work(app)
    return list(db.session.scalars(select(Refund).where(Refund.id.in_(numbers)).order_by(Refund.id)))


def test_a_refund_is_spread_over_the_payments_it_came_from(app: Flask, order: Order, alice: User) -> None:
    paid_part(app, order, 3000)
    paid(app, rest(order))
    made = give_back(app, order, 4500)
    assert [(one.amount_minor, one.status) for one in made] == [
        (3000, RefundStatus.SUCCEEDED),
        (1500, RefundStatus.SUCCEEDED),
    ]
    assert len({one.payment_id for one in made}) == 2
    found = again(order)
    assert (found.payment_status, found.refunded_minor) == (PaymentStatus.PAID, 4500)
    # A free amount is no line, so nothing is locked again until all of it went back.
    assert shop.owned_by(alice.email) == {"biuro": 1, "ebook": 1}
    give_back(app, order, None)
    found = again(order)
    assert (found.payment_status, found.refunded_minor) == (PaymentStatus.REFUNDED, 10000)
    assert shop.owned_by(alice.email) == {}
    credited = db.session.scalars(select(CreditNote)).all()
    assert sum(note.gross_minor for note in credited) == 10000
    assert invariants.check(db.session) == []


def test_a_deposit_alone_goes_back(app: Flask, order: Order) -> None:
    paid_part(app, order, 3000)
    give_back(app, order, None)
    found = again(order)
    assert (found.payment_status, found.refunded_minor, found.paid_minor) == (PaymentStatus.REFUNDED, 3000, 3000)
    assert invariants.check(db.session) == []


def test_a_line_of_a_parts_invoice_takes_no_access(app: Flask, order: Order, alice: User) -> None:
    """It is named as the first of its invoice, and is not the first of the order."""
    paid_part(app, order, 3000)
    last = rest(order)
    paid(app, last)
    invoice = db.session.scalars(select(Invoice).where(Invoice.session_id == last.id)).one()
    with unit_of_work():
        wish = Wish((last.id,), key="by-line", line_ids=(invoice.lines[0].id,))
        request_refund(wish, by="a", at=clock.now())
    shop.work(app)
    assert again(order).refunded_minor == invoice.lines[0].gross_minor
    assert shop.owned_by(alice.email) == {"biuro": 1, "ebook": 1}
    assert invariants.check(db.session) == []


def test_the_customer_pays_the_rest_from_the_orders_page(
    app: Flask, order: Order, alice: User, login: Callable[[User], FlaskClient]
) -> None:
    paid_part(app, order, 3000)
    browser = login(alice)
    assert "Your part payment is here" in browser.get(f"/orders/{order.number}/return").text
    shown = browser.get(f"/orders/{order.number}").text.replace("\N{NO-BREAK SPACE}", " ")
    assert "PLN 30.00 is paid, PLN 70.00 is left." in shown
    token = csrf_token(browser, f"/orders/{order.number}/cancelled")
    sent = browser.post(f"/orders/{order.number}/pay", data={"csrf_token": token, "provider": "sandbox"})
    assert sent.status_code == 303
    assert db.session.scalars(select(PaymentSession.amount_minor).order_by(PaymentSession.id)).all()[-1] == 7000
    sandbox.press(app.test_client(), sent.headers["Location"], "pay_card")
    shop.work(app)
    assert again(order).payment_status is PaymentStatus.PAID
    statuses = db.session.scalars(select(PaymentSession.status).order_by(PaymentSession.id)).all()
    assert statuses == [SessionStatus.FAILED, SessionStatus.PAID, SessionStatus.PAID]
