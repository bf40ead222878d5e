"""A customer's page of a site: what it says, what they can do, and what strangers cannot."""

from collections.abc import Callable

from flask import Flask
from sqlalchemy import func, select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.payments.models import PaymentSession, SessionStatus
from portal.subscriptions.models import Subscription, SubscriptionStatus
from portal.subscriptions.services import cancelling
from tests import sandbox
from tests.browser_like import post_form
from tests.crowd import all_at_once
from tests.orders.shop import token
from tests.sites.support import make_site
from tests.subscriptions.support import (
    activate,
    browser_of,
    look_again,
    mails,
    own_site,
    press,
    site_status,
    start,
    the_subscription,
    without_recurring,
    work,
)

PAGE = "/my/sites/bakery"


def shown(app: Flask, user: User, path: str = PAGE) -> str:
    answer = browser_of(app, user).get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_from_owned_to_active_and_to_its_end(app: Flask, alice: User) -> None:
    own_site(alice)
    assert "Start the subscription for $95 a month" in shown(app, alice)
    sent = start(app, alice)
    assert "We are waiting for the payment provider" in shown(app, alice, f"{PAGE}?back=1")
    # Pressed again it is the same page of the provider.
    assert start(app, alice).headers["Location"] == sent.headers["Location"]
    press(app, sent.headers["Location"], "pay_card")
    text = shown(app, alice, f"{PAGE}?back=1")
    assert "Everything is open. The next payment of $95" in text
    assert "/invoices/INV-" in text
    browser = browser_of(app, alice)
    refused = post_form(browser, f"{PAGE}/subscription/cancel", {"when": "some day"}, page=PAGE)
    assert refused.status_code == 422
    answer = post_form(browser, f"{PAGE}/subscription/cancel", {"when": "period_end"}, page=PAGE, htmx=True)
    assert answer.status_code == 200
    text = answer.get_data(as_text=True)
    assert text.lstrip().startswith('<div id="my-site"')
    assert "Until then everything is open, and nothing more is charged." in text
    answer = post_form(browser, f"{PAGE}/subscription/keep", page=PAGE, htmx=True)
    assert "Everything is open." in answer.get_data(as_text=True)
    assert post_form(browser, f"{PAGE}/subscription/keep", page=PAGE).status_code == 409
    for _twice in range(2):
        answer = post_form(browser, f"{PAGE}/subscription/cancel", {"when": "now", "reason": "Too dear"}, page=PAGE)
        assert answer.status_code == 303
    work(app)
    assert "The subscription has ended." in shown(app, alice)
    assert (the_subscription().end_note, site_status()) == ("Too dear", "owned")
    assert mails() == ["activated", "cancelled", "cancelled"]


def test_a_running_subscription_is_not_paid_twice(app: Flask, alice: User) -> None:
    own_site(alice)
    activate(app, alice)
    for provider in ("sandbox", "stripe", "none"):
        answer = start(app, alice, provider=provider)
        assert answer.status_code == (422 if provider == "none" else 409)
    look_again()
    assert db.session.scalar(select(func.count(PaymentSession.id))) == 1


def test_pressed_in_many_windows_at_once_there_is_one_payment(app: Flask, alice: User) -> None:
    own_site(alice)
    windows = [browser_of(app, alice) for _ in range(4)]
    tokens = [token(window) for window in windows]
    look_again()

    def begin(number: int) -> str | None:
        data = {"csrf_token": tokens[number], "provider": "sandbox"}
        return windows[number].post(f"{PAGE}/subscription/pay", data=data).headers.get("Location")

    found = all_at_once(app, [lambda number=number: begin(number) for number in range(4)])
    assert len(set(found)) == 1, found
    look_again()
    assert db.session.scalar(select(func.count(PaymentSession.id))) == 1
    assert db.session.scalar(select(func.count(Subscription.id))) == 1


