"""How sparingly certificates are asked for: what counts, what waits, and for how long; without a server."""

from datetime import timedelta
from typing import Any

from flask import Flask

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import unit_of_work
from portal.sites.domains.models import DomainStatus, Reason
from portal.sites.domains.services import issuing, requesting
from portal.sites.domains.services.accounts import ensure_account
from tests.crowd import all_at_once
from tests.sites.domains.support import (
    OURS,
    fresh,
    make_active_site,
    make_domain,
    make_live_domain,
    prove,
    see,
    sighting,
)

RIGHT = sighting(addresses=(OURS,))


def test_certificates_of_one_name_are_counted_whoever_connects_it(app: Flask, alice: User) -> None:
    site = make_active_site("bakery", alice)
    for _ in range(4):
        domain = make_live_domain(site)
        with unit_of_work():
            requesting.remove_domain(domain, by="alice@example.com", at=clock.now())
    domain = prove(make_domain(site))
    issuing.acquire(domain.id)
    found = fresh(domain)
    assert (found.status, found.reason, found.attempts) == (DomainStatus.FAILING, Reason.AUTHORITY_LIMITS, 0)
    assert found.next_check_at > clock.now() + timedelta(hours=5)


def test_a_twin_that_comes_and_goes_leaves_certificates_for_what_cannot_wait(app: Flask, alice: User) -> None:
    site = make_active_site("bakery", alice)
    earlier = make_live_domain(site)
    with unit_of_work():
        requesting.remove_domain(earlier, by="alice@example.com", at=clock.now())
    domain = make_live_domain(site)
    see(domain, RIGHT, twin=[RIGHT])
    with unit_of_work():
        assert issuing._prepare(domain.id, at=clock.now()) is None
    assert (fresh(domain).status, fresh(domain).reason) == (DomainStatus.LIVE, None)
    # The two are of last week by then, and the next one may be asked for.
    with unit_of_work():
        asking = issuing._prepare(domain.id, at=clock.now() + timedelta(days=8))
    assert asking is not None
    assert (asking.twin, asking.is_for_twin) == ("bakery-of-alice.com", True)
    with unit_of_work():
        asking = issuing._prepare(domain.id, at=clock.now() + timedelta(days=70))
    assert asking is not None
    assert (asking.twin, asking.is_for_twin) == ("bakery-of-alice.com", False)


def test_a_worker_that_dies_costs_no_try_until_it_dies_every_time(app: Flask, alice: User) -> None:
    domain, at = prove(make_domain(make_active_site("bakery", alice))), clock.now()
    waits = []
    for _ in range(6):
        with unit_of_work():
            assert issuing.begin(domain.id, at=at)
            assert not issuing.begin(domain.id, at=at + timedelta(minutes=2))
        found = fresh(domain)
        assert found.no_attempt_before is not None
        waits.append(found.no_attempt_before - at)
        at = found.no_attempt_before
    running = timedelta(minutes=3)
    assert waits == [running, running, running, timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4)]
    assert (found.attempts, found.unfinished) == (0, 6)
    # An answer, whatever it is, ends the row of deaths; only a refusal counts.
    for reason, attempts in ((Reason.AUTHORITY_AWAY, 0), (Reason.AUTHORITY_LIMITS, 0), (Reason.AUTHORITY_REFUSED, 1)):
        issuing._give_up(domain.id, reason, "said so")
        assert (fresh(domain).attempts, fresh(domain).unfinished) == (attempts, 0)


def test_waits_grow_with_each_failure() -> None:
    waits = [issuing.wait_after(number) for number in range(1, 8)]
    assert waits[:5] == [
        timedelta(minutes=15),
        timedelta(hours=1),
        timedelta(hours=4),
        timedelta(hours=12),
        timedelta(days=1),
    ]
    assert set(waits[5:]) == {timedelta(days=1)}


def test_many_workers_make_one_account(app: Flask) -> None:
    def make() -> Any:
        with unit_of_work():
            return ensure_account(at=clock.now()).thumbprint

    assert len(set(all_at_once(app, [make] * 4))) == 1
