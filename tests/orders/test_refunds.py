"""What becomes of an order whose money goes back: amounts, state, access, and what the customer sees."""

from collections.abc import Callable
from datetime import date

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core import clock, outbox
from portal.core import invariants as board
from portal.core.db import db, unit_of_work
from portal.core.invariants import AlreadyRight, Reach
from portal.core.money import Money
from portal.core.state import InvalidTransition, transition
from portal.orders.models import (
    PAYMENT_TRANSITIONS,
    Enrolment,
    EnrolmentGrant,
    LineReturn,
    Order,
    OrderStatus,
    PaymentStatus,
)
from portal.orders.services import mending
from portal.orders.services.fulfilling import claim_waiting_orders
from portal.payments.models import InvoiceLine, Payment
from portal.payments.providers.sandbox.models import SandboxCharge
from portal.payments.refund_models import CreditNote, Refund, RefundStatus
from portal.payments.services import refund_desk, refunding
from portal.payments.services.refunding import Wish
from portal.payments.services.returning import book_failure, lock_refund
from tests import factories, invariants, sandbox
from tests.orders import shop

BY = "admin@example.com"


def give(app: Flask, amount_minor: int | None = None, **values: object) -> Refund:
    """Give money of the only order back, as the worker does it."""
    shop.look_again()
    [session] = [one for one in shop.sessions() if one.paid_at is not None]
    amount = Money(amount_minor, session.currency) if amount_minor is not None else None
    key = f"key-{len(db.session.scalars(db.select(Refund)).all()):020d}"
    with unit_of_work():
        wish = Wish((session.id,), key=key, amount=amount, **values)  # type: ignore[arg-type]  # passed on
        [refund] = refunding.request_refund(wish, by=BY, at=clock.now())
    shop.work(app)
    return db.session.get_one(Refund, refund.id)


def comes_back(refund: Refund) -> None:
    """The bank sends a refund back after it had succeeded."""
    with unit_of_work():
        for charge in db.session.scalars(db.select(SandboxCharge)):
            charge.refunded_minor -= refund.amount_minor
        book_failure(lock_refund(refund.id), by="event:1", at=clock.now(), reason="the card is gone")
    shop.look_again()


def sound() -> list[str]:
    """What is wrong: as these tests see it, and as the portal's own board does, which would offer to mend it."""
    shown = [rule.name for rule in board.invariants() if rule.find(Reach(clock.now()))]
    return invariants.check(db.session()) + shown


def line_ids() -> list[int]:
    return list(db.session.scalars(db.select(InvoiceLine.id).order_by(InvoiceLine.position)))


@pytest.fixture
def two() -> list[Package]:
    """Two packages on the shelf."""
    return [factories.make_package(slug="one"), factories.make_package(slug="two", price_minor=3100)]


@pytest.fixture
def bought(app: Flask, login: Callable[[User], FlaskClient], alice: User, two: list[Package]) -> FlaskClient:
    """Alice has bought both."""
    browser = login(alice)
    shop.buy(app, browser, *two, email=alice.email)
    return browser


@pytest.mark.usefixtures("bought")
def test_everything_back_takes_the_access_too(app: Flask, alice: User) -> None:
    assert shop.owned_by(alice.email) == {"one": 1, "two": 1}
    assert give(app).status is RefundStatus.SUCCEEDED
    order = shop.only_order()
    assert (order.payment_status, order.status) == (PaymentStatus.REFUNDED, OrderStatus.FULFILLED)
    assert order.refunded_minor == order.paid_minor == 10000
    assert shop.owned_by(alice.email) == {}
    assert sound() == []


@pytest.mark.usefixtures("bought")
def test_access_may_stay(app: Flask, alice: User) -> None:
    give(app, keeps_access=True)
    assert shop.owned_by(alice.email) == {"one": 1, "two": 1}
    assert shop.only_order().payment_status is PaymentStatus.REFUNDED
    assert sound() == []


