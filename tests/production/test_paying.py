"""Paying for printed parts: in full or in two parts, with the paper for each, and money that goes back."""

from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.money import Money, tax_included
from portal.orders.errors import OrderNotPayable
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.tracking import truth_about
from portal.payments import queries
from portal.payments.errors import MoneyInDispute
from portal.payments.invoice_paper import lay_out
from portal.payments.models import Invoice, Payment, PaymentSession, SessionStatus, Standing
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.refund_models import Refund, RefundStatus
from portal.payments.services import draining, refunding
from portal.payments.services.accepting import store_event
from portal.payments.services.refunding import Wish
from portal.payments.services.sessions import fail_session
from portal.production.errors import NeedsAdministrator, NotCancellable
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services import cancelling
from portal.production.services.amounts import share_minor
from tests import invariants
from tests.crowd import all_at_once
from tests.orders import shop
from tests.production import factories
from tests.production.factories import BY, Item, make_sales_order, open_payment, pay_next, reloaded

_S = SalesOrderStatus


def order_of(sales_order: SalesOrder) -> Order:
    factories.look_again()
    return db.session.get_one(Order, sales_order.order_id)


def invoices() -> list[Invoice]:
    factories.look_again()
    return list(db.session.scalars(select(Invoice).order_by(Invoice.id)))


def sound() -> list[str]:
    return invariants.check(db.session())


def test_paid_in_full_at_once(app: Flask, alice: User) -> None:
    one = make_sales_order(alice)
    assert open_payment(one).amount_minor == 6000
    pay_next(app, one)
    order = order_of(one)
    assert (order.payment_status, order.paid_minor, order.status) == (PaymentStatus.PAID, 6000, OrderStatus.OPEN)
    assert reloaded(one).status is _S.CONFIRMED
    assert reloaded(one).confirmed_at is not None
    [invoice] = invoices()
    assert [(line.quantity, line.unit_gross_minor) for line in invoice.lines] == [(2, 2500), (1, 1000)]
    assert lay_out(invoice).notes[0] == "Paid in full. Nothing is left to pay."
    assert sound() == []


def test_a_deposit_and_the_rest_add_up(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, Item(quantity=3, unit_minor=3333), pays_deposit=True)
    first = pay_next(app, one)
    order = order_of(one)
    assert (first.amount_minor, order.paid_minor, order.payment_status) == (5500, 5500, PaymentStatus.PARTIAL)
    assert (order.paid_at, order.is_payable, order.rest_minor) == (None, True, 5499)
    assert reloaded(one).status is _S.CONFIRMED
    second = pay_next(app, one)
    order = order_of(one)
    assert (second.amount_minor, order.paid_minor, order.payment_status) == (5499, 10999, PaymentStatus.PAID)
    assert order.paid_at is not None
    assert not order.is_payable
    with pytest.raises(OrderNotPayable):
        open_payment(one)
    assert sound() == []


def test_each_payment_has_its_invoice_and_together_they_are_the_order(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, Item(quantity=3, unit_minor=3333), pays_deposit=True, app=app, paid=2)
    order = order_of(one)
    papers = invoices()
    assert [paper.gross_minor for paper in papers] == [5500, 5499]
    for paper in papers:
        [line] = paper.lines
        assert order.number in line.description
        assert line.tax_minor == tax_included(paper.gross_minor, 2300)
        assert paper.subject_number == order.number
    deposit, final = papers
    assert deposit.gross_minor + final.gross_minor == order.total_minor
    assert lay_out(deposit).notes[0] == "This is a payment in advance. Left to pay of the order: PLN\u00a054.99."
    assert lay_out(final).notes[0] == "Paid in full. Nothing is left to pay."


def test_the_papers_can_be_printed(app: Flask, alice: User) -> None:
    from portal.payments.invoices import pdf

    make_sales_order(alice, pays_deposit=True, app=app, paid=2)
    assert all(pdf(one).startswith(b"%PDF") for one in invoices())


@pytest.mark.parametrize(
    ("total", "basis_points", "share"), [(100, 5000, 50), (101, 5000, 51), (1, 5000, 1), (3, 1, 1)]
)
def test_a_share_is_rounded_half_up_and_never_nothing(total: int, basis_points: int, share: int) -> None:
    assert share_minor(total, basis_points) == share


