"""Where a customer starts: their websites there, how each stands and what is due, beside what they ordered."""

from collections.abc import Callable

import pytest
from flask import Flask

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import unit_of_work
from portal.sites.services import keeping
from tests.sites.support import BY, make_site
from tests.subscriptions.support import (
    activate,
    browser_of,
    day,
    own_site,
    press,
    standing_at,
    without_recurring,
    work,
)


def overview(app: Flask, user: User) -> str:
    """The page's own part, in one line."""
    answer = browser_of(app, user).get("/dashboard")
    assert answer.status_code == 200
    return " ".join(answer.get_data(as_text=True).partition("<main")[2].partition("</main>")[0].split())


def test_a_website_is_there_with_its_address_and_how_it_stands(app: Flask, alice: User) -> None:
    own_site(alice)
    page = overview(app, alice)
    for words in ("The bakery", 'href="/my/sites/bakery"', "http://sites.localhost:8001/bakery/", "Inactive"):
        assert words in page
    assert "Start the subscription for $95 a month" in page
    assert '<td data-label="Due" class="cell-end">Nothing</td>' in page
    assert "No website yet" not in page
    with standing_at(day(1, 10)):
        activate(app, alice)
        running = overview(app, alice)
    assert "The next payment of $95 is on" in running
    assert '<td data-label="Due" class="cell-end">Nothing</td>' in running


def test_what_is_owed_is_said(app: Flask, alice: User) -> None:
    due = '<td data-label="Due" class="cell-end">$95.00</td>'
    own_site(alice)
    with standing_at(day(1, 10)):
        page = activate(app, alice)
    with standing_at(day(2, 10)):
        press(app, page, "fail_renewal")
        failed = overview(app, alice)
    assert due in failed
    assert "Your last payment failed." in failed
    make_site("cafe", owner=alice, title="The cafe")
    with standing_at(day(3, 1)), without_recurring(app):
        activate(app, alice, "cafe")
    with standing_at(day(3, 27)):
        asked = overview(app, alice)
    assert "Please pay $95 for the next month" in asked
    assert due in asked


def test_without_a_website_it_leads_to_the_shop(app: Flask, alice: User, bob: User) -> None:
    own_site(alice)
    page = overview(app, bob)
    assert "No website yet" in page
    assert 'href="/sites"' in page
    assert "The bakery" not in page


def test_a_site_that_was_taken_down_is_not_there(app: Flask, alice: User) -> None:
    site = own_site(alice)
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
    assert "The bakery" not in overview(app, alice)


@pytest.mark.parametrize("count", [1, 20])
def test_it_costs_the_same_for_one_website_and_for_many(
    app: Flask, alice: User, count_queries: Callable[[], int], count: int
) -> None:
    own_site(alice)
    activate(app, alice)
    for number in range(1, count):
        make_site(f"more-{number}", owner=alice)
    work(app)
    browser = browser_of(app, alice)
    browser.get("/dashboard")
    count_queries()
    assert browser.get("/dashboard").status_code == 200
    assert count_queries() == 6
