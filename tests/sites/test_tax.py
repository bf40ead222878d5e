"""The tax in a site's prices: of each site, on what is bought once and each month, and never of what was charged."""

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.money import tax_included
from portal.orders.models import Order
from portal.payments.models import Invoice
from portal.sites.errors import InvalidSite
from portal.sites.models import Site
from portal.sites.services import keeping
from portal.sites.services.keeping import SiteValues
from tests import invariants, sandbox
from tests.browser_like import post_form
from tests.orders.shop import work
from tests.sites.support import BY, fresh, make_live_site, make_site
from tests.sites.test_buying import press
from tests.subscriptions.support import activate, browser_of, day, own_site, standing_at, start, the_subscription
from tests.subscriptions.support import press as press_later


def set_rate(site: Site, basis_points: int) -> None:
    with unit_of_work():
        values = SiteValues(title="The bakery", tax_rate_basis_points=basis_points)
        keeping.update_site(fresh(site), values, by=BY, at=clock.now())


def taxes() -> list[tuple[int, int, int]]:
    """Of each line of each invoice: the rate, the tax, and the price with it."""
    db.session.rollback()
    found = db.session.scalars(select(Invoice).order_by(Invoice.id))
    return [(one.tax_rate_basis_points, one.tax_minor, one.gross_minor) for bill in found for one in bill.lines]


def test_a_new_site_has_the_usual_rate(app: Flask) -> None:
    assert make_site().tax_rate_basis_points == 2_300


@pytest.mark.parametrize("rate", [-1, 10_001])
def test_a_rate_is_a_percentage(app: Flask, rate: int) -> None:
    site = make_site()
    with pytest.raises(InvalidSite) as refused, unit_of_work():
        keeping.update_site(site, SiteValues(title="x", tax_rate_basis_points=rate), by=BY, at=clock.now())
    assert refused.value.field == "tax_rate_basis_points"
    assert fresh(site).tax_rate_basis_points == 2_300


@pytest.mark.parametrize("rate", [0, 850, 10_000])
def test_a_purchase_has_the_tax_of_its_site(app: Flask, rate: int) -> None:
    site, browser = make_live_site("bakery", tax_rate_basis_points=rate), app.test_client()
    sent = press(browser)
    # What was ordered stays as it was, though it is paid later.
    set_rate(site, 2_300)
    sandbox.press(app.test_client(), sent.headers["Location"], "pay_card")
    work(app)
    order, tax = db.session.scalars(select(Order)).one(), tax_included(49_500, rate)
    assert (order.total_minor, order.tax_minor) == (49_500, tax)
    assert taxes() == [(rate, tax, 49_500)]
    assert invariants.check(db.session) == []


def test_a_subscription_keeps_the_rate_that_it_was_begun_with(app: Flask, alice: User) -> None:
    with standing_at(day(1, 10)):
        site = own_site(alice)
        set_rate(site, 800)
        page = activate(app, alice)
    set_rate(site, 500)
    with standing_at(day(2, 10)):
        press_later(app, page, "renew")
    begun = (800, tax_included(9_500, 800), 9_500)
    assert taxes() == [begun, begun]
    # Called off and begun anew, it is what the site says by then, as with its price.
    with standing_at(day(2, 12)):
        path = "/my/sites/bakery"
        post_form(browser_of(app, alice), f"{path}/subscription/cancel", {"when": "now", "reason": ""}, page=path)
        activate(app, alice)
    assert taxes() == [begun, begun, (500, tax_included(9_500, 500), 9_500)]
    assert the_subscription().tax_rate_basis_points == 500


def test_looking_for_a_way_to_pay_changes_nothing_of_what_runs(app: Flask, alice: User) -> None:
    with standing_at(day(1, 10)):
        site = own_site(alice)
        activate(app, alice)
        set_rate(site, 500)
        assert start(app, alice).status_code == 409
    assert the_subscription().tax_rate_basis_points == 2_300