def test_the_return_page_speaks_of_the_payment_under_way(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=1)
    assert truth_about(order_of(one), at=clock.now()).session is None
    rest = open_payment(one)
    truth = truth_about(order_of(one), at=clock.now())
    assert truth.session is not None
    assert (truth.session.id, truth.is_applied, truth.is_paid) == (rest.id, False, False)
    with unit_of_work():
        fail_session(db.session.get_one(PaymentSession, rest.id), by="test", at=clock.now(), reason="declined")
    assert truth_about(order_of(one), at=clock.now()).is_failed
    assert open_payment(one).amount_minor == 3000


def test_two_windows_pay_the_rest_with_one_payment(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=1)

    def pay() -> int:
        return open_payment(one).id

    assert len(set(all_at_once(app, [pay] * 8))) == 1


def second_payment_of(session: PaymentSession, amount_minor: int | None = None) -> None:
    """The provider tells of money for a session that has its money already, or of another amount."""
    fact = NormalisedEvent(
        outcome=Outcome.PAID, session_id=session.public_id, payment_reference=f"again_{session.id}",
        business_key=f"again:{session.id}", amount_minor=amount_minor or session.amount_minor, currency="PLN",
        is_test=True,
    )  # fmt: skip
    store_event("sandbox", ParsedWebhook(f"evt_{session.id}", "paid", (fact,)), "{}", source="webhook", at=clock.now())
    draining.drain_inbox()
    factories.look_again()


def test_too_much_is_kept_apart(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True)
    deposit = pay_next(app, one)
    second_payment_of(deposit)
    assert order_of(one).paid_minor == 3000
    standings = list(db.session.scalars(select(Payment.standing).order_by(Payment.id)))
    assert standings == [Standing.COUNTED, Standing.SURPLUS]
    assert open_payment(one).amount_minor == 3000


def test_one_cent_short_is_kept_apart(app: Flask, alice: User) -> None:
    one = make_sales_order(alice)
    second_payment_of(open_payment(one), 5999)
    order = order_of(one)
    assert (order.paid_minor, order.payment_status) == (0, PaymentStatus.PENDING)
    assert reloaded(one).status is _S.PENDING
    assert db.session.scalars(select(Payment)).one().surplus_reason == "wrong_amount"


def give(app: Flask, one: SalesOrder, **wish: Any) -> list[Refund]:
    sessions = tuple(session.id for session in queries.sessions_of("order", one.order_id))
    with unit_of_work():
        made = refunding.request_refund(Wish(sessions, key="k" * 20 + str(wish), **wish), by=BY, at=clock.now())
    shop.work(app)
    return [db.session.get_one(Refund, refund.id) for refund in made]


def test_an_amount_is_spread_over_both_payments(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=2)
    refunds = give(app, one, amount=Money(4000, "PLN"))
    assert [(refund.amount_minor, refund.status) for refund in refunds] == [
        (3000, RefundStatus.SUCCEEDED),
        (1000, RefundStatus.SUCCEEDED),
    ]
    assert (order_of(one).refunded_minor, order_of(one).payment_status) == (4000, PaymentStatus.PAID)
    assert sound() == []
    give(app, one)
    assert order_of(one).payment_status is PaymentStatus.REFUNDED
    assert sound() == []


def test_the_line_of_a_part_can_be_given_back(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=2)
    [refund] = give(app, one, line_ids=(invoices()[1].lines[0].id,))
    assert (refund.amount_minor, refund.status) == (3000, RefundStatus.SUCCEEDED)
    assert sound() == []


def test_lines_of_an_order_paid_at_once_are(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    [refund] = give(app, one, line_ids=(invoices()[0].lines[1].id,))
    assert (refund.amount_minor, refund.status) == (1000, RefundStatus.SUCCEEDED)
    assert sound() == []


def cancel(one: SalesOrder, *, may_give_back: bool = True, by: str = BY) -> list[Refund]:
    with unit_of_work():
        return cancelling.cancel(one, reason="Not needed", by=by, at=clock.now(), may_give_back=may_give_back)


@pytest.mark.parametrize("status", cancelling.CANCELLABLE)
def test_cancelling_gives_everything_back_where_it_came_from(app: Flask, alice: User, status: SalesOrderStatus) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=2)
    if status is _S.ON_HOLD:
        factories.bring_to(one, status)
    preview = [back.amount.amount_minor for back in cancelling.what_goes_back(order_of(one))]
    assert preview == [3000, 3000]
    assert [refund.amount_minor for refund in cancel(one)] == preview
    shop.work(app)
    order = order_of(one)
    assert (order.status, order.payment_status, order.refunded_minor) == (
        OrderStatus.CANCELLED,
        PaymentStatus.REFUNDED,
        6000,
    )
    assert (reloaded(one).status, reloaded(one).held_from) == (_S.CANCELLED, None)
    assert cancelling.what_goes_back(order) == []
    assert sound() == []


