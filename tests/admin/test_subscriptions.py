"""Subscriptions and statistics in the back office: the list, the grace, ending one, and figures that add up."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.admin.queries import statistics
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.invariants import Reach, get_invariant
from portal.orders.models import PaymentStatus
from portal.payments.services.sales import day_of
from portal.subscriptions.models import SubscriptionMonth
from tests import factories
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.admin.support import make_order
from tests.browser_like import csrf_token
from tests.orders import shop
from tests.subscriptions.support import activate, mails, own_site, press, site_status


@pytest.fixture
def past_due(app: Flask, alice: User, bob: User) -> str:
    """Alice's payment failed; bob's subscription runs."""
    own_site(alice, "bakery")
    own_site(bob, "florist")
    first = activate(app, alice, "bakery")
    activate(app, bob, "florist")
    press(app, first, "fail_renewal")
    return first


def test_the_list_is_filtered_and_exported(office: FlaskClient, past_due: str) -> None:
    assert rows(office.get("/admin/subscriptions")) == ["The bakery", "The bakery"]
    grace = office.get("/admin/subscriptions?state=grace")
    assert rows(grace) == ["The bakery"]
    assert "alice@example.com" in words(grace)
    assert rows(office.get("/admin/subscriptions?status=active&q=bob@example.com", headers=FRAGMENT)) == ["The bakery"]
    for nothing in ("?state=ending", "?q=mallory@example.com", "?q=nothing", "?status=cancelled"):
        assert "Nothing fits these filters" in page(office, f"/admin/subscriptions{nothing}")
    lines = office.get("/admin/subscriptions.csv?state=grace").get_data(as_text=True).splitlines()
    assert len(lines) == 2
    assert "alice@example.com,past_due,95.00,USD" in lines[1]
    assert audited("subscriptions.exported")[0].actor == "staff@example.com"


def test_staff_see_one_and_end_it(office: FlaskClient, past_due: str, app: Flask) -> None:
    address = "/admin/subscriptions/1"
    text = page(office, address)
    for part in ("Alice Nowak", "Payment overdue", "Open until", "INV-", "Charged by a provider"):
        assert part in text
    token = csrf_token(office, address)
    for status in (200, 200):
        answer = office.post(f"{address}/cancel", data={"csrf_token": token, "note": "By phone"}, headers=FRAGMENT)
        assert answer.status_code == status
    shop.look_again()
    text = page(office, address)
    assert "by staff" in text
    assert "By phone" in text
    assert site_status("bakery") == "owned"
    assert mails().count("cancelled") == 1
    assert audited("subscription.cancelled")[0].actor == "staff@example.com"
    assert office.get("/admin/subscriptions/99").status_code == 404
    assert office.post(f"{address}/cancel", data={}).status_code == 400


@pytest.mark.usefixtures("app")
def test_an_empty_house_has_statistics_too(office: FlaskClient) -> None:
    text = page(office, "/admin/statistics")
    assert "No subscriptions yet" in text
    assert "Nothing was sold yet" in text
    assert "No subscriptions yet" in page(office, "/admin/subscriptions")


def test_figures_add_up(app: Flask, office: FlaskClient, past_due: str, login: Callable[[User], FlaskClient]) -> None:
    shop.buy(app, login(factories.make_user(email="p@example.com")), factories.make_package(price_minor=6900))
    answer = office.get("/admin/statistics")
    text = words(answer)
    assert "Monthly recurring revenue $190.00 2 subscriptions" in text
    assert "In their grace 1" in text
    assert "Subscription, in USD" in text
    assert "Package, in PLN" in text
    assert "Package 1 1 100 %" in text
    assert '<data value="190.00">' in answer.get_data(as_text=True)
    lines = office.get("/admin/statistics.csv").get_data(as_text=True).splitlines()
    month = day_of(clock.now())[:7]
    assert [line.split(",", 1)[1] for line in lines[1:] if line.startswith(month)] == [
        "package,PLN,1,69.00,0.00,69.00",
        "subscription,USD,2,190.00,0.00,190.00",
    ]
    with clock.shifted(timedelta(days=62)):
        factories.sign_in(office, db.session.scalars(db.select(User).where(User.email == "staff@example.com")).one())
        later = words(office.get("/admin/statistics"))
    assert "Monthly recurring revenue $190.00" in later


def test_a_sum_that_is_wrong_is_found(past_due: str) -> None:
    rule = get_invariant("recurring_revenue_differs")
    assert rule.find(Reach(clock.now())) == []
    with unit_of_work():
        db.session.scalars(db.select(SubscriptionMonth)).one().added_minor += 1
    [breach] = rule.find(Reach(clock.now()))
    assert breach.name == "USD"


def test_the_list_costs_the_same_for_one_and_for_many(
    app: Flask, office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    own_site(alice, "site-0")
    activate(app, alice, "site-0")
    office.get("/admin/subscriptions")
    count_queries()
    office.get("/admin/subscriptions")
    one = count_queries()
    for number in range(1, 4):
        own_site(alice, f"site-{number}")
        activate(app, alice, f"site-{number}")
    count_queries()
    assert len(rows(office.get("/admin/subscriptions"))) == 4
    assert count_queries() == one
    assert one <= 4


@pytest.mark.usefixtures("app")
def test_the_share_of_paid_orders_is_worked_out_of_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    now = clock.now()
    make_order(payment_status=PaymentStatus.PAID, at=now - timedelta(hours=2))
    make_order(at=now - timedelta(hours=1))
    [all_of_them] = statistics.conversions(now)
    assert (all_of_them.placed_count, all_of_them.paid_count) == (2, 1)
    monkeypatch.setattr(statistics, "MOST_ORDERS", 1)
    [newest] = statistics.conversions(now)
    assert (newest.placed_count, newest.paid_count) == (1, 0)