@pytest.mark.usefixtures("bought")
def test_a_part_leaves_the_order_paid(app: Flask, alice: User) -> None:
    give(app, 100)
    order = shop.only_order()
    assert (order.payment_status, order.refunded_minor) == (PaymentStatus.PAID, 100)
    assert shop.owned_by(alice.email) == {"one": 1, "two": 1}
    give(app, 9900)
    assert shop.only_order().payment_status is PaymentStatus.REFUNDED
    assert shop.owned_by(alice.email) == {}
    assert sound() == []


@pytest.mark.usefixtures("bought")
def test_a_line_takes_its_own_access(app: Flask, alice: User) -> None:
    give(app, line_ids=(line_ids()[1],))
    assert shop.owned_by(alice.email) == {"one": 1}
    assert (shop.only_order().payment_status, shop.only_order().refunded_minor) == (PaymentStatus.PAID, 3100)
    give(app)
    assert shop.owned_by(alice.email) == {}
    assert sound() == []


@pytest.mark.usefixtures("bought")
def test_what_went_back_is_not_given_again_as_if_it_were_missing(app: Flask, alice: User) -> None:
    give(app, line_ids=(line_ids()[1],))
    with pytest.raises(AlreadyRight), unit_of_work():
        mending.enrol_missing(shop.only_order().id, by=BY, at=clock.now())
    assert shop.owned_by(alice.email) == {"one": 1}
    # Nor together with what is missing indeed.
    with unit_of_work():
        db.session.execute(db.delete(EnrolmentGrant))
        db.session.execute(db.delete(Enrolment))
    assert sound() != []
    with unit_of_work():
        mending.enrol_missing(shop.only_order().id, by=BY, at=clock.now())
    assert shop.owned_by(alice.email) == {"one": 1}
    assert sound() == []


@pytest.mark.usefixtures("bought")
def test_what_comes_back_brings_everything_back(app: Flask, alice: User) -> None:
    refund = give(app)
    comes_back(refund)
    order = shop.only_order()
    assert (order.payment_status, order.refunded_minor) == (PaymentStatus.PAID, 0)
    assert shop.owned_by(alice.email) == {"one": 1, "two": 1}
    assert sound() == []
    # And it can be given once more, with the access.
    give(app)
    assert shop.owned_by(alice.email) == {}
    assert sound() == []


@pytest.mark.usefixtures("bought")
def test_a_line_that_went_by_itself_stays_gone_when_another_part_comes_back(app: Flask, alice: User) -> None:
    give(app, line_ids=(line_ids()[1],))
    rest = give(app)
    assert shop.owned_by(alice.email) == {}
    comes_back(rest)
    assert shop.owned_by(alice.email) == {"one": 1}
    assert sound() == []


def test_licences_of_another_order_stay(app: Flask, bought: FlaskClient, alice: User, two: list[Package]) -> None:
    shop.ready(bought, two[0], email=alice.email)
    page = shop.place(bought).headers["Location"]
    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    assert shop.owned_by(alice.email) == {"one": 2, "two": 1}
    first = shop.sessions()[0]
    with unit_of_work():
        refunding.request_refund(Wish((first.id,), key="x" * 20), by=BY, at=clock.now())
    shop.work(app)
    assert shop.owned_by(alice.email) == {"one": 1}
    assert [order.payment_status for order in shop.orders()] == [PaymentStatus.REFUNDED, PaymentStatus.PAID]
    assert sound() == []


def test_a_bundle_goes_with_all_it_holds(app: Flask, login: Callable[[User], FlaskClient], alice: User) -> None:
    children = [factories.make_package(slug="a"), factories.make_package(slug="b")]
    bundle = factories.make_package(slug="bundle", children=children)
    shop.buy(app, login(alice), bundle, email=alice.email)
    assert set(shop.owned_by(alice.email)) == {"a", "b"}
    give(app)
    assert shop.owned_by(alice.email) == {}
    assert sound() == []


