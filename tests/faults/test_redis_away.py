"""Redis is an alarm clock, never the ledger: emptied, killed and brought back, nothing is lost and work goes on."""

import time

import pytest
from sqlalchemy import func, select

from portal.core.db import db
from portal.payments.models import PaymentSession, SessionStatus
from tests.faults import webhooks
from tests.faults.portal import Buyer, Portal, wait_for

pytestmark = [
    pytest.mark.slow_fault,
    pytest.mark.xdist_group("faults_redis"),
    pytest.mark.parametrize("own_database", ["postgresql"], indirect=True),
]


def unpaid() -> int:
    db.session.rollback()
    statement = select(func.count(PaymentSession.id)).where(PaymentSession.status != SessionStatus.PAID)
    return db.session.scalar(statement) or 0


def test_emptied_and_killed_under_load_it_loses_nothing(portal: Portal) -> None:
    sessions = webhooks.place_orders(portal, 120)
    with portal.serve(), portal.work(), Buyer(portal) as buyer:
        with webhooks.trickle(portal, sessions, every=0.01) as load:
            client = portal.redis.client()
            for _ in range(3):
                time.sleep(0.4)
                client.flushall()
            client.close()
            portal.redis.kill()
            answered = len(load.acknowledged)
            # The shop sells while Redis is away.
            number = buyer.order()
            buyer.pay()
            wait_for(lambda: len(load.acknowledged) > answered + 10, seconds=30)
            # The worker's Redis may come back in the middle of a job or of its restart.
            time.sleep(2)
            portal.redis.start()
            wait_for(lambda: len(load.acknowledged) == len(sessions), seconds=30)
        assert set(load.statuses()) == {200}
        drained = wait_for(lambda: not unpaid(), seconds=60)
        print(f"backlog drained {drained:.1f} s after the last webhook")
        portal.wait_until_quiet(seconds=60)
        assert portal.is_unlocked(number)
        assert portal.check(is_quiet=True, acknowledged=load.acknowledged) == []


def test_a_redis_that_is_full_loses_nothing(portal: Portal) -> None:
    """It refuses every write: the shop sells and takes webhooks, and the work follows once there is room."""
    sessions = webhooks.place_orders(portal, 20)
    with portal.serve(), portal.work(), Buyer(portal) as buyer:
        client = portal.redis.client()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        try:
            with webhooks.trickle(portal, sessions, every=0.01) as load:
                number = buyer.order()
                buyer.pay()
                wait_for(lambda: len(load.acknowledged) == len(sessions), seconds=30)
        finally:
            client.config_set("maxmemory", "0")
            client.close()
        assert set(load.statuses()) == {200}
        wait_for(lambda: not unpaid(), seconds=60)
        portal.wait_until_quiet(seconds=60)
        assert portal.is_unlocked(number)
        assert portal.check(is_quiet=True, acknowledged=load.acknowledged) == []