def test_another_way_to_pay_closes_the_first(app: Flask, alice: User) -> None:
    own_site(alice)
    first = start(app, alice).headers["Location"]
    with without_recurring(app):
        second = start(app, alice).headers["Location"]
        assert second != first
        work(app)
        press(app, second, "pay_card")
    look_again()
    stands = db.session.scalars(select(PaymentSession.status).order_by(PaymentSession.id)).all()
    assert stands == [SessionStatus.FAILED, SessionStatus.PAID]
    assert not the_subscription().is_charged_by_provider


def test_nobody_but_the_owner(app: Flask, alice: User, mallory: User) -> None:
    own_site(alice)
    activate(app, alice)
    browser = browser_of(app, mallory)
    assert browser.get(PAGE).status_code == 404
    assert "bakery" not in browser.get("/my/sites").get_data(as_text=True)
    for verb in ("pay", "cancel", "keep"):
        data = {"csrf_token": token(browser), "provider": "sandbox", "when": "now"}
        assert browser.post(f"{PAGE}/subscription/{verb}", data=data).status_code == 404
        assert app.test_client().post(f"{PAGE}/subscription/{verb}", data=data).status_code in (302, 303, 400)
        assert browser_of(app, alice).post(f"{PAGE}/subscription/{verb}", data={}).status_code == 400
    assert the_subscription().status is SubscriptionStatus.ACTIVE


def test_without_a_subscription_there_is_nothing_to_cancel(app: Flask, alice: User) -> None:
    own_site(alice)
    browser = browser_of(app, alice)
    for verb in ("cancel", "keep"):
        answer = post_form(browser, f"{PAGE}/subscription/{verb}", {"when": "now"}, page=PAGE)
        assert answer.status_code == 409
    start(app, alice)
    answer = post_form(browser, f"{PAGE}/subscription/cancel", {"when": "now"}, page=PAGE)
    assert answer.status_code == 409
    assert the_subscription().status is SubscriptionStatus.INACTIVE


def test_past_due_ends_now_or_is_paid(app: Flask, alice: User) -> None:
    own_site(alice)
    page = activate(app, alice)
    press(app, page, "fail_renewal")
    text = shown(app, alice)
    assert "Your last payment failed." in text
    assert 'value="period_end"' not in text
    browser = browser_of(app, alice)
    answer = post_form(browser, f"{PAGE}/subscription/cancel", {"when": "period_end"}, page=PAGE)
    assert answer.status_code == 409
    # Another card: a subscription of its own at the provider, and the old one is let go.
    other = activate(app, alice)
    assert other != page
    subscription = the_subscription()
    assert (subscription.status, subscription.grace_ends_at) == (SubscriptionStatus.ACTIVE, None)
    assert [event.event_type for event in sandbox.events(app)].count("subscription.ended") == 1
    assert mails() == ["activated", "payment_failed:0", "receipt"]


def test_the_list_costs_the_same_for_one_and_for_many(
    app: Flask, alice: User, count_queries: Callable[[], int]
) -> None:
    own_site(alice)
    activate(app, alice)
    browser = browser_of(app, alice)
    browser.get("/my/sites")
    count_queries()
    assert browser.get("/my/sites").status_code == 200
    one = count_queries()
    for number in range(6):
        make_site(f"more-{number}", owner=alice)
    count_queries()
    assert "more-5" in browser.get("/my/sites").get_data(as_text=True)
    assert count_queries() == one
    assert one <= 5


def test_an_empty_list_leads_to_the_shop(app: Flask, bob: User) -> None:
    assert "No website yet" in shown(app, bob, "/my/sites")


def test_staff_may_end_it_too(app: Flask, alice: User) -> None:
    own_site(alice)
    activate(app, alice)
    with unit_of_work():
        found = db.session.scalars(select(Subscription)).one()
        cancelling.cancel_now(found.id, by="staff@example.com", at=clock.now())
    assert site_status() == "owned"