def test_what_waits_for_its_owner_is_not_handed_over_any_more(app: Flask, client: FlaskClient) -> None:
    """The buyer's address belongs to an account nobody has proven; a line goes back before it is claimed."""
    owner = factories.make_user(email="guest@example.com", is_verified=False)
    one, two = factories.make_package(slug="one"), factories.make_package(slug="two")
    order = shop.buy(app, client, one, two)
    assert order.status is OrderStatus.OPEN
    give(app, line_ids=(line_ids()[0],))
    with unit_of_work():
        claim_waiting_orders(db.session.get_one(User, owner.id), at=clock.now())
    assert shop.owned_by(owner.email) == {"two": 1}
    assert shop.only_order().status is OrderStatus.FULFILLED
    assert sound() == []


def test_an_order_that_went_back_whole_is_never_claimed(app: Flask, client: FlaskClient) -> None:
    owner = factories.make_user(email="guest@example.com", is_verified=False)
    shop.buy(app, client, factories.make_package(slug="one"))
    give(app)
    with unit_of_work():
        claim_waiting_orders(db.session.get_one(User, owner.id), at=clock.now())
    assert shop.owned_by(owner.email) == {}
    assert sound() == []


def test_the_customer_sees_what_went_back(app: Flask, bought: FlaskClient, alice: User) -> None:
    number = shop.only_order().number
    assert "Money back" not in bought.get(f"/orders/{number}").get_data(as_text=True)
    give(app, 1000)
    note = db.session.scalars(db.select(CreditNote)).one()
    text = shop.page_text(bought.get(f"/orders/{number}"))
    for part in ("Money back", "Given back", note.number, "10.00"):
        assert part in text, part
    outbox.drain("mail")
    [letter] = [one for one in shop.letters() if "given back" in str(one["Subject"])]
    assert letter["To"] == alice.email
    assert [part.get_filename() for part in letter.iter_attachments()] == [f"{note.number}.pdf"]


def test_a_failed_refund_is_not_shown_to_the_customer(app: Flask, bought: FlaskClient) -> None:
    number = shop.only_order().number
    comes_back(give(app, 1000))
    assert "Money back" not in bought.get(f"/orders/{number}").get_data(as_text=True)


@pytest.mark.usefixtures("bought")
def test_by_hand_counts_for_the_order_only_when_it_was_given(app: Flask) -> None:
    with unit_of_work():
        payment = db.session.scalars(db.select(Payment)).one()
        payment.provider = "switched_off"
    refund = give(app, 1000)
    assert (refund.status, shop.only_order().refunded_minor) == (RefundStatus.REQUESTED, 0)
    with unit_of_work():
        refund_desk.note_given(
            refund.id, reference="BANK 1", given_on=date(2026, 11, 20), note="", by=BY, at=clock.now()
        )
    assert shop.only_order().refunded_minor == 1000


@pytest.mark.usefixtures("bought")
def test_a_return_is_written_down_with_its_refund(app: Flask) -> None:
    refund = give(app)
    returns = db.session.scalars(db.select(LineReturn).order_by(LineReturn.id)).all()
    assert [(one.refund_id, one.had_access, one.is_named, one.restored_at) for one in returns] == [
        (refund.id, True, False, None)
    ] * 2


@pytest.mark.usefixtures("bought")
def test_every_pair_of_payment_states_is_an_arrow_or_refused() -> None:
    order = shop.only_order()
    for was in PaymentStatus:
        for to in PaymentStatus:
            with unit_of_work():
                row = db.session.get_one(Order, order.id, populate_existing=True)
                db.session.execute(db.update(Order).where(Order.id == order.id).values(payment_status=was))
                db.session.refresh(row)
                if to in PAYMENT_TRANSITIONS.get(was, frozenset()):
                    transition(row, to, by=BY, at=clock.now(), column="payment_status")
                    assert row.payment_status is to
                else:
                    with pytest.raises(InvalidTransition):
                        transition(row, to, by=BY, at=clock.now(), column="payment_status")
