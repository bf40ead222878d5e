"""Telling the provider that a month is the last one: by two jobs at once, and while it is away longer than we try."""

import threading
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.outbox import MAX_ATTEMPTS, MessageStatus, OutboxMessage
from portal.core.queues import QueueName
from portal.payments.models import PaymentSession
from portal.subscriptions.models import Subscription, SubscriptionStatus
from portal.subscriptions.services import cancelling, comparing, dunning
from tests import invariants
from tests.crowd import all_at_once
from tests.fakes.stripe import FakeStripe
from tests.payments import signed
from tests.subscriptions.support import look_again, own_site, site_status, start, the_subscription, work

ASKED = "subscription.end_requested"


def deliver(app: Flask, fake: FakeStripe) -> None:
    """Everything that Stripe has told so far, and what follows from it."""
    for event in reversed(fake.world.all("event")):
        assert signed.post(app.test_client(), event).status_code == 200
    work(app)


def bought_at_stripe(app: Flask, alice: User, fake: FakeStripe) -> None:
    """A subscription that Stripe charges, called off for the end of its month."""
    own_site(alice)
    assert start(app, alice, provider="stripe").status_code == 303
    look_again()
    [session] = db.session.scalars(select(PaymentSession)).all()
    fake.control.pay(session.attempts[0].provider_reference or "")
    deliver(app, fake)
    with unit_of_work():
        cancelling.cancel_at_period_end(the_subscription().id, by=alice.email, at=clock.now())
    assert requests() == []


def until_told() -> timedelta:
    """From now until the provider is due to be told."""
    ends_at = the_subscription().period_ends_at
    assert ends_at is not None
    return ends_at - cancelling.LET_GO_BEFORE - clock.now() + timedelta(seconds=1)


def requests() -> list[MessageStatus]:
    """What was written down to be told to the provider."""
    look_again()
    found = select(OutboxMessage.status).where(OutboxMessage.topic == ASKED)
    return list(db.session.scalars(found))


def ends_at_stripe(fake: FakeStripe) -> int:
    return len([one for one in fake.world.all("event") if one["type"] == "customer.subscription.deleted"])


def tell_at_once(app: Flask, times: int = 1) -> list[Any]:
    """The message and the nightly run, so many of each; apart by more than makes one wish of two."""
    number = the_subscription().id

    def compare() -> None:
        with unit_of_work():
            comparing.compare(number, at=clock.now() + timedelta(minutes=1))

    return all_at_once(app, [partial(cancelling.let_go_when_due, number), compare] * times)


def test_the_message_and_the_nightly_run_at_once_tell_it_once(app: Flask, alice: User, fake_stripe: FakeStripe) -> None:
    bought_at_stripe(app, alice, fake_stripe)
    with clock.shifted(until_told()):
        assert tell_at_once(app, 3) == [None] * 6
        assert requests() == [MessageStatus.PENDING]
        work(app)
    assert requests() == [MessageStatus.DONE]
    assert ends_at_stripe(fake_stripe) == 1


# SQLite lets one writer in at a time and cannot show this bug; its guard, BEGIN IMMEDIATE, has its own control.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_lock_it_is_asked_twice(
    app: Flask, alice: User, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stripe's own answer to the second still keeps it at one end."""
    both_have_looked = threading.Barrier(2, timeout=20)

    def careless_look(subscription_id: int) -> Subscription:
        found = db.session.get_one(Subscription, subscription_id)
        both_have_looked.wait()
        return found

    bought_at_stripe(app, alice, fake_stripe)
    with clock.shifted(until_told()):
        with monkeypatch.context() as patched:
            for module in (cancelling, comparing):
                patched.setattr(module, "lock", careless_look)
            assert tell_at_once(app) == [None, None]
        assert requests() == [MessageStatus.PENDING] * 2
        work(app)
    assert requests() == [MessageStatus.DONE] * 2
    assert ends_at_stripe(fake_stripe) == 1


def test_an_outage_longer_than_all_tries_is_ended_by_a_click(app: Flask, alice: User, fake_stripe: FakeStripe) -> None:
    """The month runs out meanwhile: our side ends in time, nothing is asked twice, and staff see what is left."""
    bought_at_stripe(app, alice, fake_stripe)
    fake_stripe.control.add_fault("refused", times=1_000, path="/v1/subscriptions")
    told_at = until_told()
    with clock.shifted(told_at):
        outbox.drain(QueueName.DEFAULT)
        # The longest wait between two tries, and a tenth.
        for hours in range(0, 7 * MAX_ATTEMPTS, 7):
            with clock.shifted(told_at + timedelta(hours=hours)):
                outbox.drain(QueueName.WEBHOOKS)
    assert requests() == [MessageStatus.FAILED]
    assert ends_at_stripe(fake_stripe) == 0
    with clock.shifted(told_at + timedelta(days=4)):
        with unit_of_work():
            dunning.keep_up(the_subscription().id, at=clock.now())
        assert (the_subscription().status, site_status()) == (SubscriptionStatus.CANCELLED, "owned")
        fake_stripe.control.clear_faults()
        with unit_of_work():
            [failed] = db.session.scalars(select(OutboxMessage.id).where(OutboxMessage.topic == ASKED))
            assert outbox.run_again(failed, at=clock.now())
        work(app)
        assert requests() == [MessageStatus.DONE]
        deliver(app, fake_stripe)
    assert ends_at_stripe(fake_stripe) == 1
    assert (the_subscription().status, site_status()) == (SubscriptionStatus.CANCELLED, "owned")
    assert invariants.check(db.session) == []
