"""The database file turns read-only under a running portal: refusals that can be tried again, and nothing is lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import webhooks
from tests.faults.portal import Buyer, Portal, installed, wait_for
from tests.servers import redis

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_database")]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "portal.db"


@pytest.fixture
def shop(file: Path, own_redis: redis.RedisServer) -> Iterator[Portal]:
    """An installation on SQLite whose servers the test starts."""
    with installed(f"sqlite:///{file}", own_redis) as portal:
        yield portal


def test_a_read_only_file_means_503_and_the_shelf_stays_open(shop: Portal, file: Path) -> None:
    [session] = webhooks.place_orders(shop, 1)
    event = webhooks.signed.checkout_event(session)
    with shop.serve(), Buyer(shop) as buyer:
        number = buyer.order()
    read_only = f"sqlite:///file:{file}?mode=ro&uri=true"
    with shop.serve(DATABASE_URL=read_only), Buyer(shop) as buyer:
        assert webhooks.send(shop, "GET", "/packages")[0] == 200
        assert webhooks.send(shop, "GET", "/healthz")[0] == 200
        assert webhooks.post(shop, event)[0] == 503
        assert webhooks.post(shop, webhooks.signed.checkout_event(shop.session_of(number)))[0] == 503
    with shop.serve(), shop.work():
        # The sender tries again, as every provider does after a 503.
        assert webhooks.post(shop, event)[0] == 200
        wait_for(lambda: shop.order_of(session).paid_at is not None, seconds=40)
    assert shop.check() == []
