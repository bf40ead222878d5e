"""What a payment unlocks: the customer, the enrolments, the invoice and the mails, together or not at all."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import Role, TokenPurpose, User
from portal.accounts.services import verify_address
from portal.accounts.services.tokens import issue_token
from portal.catalogue import services as catalogue
from portal.core import clock, faults, state
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.orders import queries
from portal.orders.models import Enrolment, EnrolmentGrant, Order, OrderStatus, PaymentStatus
from portal.orders.services import fulfilling
from portal.payments.models import Invoice, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.services import draining
from tests import sandbox
from tests.crowd import all_at_once
from tests.factories import make_package, make_user
from tests.orders import shop

GUEST = shop.BUYER["email"]


def mails() -> list[tuple[str, str]]:
    """What was written to whom, oldest first."""
    shop.look_again()
    return [(row.template, row.to) for row in db.session.scalars(select(MailMessage).order_by(MailMessage.id))]


def user_of(email: str) -> User:
    shop.look_again()
    return db.session.scalars(select(User).where(User.email == email)).one()


def verify(user: User) -> None:
    """What happens when the owner of an address follows the mailed link."""
    with unit_of_work():
        token = issue_token(user, TokenPurpose.VERIFY_EMAIL, at=clock.now())
    with unit_of_work():
        verify_address(token, at=clock.now())


def test_a_new_customer_gets_an_account_the_package_and_two_mails(app: Flask, client: FlaskClient) -> None:
    package = make_package(slug="biuro", name="Biuro")
    order = shop.buy(app, client, package)
    user = user_of(GUEST)
    assert (user.role, user.password_hash, user.is_verified) == (Role.PAID, None, False)
    assert user.name == "Maria Wiśniewska"
    assert (order.user_id, order.status, order.payment_status) == (user.id, OrderStatus.FULFILLED, PaymentStatus.PAID)
    assert order.paid_minor == order.total_minor
    assert order.paid_at is not None
    assert shop.owned_by(GUEST) == {"biuro": 1}
    invoice = db.session.scalars(select(Invoice)).one()
    assert (invoice.user_id, invoice.subject_number, invoice.gross_minor) == (user.id, order.number, 6900)
    assert mails() == [("account_set_up", GUEST), ("order_welcome", GUEST)]


def test_a_known_customer_gets_the_package_and_one_mail(app: Flask, client: FlaskClient, alice: User) -> None:
    package = make_package(slug="biuro")
    order = shop.buy(app, client, package, email="Alice@Example.com")
    assert order.user_id == alice.id
    assert shop.owned_by(alice.email) == {"biuro": 1}
    assert mails() == [("order_confirmation", alice.email)]
    assert client.get("/my/packages").status_code != 200  # never a silent log-in


def test_somebody_signed_in_gets_it_whatever_address_the_receipt_goes_to(
    app: Flask, alice: User, bob: User, login: Callable[[User], FlaskClient]
) -> None:
    order = shop.buy(app, login(alice), make_package(slug="biuro"), email=bob.email)
    assert order.user_id == alice.id
    assert shop.owned_by(alice.email) == {"biuro": 1}
    assert shop.owned_by(bob.email) == {}
    assert mails() == [("order_confirmation", bob.email)]


def test_a_purchase_never_opens_an_account_nobody_has_proven(app: Flask, client: FlaskClient) -> None:
    squatter = make_user(email=GUEST, is_verified=False)
    order = shop.buy(app, client, make_package(slug="biuro"))
    assert (order.user_id, order.status, order.payment_status) == (None, OrderStatus.OPEN, PaymentStatus.PAID)
    assert shop.owned_by(GUEST) == {}
    assert mails() == [("account_set_up", GUEST), ("order_waiting", GUEST)]
    assert db.session.scalars(select(Invoice)).one().user_id is None
    verify(squatter)
    shop.work(app)
    order = shop.only_order()
    assert (order.user_id, order.status) == (squatter.id, OrderStatus.FULFILLED)
    assert shop.owned_by(GUEST) == {"biuro": 1}
    assert db.session.scalars(select(Invoice)).one().user_id == squatter.id
    assert ("order_unlocked", GUEST) in mails()


def test_proving_an_address_claims_only_what_was_paid_for_with_it(app: Flask) -> None:
    user = make_user(email=GUEST, is_verified=False)
    shop.buy(app, app.test_client(), make_package(slug="mine"))
    shop.ready(other := app.test_client(), make_package(slug="unpaid"))
    shop.place(other)
    third = shop.ready(app.test_client(), make_package(slug="others"), email="else@example.com")
    shop.place(third)
    verify(user)
    shop.work(app)
    assert shop.owned_by(GUEST) == {"mine": 1}
    assert [order.status for order in shop.orders()] == [OrderStatus.FULFILLED, OrderStatus.OPEN, OrderStatus.OPEN]


def test_a_second_purchase_before_the_password_was_chosen_is_unlocked_too(app: Flask) -> None:
    shop.buy(app, app.test_client(), make_package(slug="a"))
    browser = shop.ready(app.test_client(), make_package(slug="b"))
    sandbox.press(app.test_client(), shop.place(browser).headers["Location"], "pay_card")
    shop.work(app)
    assert shop.owned_by(GUEST) == {"a": 1, "b": 1}
    # The first link is minutes old and still good, so there is no second one.
    assert [template for template, _to in mails()] == ["account_set_up", "order_welcome", "order_welcome"]


def test_a_bundle_unlocks_what_it_contains_and_never_itself(app: Flask, client: FlaskClient) -> None:
    children = [make_package(slug="a"), make_package(slug="b")]
    bundle = make_package(slug="zestaw", children=children)
    shop.add(client, bundle, 2)
    shop.give_details(client)
    sandbox.press(app.test_client(), shop.place(client).headers["Location"], "pay_card")
    shop.work(app)
    assert shop.owned_by(GUEST) == {"a": 2, "b": 2}
    assert not queries.is_enrolled(user_of(GUEST).id, "zestaw")
    assert queries.is_enrolled(user_of(GUEST).id, "a")


def test_a_bundle_unlocks_what_it_contained_on_the_day_of_the_order(app: Flask, client: FlaskClient) -> None:
    old, new = make_package(slug="alt"), make_package(slug="neu")
    bundle = make_package(slug="zestaw", children=[old])
    shop.ready(client, bundle)
    page = shop.place(client).headers["Location"]
    with unit_of_work():
        catalogue.set_bundle_children(bundle.id, [new.id], by="staff", at=clock.now())
    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    assert shop.owned_by(GUEST) == {"alt": 1}


def test_who_has_it_already_gets_the_licences_on_top_and_no_second_enrolment(app: Flask, alice: User) -> None:
    package, other = make_package(slug="a"), make_package(slug="b")
    bundle = make_package(slug="zestaw", children=[package, other])
    shop.buy(app, app.test_client(), package, email=alice.email)
    browser = app.test_client()
    shop.add(browser, package, 3)
    shop.add(browser, bundle, 2)
    shop.give_details(browser, email=alice.email)
    sandbox.press(app.test_client(), shop.place(browser).headers["Location"], "pay_card")
    shop.work(app)
    assert shop.owned_by(alice.email) == {"a": 6, "b": 2}
    assert len(db.session.scalars(select(Enrolment)).all()) == 2
    assert len(db.session.scalars(select(EnrolmentGrant)).all()) == 4


def test_settling_twice_gives_nothing_twice(app: Flask, alice: User, client: FlaskClient) -> None:
    order = shop.buy(app, client, make_package(slug="a"), email=alice.email)
    before = mails()
    for _ in range(2):
        with unit_of_work():
            locked = fulfilling.locked_order(order.id)
            for line in locked.lines:
                fulfilling.enrol(alice, line.unlocks[0].package_id, line, at=clock.now())
            fulfilling._send(locked, "order_confirmation")
    assert shop.owned_by(alice.email) == {"a": 1}
    assert mails() == before


def test_a_webhook_a_hundred_times_unlocks_once(app: Flask, client: FlaskClient, alice: User) -> None:
    shop.ready(client, make_package(slug="a"), email=alice.email)
    page = shop.place(client).headers["Location"]
    sandbox.press(app.test_client(), page, "pay_card")
    deliveries = sandbox.settle(app)
    (_status, headers, body) = deliveries.made[0]

    def again() -> int:
        return app.test_client().post("/webhooks/sandbox", data=body, headers=headers).status_code

    answers = all_at_once(app, [again] * 100 + [draining.drain_inbox] * 2)
    assert answers.count(200) == 100
    shop.work(app)
    assert shop.owned_by(alice.email) == {"a": 1}
    assert mails() == [("order_confirmation", alice.email)]
    assert shop.only_order().paid_minor == 6900


def test_many_settlements_for_one_customer_at_once_lose_no_licence(app: Flask, alice: User) -> None:
    package = make_package(slug="a")
    for _ in range(8):
        browser = shop.ready(app.test_client(), package, email=alice.email)
        sandbox.press(app.test_client(), shop.place(browser).headers["Location"], "pay_card")
    with sandbox.carried_in_process(app):
        shop.outbox.drain(sandbox.delivery_queue())
    all_at_once(app, [draining.drain_inbox] * 4)
    shop.work(app)
    assert shop.owned_by(alice.email) == {"a": 8}
    assert {order.status for order in shop.orders()} == {OrderStatus.FULFILLED}


@pytest.mark.parametrize("point", ["fulfil-after-payment", "fulfil-after-enrolment"])
def test_a_crash_in_the_middle_leaves_nothing_half_done_and_the_next_try_finishes(
    app: Flask, client: FlaskClient, point: str
) -> None:
    shop.ready(client, make_package(slug="a"))
    sandbox.press(app.test_client(), shop.place(client).headers["Location"], "pay_card")
    with faults.arm(point, "raise"):
        sandbox.settle(app)
    order = shop.only_order()
    assert (order.status, order.payment_status, order.paid_minor) == (OrderStatus.OPEN, PaymentStatus.PENDING, 0)
    assert db.session.scalars(select(Invoice)).all() == []
    assert db.session.scalars(select(User)).all() == []
    assert mails() == []
    assert shop.sessions()[0].status is SessionStatus.PENDING
    with clock.shifted(timedelta(hours=7)):
        shop.work(app)
    assert shop.owned_by(GUEST) == {"a": 1}
    assert shop.only_order().status is OrderStatus.FULFILLED


def test_money_in_surplus_unlocks_nothing_more(app: Flask, client: FlaskClient, alice: User) -> None:
    order = shop.buy(app, client, make_package(slug="a"), action="pay_twice", email=alice.email)
    assert shop.owned_by(alice.email) == {"a": 1}
    assert (order.paid_minor, order.payment_status) == (6900, PaymentStatus.PAID)
    assert len(mails()) == 1


def test_a_cancelled_payment_unlocks_nothing_and_the_order_waits(app: Flask, client: FlaskClient) -> None:
    order = shop.buy(app, client, make_package(slug="a"), action="cancel")
    assert (order.status, order.payment_status, order.paid_minor) == (OrderStatus.OPEN, PaymentStatus.PENDING, 0)
    assert mails() == []
    assert db.session.scalars(select(User)).all() == []


def test_a_lost_webhook_is_found_and_unlocks_the_same(app: Flask, client: FlaskClient, alice: User) -> None:
    shop.buy(app, client, make_package(slug="a"), action="pay_untold", email=alice.email)
    assert shop.owned_by(alice.email) == {}
    client.get(shop.sessions()[0].success_url)
    with clock.shifted(timedelta(seconds=10)):
        client.get(shop.sessions()[0].success_url)
        shop.work(app)
    assert shop.owned_by(alice.email) == {"a": 1}


def test_every_step_names_who_took_it(app: Flask, client: FlaskClient) -> None:
    order = shop.buy(app, client, make_package())
    changes = state.history(order)
    assert [(change.column, change.was, change.became) for change in changes] == [
        ("payment_status", "pending", "paid"),
        ("status", "open", "fulfilled"),
    ]
    assert {change.actor.split(":")[0] for change in changes} == {"event"}
    assert "order.fulfilled" in list(db.session.scalars(select(AuditEvent.event)))


@pytest.mark.parametrize("status", list(OrderStatus))
@pytest.mark.parametrize("wanted", list(OrderStatus))
def test_an_order_takes_only_the_arrows_of_its_table(
    app: Flask, client: FlaskClient, status: OrderStatus, wanted: OrderStatus
) -> None:
    allowed = {(OrderStatus.OPEN, OrderStatus.FULFILLED), (OrderStatus.OPEN, OrderStatus.CANCELLED)}
    check_arrow(client, "status", status, wanted, (status, wanted) in allowed)


@pytest.mark.parametrize("status", list(PaymentStatus))
@pytest.mark.parametrize("wanted", list(PaymentStatus))
def test_an_orders_payment_takes_only_the_arrows_of_its_table(
    app: Flask, client: FlaskClient, status: PaymentStatus, wanted: PaymentStatus
) -> None:
    pending, partial, paid, refunded = PaymentStatus
    allowed = {(pending, partial), (pending, paid), (partial, paid), (partial, refunded), (paid, refunded)}
    allowed |= {(refunded, partial), (refunded, paid)}  # The bank sent a refund back.
    check_arrow(client, "payment_status", status, wanted, (status, wanted) in allowed)


def check_arrow(client: FlaskClient, column: str, status: str, wanted: str, is_allowed: bool) -> None:
    shop.ready(client, make_package())
    shop.place(client)
    order = shop.only_order()
    with unit_of_work():
        setattr(db.session.get_one(Order, order.id), column, status)
    order = shop.only_order()
    if is_allowed:
        with unit_of_work():
            state.transition(order, wanted, by="test", at=clock.now(), column=column)  # type: ignore[arg-type]  # either enum
        assert getattr(shop.only_order(), column) == wanted
    else:
        with pytest.raises(state.InvalidTransition), unit_of_work():
            state.transition(order, wanted, by="test", at=clock.now(), column=column)  # type: ignore[arg-type]  # either enum
        assert getattr(shop.only_order(), column) == status


def test_an_event_that_names_an_order_that_is_not_there_yet_is_kept(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package(slug="a"))
    sandbox.press(app.test_client(), shop.place(client).headers["Location"], "pay_card")
    with unit_of_work():
        session = db.session.scalars(select(PaymentSession)).one()
        real, session.public_id = session.public_id, "not-yet"
    sandbox.settle(app)
    assert [event.status.value for event in db.session.scalars(select(ProviderEvent))] == ["unmatched"]
    with unit_of_work():
        db.session.scalars(select(PaymentSession)).one().public_id = real
    draining.rematch_unmatched(at=clock.now())
    shop.work(app)
    assert shop.owned_by(GUEST) == {"a": 1}
