"""A year of a subscription, walked with the clock: to the exact mails, invoices, periods and sums."""

from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core.db import db
from portal.core.invariants import Reach, get_invariant
from portal.subscriptions.models import EndCause, SubscriptionMonth, SubscriptionStatus
from tests import invariants
from tests.browser_like import post_form
from tests.subscriptions.support import (
    activate,
    browser_of,
    charge_anyway,
    day,
    invoices,
    keep_up,
    mails,
    own_site,
    periods,
    press,
    site_status,
    standing_at,
    the_subscription,
    without_recurring,
    work,
)

PAGE = "/my/sites/bakery"


def _cancel(app: Flask, alice: User, when: str, reason: str = "") -> None:
    answer = post_form(
        browser_of(app, alice), f"{PAGE}/subscription/cancel", {"when": when, "reason": reason}, page=PAGE
    )
    assert answer.status_code == 303
    work(app)


def test_a_year_with_failures_grace_cancellation_and_reactivation(app: Flask, alice: User) -> None:
    with standing_at(day(1, 1)):
        own_site(alice)
    # It begins on the 31st, so the months have to be counted from there.
    with standing_at(day(1, 31)):
        page = activate(app, alice)
        assert site_status() == "active"
        assert the_subscription().is_charged_by_provider
    with standing_at(day(2, 28)):
        press(app, page, "renew")
    assert periods() == [("01-31", "02-28"), ("02-28", "03-31")]
    expected = ["activated", "receipt"]
    assert mails() == expected

    # A charge fails, is made good on the last day, and the months go on where they were.
    with standing_at(day(3, 31)):
        press(app, page, "fail_renewal")
        press(app, page, "fail_renewal")
        assert the_subscription().status is SubscriptionStatus.PAST_DUE
        assert site_status() == "active"
    for number in range(1, 7):
        with standing_at(day(4, number, 12)):
            keep_up(app)
    assert mails() == (expected := [*expected, "payment_failed:0", "payment_failed:3", "payment_failed:6"])
    with standing_at(day(4, 6, 20)):
        press(app, page, "renew")
        assert the_subscription().status is SubscriptionStatus.ACTIVE
        assert the_subscription().grace_ends_at is None
    assert periods()[-1] == ("03-31", "04-30")
    assert mails() == (expected := [*expected, "receipt"])

    # The next one fails for good: the grace ends, and with it changes and the domain; the site stays.
    with standing_at(day(4, 30)):
        press(app, page, "fail_renewal")
    for number in range(1, 10):
        with standing_at(day(5, number, 12)):
            keep_up(app)
            status = the_subscription().status
            assert status is (SubscriptionStatus.PAST_DUE if number < 7 else SubscriptionStatus.CANCELLED)
    assert the_subscription().end_cause is EndCause.GRACE_OVER
    assert site_status() == "owned"
    failed = ["payment_failed:0", "payment_failed:3", "payment_failed:6"]
    assert mails() == (expected := [*expected, *failed, "cancelled"])
    with standing_at(day(5, 20)):
        charge_anyway(app, page)  # The provider was told, so it charges nothing.
    assert len(periods()) == 3

    # It begins again, is called off, kept, renewed, and called off for good.
    with standing_at(day(6, 1)):
        page = activate(app, alice)
        assert site_status() == "active"
    with standing_at(day(6, 10)):
        _cancel(app, alice, "period_end")
    with standing_at(day(6, 20)):
        assert post_form(browser_of(app, alice), f"{PAGE}/subscription/keep", page=PAGE).status_code == 303
    with standing_at(day(6, 30)):
        keep_up(app)
    with standing_at(day(7, 1)):
        press(app, page, "renew")
    with standing_at(day(7, 15)):
        _cancel(app, alice, "period_end", "Closing for the summer")
    with standing_at(day(7, 31)):
        keep_up(app)
        assert not the_subscription().is_charged_by_provider
        assert site_status() == "active"
    with standing_at(day(8, 1)):
        charge_anyway(app, page)
        keep_up(app)
    assert site_status() == "owned"
    assert the_subscription().end_note == "Closing for the summer"
    assert periods()[3:] == [("06-01", "07-01"), ("07-01", "08-01")]
    assert mails() == (expected := [*expected, "activated", "cancelled", "receipt", "cancelled"])

    # By a provider that charges once: we ask, a week before each month.
    with without_recurring(app):
        with standing_at(day(9, 1)):
            activate(app, alice)
            assert not the_subscription().is_charged_by_provider
        for number in (20, 24, 25):
            with standing_at(day(9, number)):
                keep_up(app)
        with standing_at(day(9, 28)):
            activate(app, alice)
        with standing_at(day(10, 25, 12)):
            keep_up(app)
        with standing_at(day(11, 1, 12)):
            keep_up(app)
            assert the_subscription().status is SubscriptionStatus.PAST_DUE
        with standing_at(day(11, 4, 13)):
            keep_up(app)
        with standing_at(day(11, 5)):
            activate(app, alice)
        assert periods()[5:] == [("09-01", "10-01"), ("10-01", "11-01"), ("11-01", "12-01")]
        with standing_at(day(11, 20)):
            _cancel(app, alice, "now")
            keep_up(app)
    failed = ["payment_failed:0", "payment_failed:3"]
    assert mails() == [*expected, "activated", "due", "receipt", "due", *failed, "receipt", "cancelled"]
    assert site_status() == "owned"

    papers = invoices()
    assert [one.number for one in papers] == [f"INV-2027-{number:05}" for number in range(1, 9)]
    assert {(one.gross_minor, one.tax_minor, one.currency, one.user_id) for one in papers} == {
        (9500, 1776, "USD", alice.id)
    }
    assert papers[2].lines[0].description == "The bakery, Mar 31, 2027 to Apr 30, 2027"
    sums = db.session.scalars(select(SubscriptionMonth).order_by(SubscriptionMonth.month))
    assert [(one.month, one.started_count, one.ended_count, one.added_minor - one.lost_minor) for one in sums] == [
        ("2027-01", 1, 0, 9500),
        ("2027-05", 0, 1, -9500),
        ("2027-06", 1, 0, 9500),
        ("2027-08", 0, 1, -9500),
        ("2027-09", 1, 0, 9500),
        ("2027-11", 0, 1, -9500),
    ]
    for name in ("recurring_revenue_differs", "subscription_paid_after_end"):
        assert get_invariant(name).find(Reach(day(12, 1))) == []
    assert invariants.check(db.session) == []
