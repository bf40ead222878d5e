"""What providers say about subscriptions: late, doubled, out of order, before activation, lost, and after the end."""

import itertools
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Table, Update, bindparam, func, or_, select, update

from portal.accounts.models import User
from portal.core import clock, outbox, state
from portal.core.db import db, unit_of_work
from portal.core.invariants import Reach, get_invariant
from portal.core.queues import QueueName
from portal.core.state import StaleState
from portal.payments.models import Invoice, PaymentSession
from portal.payments.services import draining
from portal.subscriptions import jobs
from portal.subscriptions.models import BillingPeriod, EndCause, Subscription, SubscriptionStatus
from portal.subscriptions.services import cancelling, dunning, paying
from tests import invariants, sandbox
from tests.crowd import all_at_once, somebody_waits, wait_until
from tests.fakes.recurrente import SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.fakes.standard_webhooks import headers as standard_headers
from tests.fakes.stripe import FakeStripe
from tests.payments import signed
from tests.payments.serving import configured
from tests.subscriptions.support import (
    activate,
    look_again,
    mails,
    own_site,
    periods,
    press,
    site_status,
    start,
    the_subscription,
    work,
)


def press_only(app: Flask, page: str, action: str) -> None:
    """Press without the webhook being delivered."""
    assert sandbox.press(app.test_client(), page, action).status_code == 303


def deliver(app: Flask, body: bytes, name: str) -> int:
    headers = sandbox.signed(app, body, webhook_id=name, at=clock.now())
    return app.test_client().post("/webhooks/sandbox", data=body, headers=headers).status_code


def settled() -> tuple[str, int, int, str]:
    """How everything stands: status, periods, invoices, and the site."""
    subscription = the_subscription()
    bought = db.session.scalar(select(func.count(BillingPeriod.id)))
    papers = db.session.scalar(select(func.count(Invoice.id)))
    return subscription.status.value, bought or 0, papers or 0, site_status()


@pytest.mark.parametrize("turned", list(itertools.permutations(range(3))), ids=str)
def test_every_order_of_the_same_news_ends_the_same(app: Flask, alice: User, turned: tuple[int, ...]) -> None:
    """First payment, renewal, end at the provider: each delivered twice, in every order."""
    own_site(alice)
    page = start(app, alice).headers["Location"]
    for hours, action in ((0, "pay_card"), (1, "renew"), (2, "end_subscription")):
        with clock.shifted(timedelta(hours=hours)):
            press_only(app, page, action)
    bodies = [event.body.encode() for event in sandbox.events(app)]
    with clock.shifted(timedelta(hours=2)):
        for number in turned:
            for copy in range(2):
                assert deliver(app, bodies[number], f"evt_{number}_{copy}") == 200
        for _round in range(3):
            draining.drain_inbox()
        subscription = the_subscription()
        assert (subscription.cancels_at_period_end, subscription.end_cause) == (True, EndCause.BY_PROVIDER)
        assert not subscription.is_charged_by_provider
        assert settled() == ("active", 2, 2, "active")
    assert sorted(mails()) == ["activated", "cancelled", "receipt"]
    assert invariants.check(db.session) == []


def test_a_failure_before_the_first_payment_is_known_begins_no_grace(app: Flask, alice: User) -> None:
    own_site(alice)
    page = start(app, alice).headers["Location"]
    press_only(app, page, "pay_card")
    with clock.shifted(timedelta(hours=1)):
        press_only(app, page, "fail_renewal")
        paid, failed = [event.body.encode() for event in sandbox.events(app)]
        assert deliver(app, failed, "evt_failed") == 200
        draining.drain_inbox()
        assert the_subscription().status is SubscriptionStatus.INACTIVE
        assert deliver(app, paid, "evt_paid") == 200
        for _round in range(2):
            draining.drain_inbox()
        assert the_subscription().status is SubscriptionStatus.PAST_DUE
    assert mails() == ["activated", "payment_failed:0"]


def test_a_charge_after_the_end_buys_nothing_and_waits_for_staff(app: Flask, alice: User) -> None:
    own_site(alice)
    page = activate(app, alice)
    with clock.shifted(timedelta(days=30)):
        press_only(app, page, "renew")
        with unit_of_work():
            cancelling.cancel_now(the_subscription().id, by=alice.email, at=clock.now())
        work(app)
        assert settled() == ("cancelled", 1, 2, "owned")
        [breach] = get_invariant("subscription_paid_after_end").find(Reach(clock.now()))
        assert breach.detail == alice.email
    assert mails() == ["activated", "cancelled"]


