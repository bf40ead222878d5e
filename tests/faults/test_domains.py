"""SIGKILL between any two steps of a domain's way to HTTPS: the site is never off, and the domain works in the end."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from portal.core import clock
from portal.core.db import db
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.sites.domains.models import DomainStatus
from portal.sites.domains.services.moving import locked, look_soon
from tests import factories
from tests.faults.portal import Portal, committed, installed, wait_for
from tests.faults.test_kills import IN_A_DOMAIN, armed, names
from tests.servers import dns, pebble, processes, redis, web
from tests.servers.dns import NameServer
from tests.servers.pebble import Pebble
from tests.sites.domains.support import fresh, make_active_site, make_domain, names_in, point, point_twin
from tests.sites.hosting import SiteHost, Visitors, get, secure_get, site_host
from tests.sites.support import FILES

pytestmark = [pytest.mark.slow_fault, pytest.mark.xdist_group("faults_domains")]

# Where nginx's own files are written, which deployments share.
IN_NGINX = ("deploy-config-written", "deploy-before-reload")
# The longest that work of a dead worker waits for another; it may have begun a moment after the clock was looked at.
_LEASE = timedelta(minutes=3, seconds=10)


@pytest.fixture(scope="module")
def host() -> Iterator[SiteHost]:
    with site_host() as one:
        yield one


@pytest.fixture(scope="module")
def name_server() -> Iterator[NameServer]:
    with dns.running() as server:
        yield server


@pytest.fixture(scope="module")
def authority(host: SiteHost, name_server: NameServer) -> Iterator[Pebble]:
    # Trouble of the authority's own would have to be waited for.
    with pebble.running(dns=name_server.address, http_port=host.port, refused_nonces=0) as server:
        yield server


@pytest.fixture(scope="module")
def tls_port() -> int:
    return processes.free_port()


@pytest.fixture(scope="module")
def portal(
    own_database: str, own_redis: redis.RedisServer, host: SiteHost, name_server: NameServer, authority: Pebble,
    tls_port: int,
) -> Iterator[Portal]:  # fmt: skip
    """The installation of this site host; the authority is one that its workers trust."""
    own_redis.client().flushall()
    settings = host.settings(
        sites_addresses="127.0.0.1", dns_resolvers=name_server.address, acme_directory_url=authority.url,
        nginx_listen_tls=f"127.0.0.1:{tls_port}", requests_ca_bundle=str(authority.root),
    )  # fmt: skip
    with installed(own_database, own_redis, **{name.upper(): value for name, value in settings.items()}) as one:
        yield one


@pytest.mark.timeout(600)
def test_the_worker_dies_at_every_step(
    portal: Portal, marks: Path, host: SiteHost, name_server: NameServer, authority: Pebble, tls_port: int
) -> None:
    """Nine deaths on the way from the records to HTTPS; a visitor of the site's path polls all the while."""
    # Of its own in each try: a host serves what an earlier one has left.
    name = f"bakery-{secrets.token_hex(4)}"
    site = make_active_site(name, factories.make_user(email=f"{name}@example.com"), live=True)
    before = authority.orders()
    domain = make_domain(site, f"www.{name}.com")
    point(domain, name_server)
    point_twin(domain, name_server)
    faults = armed(IN_A_DOMAIN + IN_NGINX, marks)
    died = 0
    with (
        Visitors(host.port, f"/{site.slug}/") as visitors,
        web.worker({**portal.settings, "PORTAL_FAULTS": faults}, "--queues", "default", "deploy") as worker,
    ):

        def works() -> bool:
            nonlocal died
            if len(names(marks)) > died:
                died = len(names(marks))
                let_time_pass(domain.id)
            found = fresh(domain)
            if died < len(IN_A_DOMAIN + IN_NGINX):
                return False
            return found.status is DomainStatus.LIVE and found.reason is None

        def say() -> str:
            found = fresh(domain)
            return f"{names(marks)} {found.status} {found.reason} {found.reason_detail}\n{worker.output()}"

        wait_for(works, seconds=300, say=say)
    assert visitors.failures == []
    assert set(visitors.answers) == {(200, FILES["index.html"])}
    found = fresh(domain)
    # The certificate that was issued to a worker that died was lost; the next one is the last.
    assert (authority.orders() - before, found.attempts, found.unfinished) == (2, 0, 0)
    assert names_in(domain) == sorted([domain.name, domain.twin or ""])
    assert secure_get(tls_port, domain.name)[2] == FILES["index.html"]
    assert secure_get(tls_port, domain.twin or "")[1]["location"] == f"https://{domain.name}:{tls_port}/"
    assert get(host.port, f"/{site.slug}/")[0] == 200
    kept = [path.suffix for path in (host.config / "certificates").glob(f"{domain.id}-*")]
    assert sorted(kept) == [".crt", ".key"]


def let_time_pass(domain_id: int) -> None:
    """Do what time does after a worker died: leases end, a try that was running can be running no more, and the domain
    is looked at again."""
    at = clock.now()
    with committed() as session:
        pending = (OutboxMessage.status == MessageStatus.PENDING, OutboxMessage.available_at > at)
        late = db.session.scalars(select(OutboxMessage.available_at).where(*pending)).all()
        assert all(one <= at + _LEASE for one in late), late
        session.execute(update(OutboxMessage).where(*pending).values(available_at=at))
        domain = locked(domain_id)
        if domain.certificate_id is None and domain.no_attempt_before is not None:
            assert domain.no_attempt_before <= at + _LEASE
            domain.no_attempt_before = at
        look_soon(domain, at=at)
