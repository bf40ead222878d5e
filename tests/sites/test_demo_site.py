"""The demo's customer owns a website that was bought and paid for; loading the demo again takes nothing back."""

from collections.abc import Callable
from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal import demo, demo_site
from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.orders.models import Order
from portal.payments.models import Invoice
from portal.sites import queries
from portal.sites.models import Site
from portal.sites.services import ownership
from portal.subscriptions.models import Subscription
from tests import factories, invariants
from tests.orders.shop import look_again, work
from tests.sites.support import served

Login = Callable[[User], FlaskClient]


def load(app: Flask) -> None:
    done = app.test_cli_runner().invoke(args=["load-demo"])
    assert done.exit_code == 0, done.output
    look_again()


def work_on(app: Flask, *, rounds: int = 12) -> None:
    """What the worker does in the seconds after."""
    for number in range(rounds):
        with clock.shifted(timedelta(seconds=3 * number)):
            work(app)


def site() -> Site:
    look_again()
    found = queries.find_site(demo_site.SLUG)
    assert found is not None
    return found


def count(table: type) -> int:
    look_again()
    return db.session.scalar(select(func.count()).select_from(table)) or 0


def customer() -> User:
    look_again()
    return db.session.scalars(select(User).where(User.email == demo.USERS[0].email)).one()


def test_the_customer_gets_a_website_with_a_subscription_and_two_versions(app: Flask) -> None:
    load(app)
    assert site().owner_id is None
    work_on(app)
    assert (site().owner_id, site().status, site().last_version_number) == (customer().id, "active", 2)
    assert b"19:30 By candle light" in (served(demo_site.SLUG) or b"")
    assert (count(Order), count(Invoice), count(Subscription)) == (1, 2, 1)
    assert invariants.check(db.session) == []
    browser = app.test_client()
    factories.sign_in(browser, customer())
    pages = {
        "/dashboard": "Still Water Yoga", "/my/sites": "Everything is open.", "/account/invoices": "$495.00",
        f"/my/sites/{demo_site.SLUG}/versions": "A class on Friday evenings",
    }  # fmt: skip
    for address, words in pages.items():
        assert words in browser.get(address).get_data(as_text=True), address


def test_loading_it_again_changes_nothing_of_what_is_owned(app: Flask) -> None:
    load(app)
    load(app)
    work_on(app)
    before = (count(Order), count(Invoice), count(OutboxMessage))
    load(app)
    work_on(app, rounds=2)
    assert (count(Order), count(Invoice), count(OutboxMessage)) == before
    assert site().last_version_number == 2
    assert b"19:30 By candle light" in (served(demo_site.SLUG) or b"")


def test_a_step_that_is_done_twice_is_done_once(app: Flask) -> None:
    load(app)
    work_on(app, rounds=1)
    asked = {"user_id": customer().id, "site_id": site().id, "step": 1}
    for number in range(12):
        with clock.shifted(timedelta(seconds=3 * number)):
            demo_site.go_one_step(**asked)
            demo_site.go_one_step(**asked)
            work(app)
    assert (count(Order), count(Invoice), site().last_version_number) == (1, 2, 2)


def test_what_somebody_else_bought_is_theirs(app: Flask, alice: User) -> None:
    load(app)
    with unit_of_work():
        ownership.hand_over(site(), alice, at=clock.now())
    work_on(app, rounds=3)
    assert (site().owner_id, count(Order)) == (alice.id, 0)
    statement = select(OutboxMessage.status).where(OutboxMessage.topic == "demo.website_wanted")
    assert set(db.session.scalars(statement)) == {MessageStatus.DONE}