def test_a_charge_after_the_grace_is_what_was_waited_for(app: Flask, alice: User) -> None:
    own_site(alice)
    page = activate(app, alice)
    press(app, page, "fail_renewal")
    with clock.shifted(timedelta(days=8)):
        press_only(app, page, "renew")
        jobs.keep_up()
        assert the_subscription().status is SubscriptionStatus.CANCELLED
        work(app)
        assert settled() == ("active", 2, 2, "active")


def test_silence_is_asked_about_and_then_counts_as_a_failure(app: Flask, alice: User) -> None:
    own_site(alice)
    page = activate(app, alice)
    end = the_subscription().period_ends_at
    assert end is not None
    with clock.shifted(end - clock.now() + timedelta(days=1)):
        jobs.keep_up()
        assert the_subscription().status is SubscriptionStatus.ACTIVE
        # The charge was made, and its message got lost: the nightly comparison finds it.
        press_only(app, page, "renew")
        db.session.rollback()
        jobs.compare_with_providers()
        outbox.drain(QueueName.WEBHOOKS)
        draining.drain_inbox()
        assert len(periods()) == 2
    end = the_subscription().period_ends_at
    assert end is not None
    with clock.shifted(end - clock.now() + timedelta(days=3, minutes=1)):
        jobs.keep_up()
        assert the_subscription().status is SubscriptionStatus.PAST_DUE


def test_many_renewals_and_the_end_of_the_grace_at_once_leave_one_truth(app: Flask, alice: User) -> None:
    own_site(alice)
    page = activate(app, alice)
    press(app, page, "fail_renewal")
    with clock.shifted(timedelta(days=7, minutes=1)):
        press_only(app, page, "renew")
        body = sandbox.events(app)[-1].body.encode()
        look_again()

        def post(number: int) -> int:
            status = deliver(app, body, f"evt_again_{number}")
            draining.drain_inbox()
            return status

        def end() -> None:
            with unit_of_work():
                dunning.keep_up(1, at=clock.now())

        all_at_once(app, [*(lambda number=number: post(number) for number in range(4)), end, end])
        for _round in range(2):
            draining.drain_inbox()
        assert settled() == ("active", 2, 2, "active")
        assert mails().count("cancelled") <= 1
        assert get_invariant("recurring_revenue_differs").find(Reach(clock.now())) == []
    assert invariants.check(db.session) == []


def _renewal_while_the_grace_ends(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch, look: Callable[[int], Subscription]
) -> list[Any]:
    """Who ends the grace has looked, and then the renewal comes: it is through, or waits, before anything is written.

    What came of the end and of the renewal.
    """
    own_site(alice)
    page = activate(app, alice)
    press(app, page, "fail_renewal")
    looked, renewed = threading.Event(), threading.Event()

    def look_and_linger(subscription_id: int) -> Subscription:
        found = look(subscription_id)
        looked.set()
        wait_until(lambda: renewed.is_set() or somebody_waits())
        return found

    def end() -> None:
        with unit_of_work():
            dunning.keep_up(1, at=clock.now())

    def renew() -> int:
        assert looked.wait(20)
        status = deliver(app, body, "evt_renewed")
        draining.drain_inbox()
        renewed.set()
        return status

    monkeypatch.setattr(dunning, "lock", look_and_linger)
    with clock.shifted(timedelta(days=7, minutes=1)):
        press_only(app, page, "renew")
        body = sandbox.events(app)[-1].body.encode()
        look_again()
        return all_at_once(app, [end, renew])


def _careless_look(subscription_id: int) -> Subscription:
    found = db.session.get_one(Subscription, subscription_id)
    assert found.status is SubscriptionStatus.PAST_DUE
    return found