def test_cancelling_an_unpaid_order_closes_its_payment(app: Flask, alice: User) -> None:
    one = make_sales_order(alice)
    session = open_payment(one)
    assert cancel(one, may_give_back=False) == []
    shop.work(app)
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.FAILED
    assert order_of(one).status is OrderStatus.CANCELLED
    with pytest.raises(OrderNotPayable):
        open_payment(one)
    assert sound() == []


def test_staff_without_the_right_give_no_money_back(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    with pytest.raises(NeedsAdministrator):
        cancel(one, may_give_back=False)
    assert reloaded(one).status is _S.CONFIRMED
    assert db.session.scalars(select(Refund)).all() == []


def test_a_disputed_payment_keeps_the_order_as_it_is(app: Flask, alice: User) -> None:
    from tests.admin.support import make_dispute

    one = make_sales_order(alice, app=app, paid=1)
    make_dispute(db.session.scalars(select(Payment)).one())
    with pytest.raises(MoneyInDispute):
        cancel(one)
    assert (reloaded(one).status, order_of(one).status) == (_S.CONFIRMED, OrderStatus.OPEN)


def test_the_customer_cancels_until_production_begins(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    factories.bring_to(one, _S.ON_HOLD)
    with pytest.raises(NotCancellable), unit_of_work():
        cancelling.cancel_as_customer(one, reason="Not needed", by=alice.email, at=clock.now())
    from portal.production.services import lifecycle

    with unit_of_work():
        lifecycle.resume(one, by=BY, at=clock.now())
    with unit_of_work():
        cancelling.cancel_as_customer(one, reason="Not needed", by=alice.email, at=clock.now())
    shop.work(app)
    assert order_of(one).payment_status is PaymentStatus.REFUNDED
    assert sound() == []


def test_only_one_of_many_cancellations_gives_money_back(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, paid=1)
    found = all_at_once(app, [lambda: len(cancel(db.session.get_one(SalesOrder, one.id)))] * 8)
    assert found.count(1) == 1
    assert [type(other) for other in found if other != 1] == [NotCancellable] * 7
    factories.look_again()
    assert len(db.session.scalars(select(Refund)).all()) == 1


def test_money_for_a_cancelled_order_is_shown_to_staff(app: Flask, alice: User) -> None:
    """The buyer was on the provider's page when the order was called off, and was faster than its closing."""
    from portal.core.invariants import Reach
    from portal.orders.invariants import cancelled_and_paid

    one = make_sales_order(alice, app=app, paid=1)
    cancel(one)
    # Its refund is on the way, and until it is there the books say so.
    assert [breach.name for breach in cancelled_and_paid(Reach(clock.now()))] == [order_of(one).number]
    shop.work(app)
    assert cancelled_and_paid(Reach(clock.now())) == []


def text_of(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\u00a0", " ")


def test_receipts_tell_what_is_left(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True, app=app, paid=1)
    shop.work(app, with_mail=True)
    [letter] = shop.letters()
    assert letter["Subject"] == f"We have your payment for order {order_of(one).number}"
    text = text_of(letter)
    assert "Left to pay: PLN 30.00" in text
    assert "Paid now: PLN 30.00" in text
    [attached] = list(letter.iter_attachments())
    assert attached.get_filename() == f"{invoices()[0].number}.pdf"


def test_every_step_can_be_mailed(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, status=_S.CONFIRMED, paid=0)
    pay_next(app, one)
    factories.bring_to(one, _S.DELIVERED)
    cancel(make_sales_order(alice, app=app, paid=1))
    shop.work(app, with_mail=True)
    subjects = [letter["Subject"] for letter in shop.letters()]
    for words in ("is confirmed", "are being made", "have arrived", "is cancelled"):
        assert len([subject for subject in subjects if words in subject]) == 1, subjects
    cancelled = next(letter for letter in shop.letters() if "is cancelled" in letter["Subject"])
    assert "PLN 60.00" in text_of(cancelled)
    failed = select(MailMessage.template).where(MailMessage.status == "failed")
    assert list(db.session.scalars(failed)) == []


def test_no_deposit_where_the_business_wants_none(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "SETTINGS", replace(app.config["SETTINGS"], deposit_percent=30))
    one = make_sales_order(alice, pays_deposit=True)
    assert open_payment(one).amount_minor == 1800
