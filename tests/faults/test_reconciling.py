"""A provider that loses, doubles, delays and shuffles its webhooks: asking it makes every order right in two sweeps."""

import random
from collections import Counter
from datetime import timedelta

import pytest

from portal.core import clock
from portal.core.db import db
from portal.orders.models import OrderStatus
from portal.payments.models import PaymentSession, SessionStatus
from portal.payments.services.draining import drain_inbox
from portal.payments.services.starting import start_attempt
from tests.faults import webhooks
from tests.faults.history import work_through
from tests.faults.portal import Portal

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_reconciling")]
ORDERS = 60
# One webhook for each payment, so that a lost one is really missed.
ONE_FOR_EACH = ("checkout.session.completed", "checkout.session.async_payment_succeeded")


def test_sixty_orders_come_right_in_two_sweeps(portal: Portal) -> None:
    chance = random.Random(8)
    control = portal.stripe.control
    control.set_webhooks(lose_rate=0.2, double_rate=0.2, order="shuffled", delay=0.5, enabled_events=ONE_FOR_EACH)
    sessions = webhooks.place_orders(portal, ORDERS)
    declined = set()
    with portal.serve():
        for session in sessions:
            page = start_attempt(session.id, "stripe", at=clock.now())
            reference = page.rpartition("/")[2].partition("#")[0]
            if chance.random() < 0.1:
                control.decline(reference)
                declined.add(session.id)
            elif chance.random() < 0.2:
                control.pay_late(reference, seconds=0.2)
            else:
                control.pay(reference)
        db.session.rollback()
        portal.stripe.webhooks.wait_idle(60)
    told = Counter(one.event_id for one in portal.stripe.webhooks.deliveries)
    assert max(told.values()) > 1
    taken = {("stripe", one["id"]) for one in portal.stripe.world.all("payment_intent") if one["status"] == "succeeded"}
    assert len(taken) == ORDERS - len(declined)
    drain_inbox()
    missing = [session.id for session in sessions if not is_paid(session) and session.id not in declined]
    sweeps = 0
    for minutes in (3, 14):
        if all(is_paid(session) for session in sessions if session.id not in declined):
            break
        sweeps += 1
        with clock.shifted(timedelta(minutes=minutes)):
            work_through(portal)
    print(f"{len(missing)} of {ORDERS} were missing, {sweeps} sweeps found them; {len(declined)} were declined")
    assert missing, "the provider was too good: nothing was lost"
    assert {session.id for session in sessions if not is_paid(session)} == declined
    statuses = Counter(portal.order_of(session).status for session in sessions)
    assert statuses == {OrderStatus.FULFILLED: ORDERS - len(declined), OrderStatus.OPEN: len(declined)}
    with clock.shifted(timedelta(minutes=15)):
        work_through(portal)
    assert portal.check(is_quiet=True, taken=taken) == []


def is_paid(session: PaymentSession) -> bool:
    db.session.rollback()
    return db.session.get_one(PaymentSession, session.id, populate_existing=True).status is SessionStatus.PAID