# SQLite lets one writer in at a time and cannot show this; its guard, BEGIN IMMEDIATE, has its own control.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_renewal_waits_for_the_end_of_the_grace_and_begins_anew(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _renewal_while_the_grace_ends(app, alice, monkeypatch, dunning.lock) == [None, 200]
    assert settled() == ("active", 2, 2, "active")
    assert mails() == ["activated", "payment_failed:0", "cancelled", "activated"]
    assert get_invariant("recurring_revenue_differs").find(Reach(clock.now())) == []
    assert invariants.check(db.session) == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_lock_the_end_loses_to_the_renewal(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The compare-and-set still keeps what is paid for open; only the lock lets the one see what the other did."""
    [ended, renewed] = _renewal_while_the_grace_ends(app, alice, monkeypatch, _careless_look)
    assert isinstance(ended, StaleState)
    assert renewed == 200
    assert settled() == ("active", 2, 2, "active")


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_guards_what_was_paid_for_is_closed(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock and the compare-and-set: the renewal is on the books, and the site is shut."""

    def set_without_comparing(table: Table, column: str, names: tuple[str, ...]) -> Update:
        was_anything = or_(table.c[column] == bindparam("was"), table.c[column] != bindparam("was"))
        values = {name: bindparam(f"new_{name}") for name in names}
        return update(table).where(table.c.id == bindparam("row_id"), was_anything).values(values)

    monkeypatch.setattr(state, "_compare_and_set", set_without_comparing)
    assert _renewal_while_the_grace_ends(app, alice, monkeypatch, _careless_look) == [None, 200]
    assert settled() == ("cancelled", 2, 2, "owned")
    assert mails() == ["activated", "payment_failed:0", "receipt", "cancelled"]


def _activate_twice_at_once(app: Flask, alice: User) -> list[object]:
    session = _paid_session(app, alice)

    def settle() -> None:
        with unit_of_work():
            paying.settle(db.session.get_one(PaymentSession, session), at=clock.now())

    return all_at_once(app, [settle] * 4)


def _paid_session(app: Flask, alice: User) -> int:
    """A payment that is here, whose period was not given yet."""
    own_site(alice)
    activate(app, alice)
    with unit_of_work():
        [period] = db.session.scalars(select(BillingPeriod)).all()
        number = period.session_id
        db.session.delete(period)
    look_again()
    return number


def test_a_payment_settled_many_times_at_once_buys_one_period(app: Flask, alice: User) -> None:
    assert _activate_twice_at_once(app, alice) == [None] * 4
    assert len(periods()) == 1


def test_where_nobody_looks_the_database_itself_refuses_the_second(
    app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: nobody looks whether the payment was counted, so the unique key alone is left."""
    monkeypatch.setattr(paying, "period_of", lambda _session_id: None)
    found = _activate_twice_at_once(app, alice)
    assert sum(isinstance(one, Exception) for one in found) == 3
    assert len(periods()) == 1


def test_stripe_from_the_first_payment_to_its_end(app: Flask, alice: User, fake_stripe: FakeStripe) -> None:
    """Every webhook twice, through HTTP, in Stripe's own words."""
    own_site(alice)
    assert start(app, alice, provider="stripe").status_code == 303
    look_again()
    session = db.session.scalars(select(PaymentSession)).one()
    fake_stripe.control.pay(session.attempts[0].provider_reference or "")
    [name] = [one["id"] for one in fake_stripe.world.all("subscription")]
    told: set[str] = set()
    for happening in (None, fake_stripe.control.fail_renewal, fake_stripe.control.renew):
        if happening is not None:
            happening(name)
        news = [event for event in reversed(fake_stripe.world.all("event")) if event["id"] not in told]
        told |= {event["id"] for event in news}
        for event in news:
            for _twice in range(2):
                assert signed.post(app.test_client(), json.dumps(event)).status_code == 200
        work(app)
    assert settled() == ("active", 2, 2, "active")
    assert mails() == ["activated", "payment_failed:0", "receipt"]
    with unit_of_work():
        cancelling.cancel_now(the_subscription().id, by=alice.email, at=clock.now())
    work(app)
    [at_stripe] = fake_stripe.world.all("subscription")
    assert (at_stripe["status"], site_status()) == ("canceled", "owned")


@pytest.mark.parametrize("names", ["both", "old"])
def test_recurrente_under_both_of_its_names(app: Flask, alice: User, names: str) -> None:
    with FakeRecurrente() as fake:
        settings = {
            "recurrente_api_url": fake.api_url, "recurrente_secret_key": SECRET_KEY,
            "recurrente_webhook_secret": WEBHOOK_SECRET,
        }  # fmt: skip
        fake.world.names = names
        with configured(app, **settings):
            own_site(alice)
            assert start(app, alice, provider="recurrente").status_code == 303
            look_again()
            session = db.session.scalars(select(PaymentSession)).one()
            fake.world.pay(session.attempts[0].provider_reference or "")
            [name] = fake.world.subscriptions
            fake.world.offset = 60.0
            fake.world.fail_renewal(name)
            fake.world.offset = 120.0
            fake.world.renew(name)
            with clock.shifted(timedelta(seconds=200)):
                for event in fake.events:
                    at = int(clock.now().timestamp())
                    headers = standard_headers([WEBHOOK_SECRET], event["id"], event["body"], at=at, prefix="svix")
                    answer = app.test_client().post("/webhooks/recurrente", data=event["body"], headers=headers)
                    assert answer.status_code == 200
                    work(app)
                assert settled() == ("active", 2, 2, "active")
                assert mails() == ["activated", "payment_failed:0", "receipt"]
