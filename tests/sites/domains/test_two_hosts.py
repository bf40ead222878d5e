"""One domain on two site hosts: each gets its servers and the certificate by its own worker, one of them later."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import update

from portal import create_app
from portal.core import clock, outbox
from portal.core.db import db, dispose, unit_of_work
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.sites.domains.models import Domain, DomainStatus, Reason
from portal.sites.domains.services.moving import locked, look_soon
from tests import factories
from tests.servers import dns, pebble, processes, redis
from tests.sites.domains.support import NAME, fresh, make_active_site, make_domain, names_in, point
from tests.sites.hosting import SiteHost, begin, get, secure_get, site_host
from tests.sites.support import make_version, page, request
from tests.sites.test_nginx import portal_of

pytestmark = pytest.mark.xdist_group("sites_nginx")

# Two machines that listen on the same ports.
EAST, WEST = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def empty_folders() -> None:
    """Each host of these tests has folders of its own."""


@contextmanager
def at_the_other(app: Flask, host: SiteHost, **listening: str) -> Iterator[None]:
    """The portal as the second host's worker sees it."""
    changed = dataclasses.replace(app.config["SETTINGS"], **host.settings(**listening), sites_host_name="west")
    other = create_app(changed)
    try:
        with other.app_context():
            yield
            db.session.remove()
    finally:
        dispose(other)


def look(domain: Domain) -> Domain:
    """Have it looked at, and let the first host do what follows."""
    with unit_of_work():
        look_soon(locked(domain.id), at=clock.now())
    while outbox.drain("default") + outbox.drain("deploy-east"):
        pass
    return fresh(domain)


def try_again() -> None:
    """Do what time does to what could not be done."""
    with unit_of_work() as session:
        session.execute(
            update(OutboxMessage).where(OutboxMessage.status == MessageStatus.PENDING).values(available_at=clock.now())
        )


def test_a_domain_is_live_once_both_hosts_show_its_certificate(
    redis_server: redis.RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = processes.free_port()
    with (
        site_host() as east,
        site_host(start=False) as west,
        dns.running() as name_server,
        pebble.running(dns=name_server.address, http_port=east.port, refused_nonces=0) as authority,
    ):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.root))
        settings = {
            "sites_hosts": "east,west", "sites_host_name": "east", "sites_addresses": f"{EAST},{WEST}",
            "dns_resolvers": name_server.address, "acme_directory_url": authority.url,
            "nginx_listen_tls": f"{EAST}:{tls}",
        }  # fmt: skip
        there = {"nginx_listen": f"{WEST}:{east.port}", "nginx_listen_tls": f"{WEST}:{tls}"}
        for app in portal_of(east, f"sqlite:///{tmp_path / 'two.db'}", redis_server, tmp_path, **settings):
            site = make_active_site("bakery", factories.make_user(email="alice@example.com"))
            request(site, make_version(site, page("one")))
            domain = make_domain(site)
            point(domain, name_server)
            name_server.set(NAME, "A", EAST, WEST)
            domain = look(domain)
            with at_the_other(app, west, **there):
                # It is down: nginx cannot be told, and the work waits.
                assert outbox.drain("deploy-west") > 0
            # One of our addresses does not answer: the authority is not asked, and nothing is the owner's fault.
            domain = look(domain)
            assert (domain.status, domain.reason) == (DomainStatus.VERIFIED, Reason.UNREACHABLE)
            assert WEST in domain.reason_detail
            assert authority.orders() == 0

            begin(west)
            try_again()
            with at_the_other(app, west, **there):
                assert outbox.drain("deploy-west") > 0
            domain = look(domain)
            # The certificate is there, and one host shows it: that is not live yet.
            assert (domain.status, domain.reason) == (DomainStatus.ISSUING, Reason.NOT_SERVED)
            assert WEST in domain.reason_detail
            with at_the_other(app, west, **there):
                request(site, make_version(site, page("two")))
                outbox.drain("deploy-west")
            domain = look(domain)
            assert (domain.status, domain.reason) == (DomainStatus.LIVE, None)
            assert (authority.orders(), names_in(domain)) == (1, [NAME])
            for address, host in ((EAST, east), (WEST, west)):
                assert secure_get(tls, NAME, address=address)[2] == page("two")["index.html"]
                assert len(list((host.config / "certificates").iterdir())) == 2
            assert get(east.port, "/about/", Host=NAME)[1]["location"] == f"https://{NAME}:{tls}/about/"
