"""Crowds at a real server with two processes: one event a hundred times, sixteen writers, and how long a sale takes."""

import time
from collections import Counter

import pytest
from sqlalchemy import func, select

from portal.core.db import db
from portal.core.mail import MailMessage
from portal.orders.models import Order
from portal.payments.models import Invoice, PaymentSession, ProviderEvent, SessionStatus
from tests.faults import webhooks
from tests.faults.portal import Buyer, Portal, wait_for

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_crowds")]


def test_one_event_a_hundred_times_at_once(portal: Portal) -> None:
    [session] = webhooks.place_orders(portal, 1)
    event = webhooks.signed.checkout_event(session)
    with portal.serve(workers=2), portal.work():
        answers = webhooks.at_once([lambda: webhooks.post(portal, event)] * 100)
        assert Counter(status for status, _seconds in answers) == {200: 100}
        wait_for(lambda: portal.order_of(session).paid_at is not None, seconds=40)
        portal.wait_until_quiet(seconds=60)
    order = portal.order_of(session)
    counts = [
        db.session.scalar(
            select(func.count()).select_from(ProviderEvent).where(ProviderEvent.delivery_key == event["id"])
        ),
        db.session.scalar(select(func.count()).select_from(Invoice).where(Invoice.session_id == session.id)),
        db.session.scalar(
            select(func.count()).select_from(MailMessage).where(MailMessage.key.like(f"order:{order.id}:%"))
        ),
    ]
    assert counts == [1, 1, 1]


def test_one_payment_is_unlocked_at_once(portal: Portal) -> None:
    """From the webhook's POST to the enrolment's row, with nothing else to do. The design asks for a second."""
    sessions = webhooks.place_orders(portal, 3)
    taken = []
    with portal.serve(), portal.work():
        for session in sessions:
            started = time.monotonic()
            assert webhooks.post(portal, webhooks.signed.checkout_event(session))[0] == 200
            number = portal.order_of(session).number
            wait_for(lambda number=number: portal.is_unlocked(number))  # type: ignore[misc]  # bound now
            taken.append(time.monotonic() - started)
    print("from POST to unlocked:", ", ".join(f"{seconds:.2f} s" for seconds in taken))
    assert min(taken) < 5


def test_sixteen_writers_never_meet_a_locked_database(portal: Portal) -> None:
    """Eight guests who order, and eight providers' connections, all at once, with the worker writing beside them."""
    sessions = webhooks.place_orders(portal, 40)
    events = [webhooks.signed.checkout_event(session) for session in sessions]
    lanes = [events[lane::8] for lane in range(8)]
    buyers = [Buyer(portal) for _ in range(8)]
    orders_before = db.session.scalar(select(func.count(Order.id)))
    db.session.rollback()

    def deliver(lane: int) -> list[int]:
        return [webhooks.post(portal, event, timeout=60)[0] for event in lanes[lane]]

    def buy(buyer: Buyer) -> list[int]:
        statuses = []
        for _ in range(2):
            buyer.fill_cart()
            statuses.append(buyer.press_pay().status_code)
        return statuses

    with portal.serve(workers=2) as server, portal.work() as worker:
        work = [*(lambda lane=lane: deliver(lane) for lane in range(8)), *(lambda one=one: buy(one) for one in buyers)]
        answers = [status for some in webhooks.at_once(work) for status in some]
        assert Counter(answers) == {200: 40, 303: 16}
        portal.wait_until_quiet(seconds=60)
        assert "locked" not in server.output() + worker.output()
    for buyer in buyers:
        buyer.http.close()
    ids = [session.id for session in sessions]
    paid = select(func.count(PaymentSession.id)).where(
        PaymentSession.id.in_(ids), PaymentSession.status == SessionStatus.PAID
    )
    assert db.session.scalar(paid) == len(sessions)
    # The second press of each guest finds the first one's order: the cart has not changed.
    assert db.session.scalar(select(func.count(Order.id))) == (orders_before or 0) + 8 * 2
