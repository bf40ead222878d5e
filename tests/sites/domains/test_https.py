"""A domain from the request to HTTPS and years later, on a real nginx, a real ACME server and a name server."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from portal.accounts.models import User
from portal.core import clock, faults, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.state import history
from portal.sites.domains import queries
from portal.sites.domains.models import Certificate, Domain, DomainStatus, Reason
from portal.sites.domains.services import issuing, requesting
from portal.sites.services import ownership
from tests import factories
from tests.crowd import all_at_once
from tests.servers import dns, pebble, processes, redis
from tests.servers.dns import NameServer
from tests.servers.pebble import Pebble
from tests.sites.domains.support import (
    NAME,
    age,
    fresh,
    look,
    make_active_site,
    make_domain,
    names_in,
    point,
    point_twin,
    prove,
    settle,
)
from tests.sites.hosting import SiteHost, get, secure_get, site_host
from tests.sites.support import FILES
from tests.sites.test_nginx import portal_of

pytestmark = pytest.mark.xdist_group("sites_nginx")


@pytest.fixture
def empty_folders() -> None:
    """The host of these tests has folders of its own."""


@pytest.fixture
def host() -> Iterator[SiteHost]:
    with site_host() as one:
        yield one


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    with dns.running() as server:
        yield server


@pytest.fixture
def authority(host: SiteHost, name_server: NameServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pebble]:
    with pebble.running(dns=name_server.address, http_port=host.port) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.root))
        yield server


@pytest.fixture
def tls_port() -> int:
    return processes.free_port()


@pytest.fixture
def app(
    host: SiteHost, authority: Pebble, name_server: NameServer, tls_port: int,
    redis_server: redis.RedisServer, tmp_path: Path,
) -> Iterator[Flask]:  # fmt: skip
    yield from portal_of(
        host, f"sqlite:///{tmp_path / 'domains.db'}", redis_server, tmp_path,
        sites_addresses="127.0.0.1", dns_resolvers=name_server.address, acme_directory_url=authority.url,
        nginx_listen_tls=f"127.0.0.1:{tls_port}",
    )  # fmt: skip


@pytest.fixture
def alice(app: Flask) -> User:
    return factories.make_user(email="alice@example.com", name="Alice Nowak")


def soon(host: SiteHost, is_so: Callable[[], bool]) -> bool:
    """Whether it becomes so, and stays: while nginx takes a new configuration, either may answer by turns."""
    processes.wait_until(
        lambda: is_so() and host.server.is_settled(), seconds=10, what="nginx to answer by its new configuration"
    )
    return is_so()


def mails() -> list[str]:
    db.session.rollback()
    return [mail.template for mail in db.session.scalars(db.select(MailMessage).order_by(MailMessage.id))]


def test_a_domain_goes_from_request_to_https(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User, tls_port: int
) -> None:
    site = make_active_site("bakery", alice, live=True)
    domain = look(make_domain(site))
    assert (domain.status, domain.reason) == (DomainStatus.REQUESTED, Reason.NO_ADDRESS)
    assert not list(host.config.glob("site-domain-*"))

    name_server.set(domain.name, "A", "127.0.0.1")
    domain = look(domain)
    assert (domain.status, domain.reason) == (DomainStatus.REQUESTED, Reason.NO_PROOF)
    # It leads to us, and nobody has proven it: nothing is served, and the authority has not heard of it.
    assert authority.orders() == 0
    assert get(host.port, "/", Host=NAME)[0] == 302
    assert "location" in get(host.port, "/", Host=NAME)[1]

    point(domain, name_server)
    domain = look(domain)
    assert (domain.status, domain.reason, domain.reason_detail) == (DomainStatus.LIVE, None, "")
    assert authority.orders() == 1
    assert soon(host, lambda: secure_get(tls_port, NAME)[0] == 200)
    status, headers, body = secure_get(tls_port, NAME)
    assert (status, body) == (200, FILES["index.html"])
    assert headers["content-security-policy"] == "frame-ancestors http://localhost"
    assert "strict-transport-security" not in headers
    assert secure_get(tls_port, NAME, "/css/site.css")[0] == 200
    assert secure_get(tls_port, NAME, "/.portal-release")[0] == 404
    status, headers, _body = get(host.port, "/about/?a=1", Host=NAME)
    assert (status, headers["location"]) == (301, f"https://{NAME}:{tls_port}/about/?a=1")
    assert queries.find_live_address(site) == f"https://{NAME}/"
    assert mails() == ["domain_live"]

    folder = host.config / "certificates"
    assert sorted(path.suffix for path in folder.iterdir()) == [".crt", ".key"]
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    certificate = queries.list_certificates(domain)[0]
    assert "PRIVATE KEY" not in certificate.key_sealed
    assert certificate.ends_at > clock.now() + timedelta(days=300)


def test_a_live_domain_is_watched_renewed_switched_off_and_given_up(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User, tls_port: int
) -> None:
    site = make_active_site("bakery", alice, live=True)
    domain = make_domain(site)
    point(domain, name_server)
    domain = look(domain)
    assert domain.status is DomainStatus.LIVE, domain.reason_detail
    first = domain.certificate_id

    # The records change: the owner is told which, and everything comes back by itself once they are right again.
    point(domain, name_server, to="192.0.2.77")
    domain = look(domain)
    assert (domain.status, domain.reason, domain.reason_detail) == (
        DomainStatus.FAILING, Reason.ELSEWHERE, "192.0.2.77",
    )  # fmt: skip
    assert queries.find_live_address(site) is None
    assert look(domain).status is DomainStatus.FAILING
    assert mails() == ["domain_live", "domain_failing"]
    point(domain, name_server)
    domain = look(domain)
    assert domain.status is DomainStatus.LIVE
    assert mails() == ["domain_live", "domain_failing", "domain_live"]

    # A week without trouble: browsers are told to stay with HTTPS.
    age(domain, timedelta(days=8))
    look(domain)
    assert soon(host, lambda: secure_get(tls_port, NAME)[1].get("strict-transport-security") == "max-age=2592000")

    # Near its end the certificate is replaced, under way nothing else changes.
    with unit_of_work():
        old = db.session.get_one(Certificate, first)
        old.starts_at, old.ends_at = clock.now() - timedelta(days=70), clock.now() + timedelta(days=20)
    domain = look(domain)
    assert domain.status is DomainStatus.LIVE
    assert domain.certificate_id != first
    assert authority.orders() == 2
    assert len(list((host.config / "certificates").iterdir())) == 2
    assert secure_get(tls_port, NAME)[0] == 200

    # The subscription ends: both addresses lead to the path, and back again with it.
    with unit_of_work():
        ownership.deactivate(site, at=clock.now())
    domain = look(domain)
    assert (domain.status, domain.reason) == (DomainStatus.FAILING, Reason.SITE_OFF)
    path = f"http://sites.localhost:{host.port}/bakery/"
    for ask in (lambda: secure_get(tls_port, NAME), lambda: get(host.port, "/", Host=NAME)):
        assert soon(host, lambda ask=ask: ask()[1].get("location") == path)
        assert ask()[0] == 302
    with unit_of_work():
        ownership.activate(site, at=clock.now())
    assert look(domain).status is DomainStatus.LIVE
    assert soon(host, lambda: secure_get(tls_port, NAME)[0] == 200)
    assert authority.orders() == 2

    with unit_of_work():
        requesting.remove_domain(fresh(domain), by="alice@example.com", at=clock.now())
    settle()
    assert not list(host.config.glob("site-domain-*"))
    assert not list((host.config / "certificates").iterdir())
    assert {one.key_sealed for one in queries.list_certificates(domain)} == {""}
    assert soon(host, lambda: get(host.port, "/", Host=NAME)[0] == 302)
    assert get(host.port, "/bakery/")[0] == 200


def test_the_owner_hears_of_a_certificate_that_ends_only_when_the_next_one_could_not_be_had(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User
) -> None:
    domain = make_domain(make_active_site("bakery", alice, live=True))
    point(domain, name_server)
    domain = look(domain)
    assert domain.status is DomainStatus.LIVE, domain.reason_detail

    # Late, and in time all the same.
    _let_it_end_soon(domain)
    domain = look(domain)
    assert (domain.status, mails()) == (DomainStatus.LIVE, ["domain_live"])

    authority.stop()
    _let_it_end_soon(domain)
    for _again in range(2):
        domain = look(domain)
        assert domain.status is DomainStatus.LIVE
        assert mails() == ["domain_live", "domain_certificate_ending"]
    outbox.drain("mail")
    letter = db.session.scalars(db.select(MailMessage).where(MailMessage.template == "domain_certificate_ending")).one()
    assert "The certificate authority does not answer. Nothing for you to do." in (letter.text_body or "")


def _let_it_end_soon(domain: Domain) -> None:
    """Ten days before its end; the last try to renew it is long ago."""
    with unit_of_work():
        row = queries.get_domain_by_id(domain.id)
        row.no_attempt_before = None
        for certificate in queries.list_certificates(row):
            certificate.starts_at = clock.now() - timedelta(days=80)
            certificate.ends_at = clock.now() + timedelta(days=10)


def test_an_authority_that_says_no_or_nothing_is_asked_sparingly(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User
) -> None:
    domain = make_domain(make_active_site("bakery", alice, live=True))
    point(domain, name_server)
    authority.stop()
    domain = look(domain)
    assert (domain.status, domain.reason) == (DomainStatus.FAILING, Reason.AUTHORITY_AWAY)
    assert domain.attempts == 0
    authority.start()
    # What is away is not hammered: a press of the button changes nothing before the time has come.
    assert look(domain).reason is Reason.AUTHORITY_AWAY
    assert authority.orders() == 0

    # DNS changes between our look and the authority's.
    age(domain, timedelta(hours=1))
    with faults.arm("domain-attempt-counted", lambda: point(domain, name_server, to="127.0.0.2")):
        domain = look(domain)
    assert (domain.status, domain.reason) == (DomainStatus.FAILING, Reason.AUTHORITY_REFUSED)
    assert "127.0.0.2" in domain.reason_detail
    assert (domain.attempts, authority.orders()) == (1, 1)
    # Now we see it ourselves, and the authority is not asked at all.
    age(domain, timedelta(hours=1))
    domain = look(domain)
    assert (domain.reason, authority.orders()) == (Reason.ELSEWHERE, 1)

    # A worker that dies in the middle has spent nothing; the next one begins once it can be running no more.
    point(domain, name_server)
    with faults.arm("domain-attempt-counted", "raise"):
        domain = look(domain)
    assert (domain.status, domain.attempts, domain.unfinished) == (DomainStatus.ISSUING, 1, 1)
    assert look(domain).status is DomainStatus.ISSUING
    assert authority.orders() == 1
    age(domain, timedelta(minutes=4))
    assert look(domain).status is DomainStatus.LIVE
    domain = fresh(domain)
    assert (domain.attempts, domain.unfinished, authority.orders()) == (0, 0, 2)


def test_both_names_of_a_pair_lead_to_the_site(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User, tls_port: int
) -> None:
    domain = make_domain(make_active_site("bakery", alice, live=True))
    twin = domain.twin or ""
    point(domain, name_server)
    domain = look(domain)
    # The domain works alone, and nothing was asked of the authority that it would not give.
    assert (domain.status, domain.reason) == (DomainStatus.LIVE, None)
    assert names_in(domain) == [NAME]
    secured = f"https://{NAME}:{tls_port}/about/?a=1"
    # By HTTP its twin leads to it as soon as its record does.
    assert soon(host, lambda: get(host.port, "/about/?a=1", Host=twin)[1].get("location") == secured)

    # The record comes later, and the twin comes in with the next look after the day on which a certificate was issued.
    point_twin(domain, name_server)
    assert names_in(look(domain)) == [NAME]
    age(domain, timedelta(days=1, minutes=1))
    domain = look(domain)
    assert names_in(domain) == [twin, NAME]
    assert soon(host, lambda: secure_get(tls_port, twin, "/about/?a=1")[1].get("location") == secured)
    status, headers, _body = secure_get(tls_port, twin)
    assert (status, "strict-transport-security" in headers) == (301, False)
    assert secure_get(tls_port, NAME)[0] == 200
    orders = authority.orders()
    age(domain, timedelta(days=2))
    assert (names_in(look(domain)), authority.orders()) == ([twin, NAME], orders)

    # It leaves, with a look that nobody saw: the authority refuses both, and the domain's own is renewed without it.
    with unit_of_work():
        old = db.session.get_one(Certificate, domain.certificate_id)
        old.starts_at, old.ends_at = clock.now() - timedelta(days=70), clock.now() + timedelta(days=20)
    with faults.arm("domain-attempt-counted", lambda: point_twin(domain, name_server, to="127.0.0.2")):
        domain = look(domain)
    assert (domain.status, domain.reason, domain.attempts) == (DomainStatus.LIVE, None, 0)
    assert names_in(domain) == [NAME]
    assert soon(host, lambda: secure_get(tls_port, NAME)[0] == 200)
    # Seen now: there is nothing to wait for any more.
    assert fresh(look(domain)).is_twin_pointing is False


def test_a_twin_that_the_authority_refuses_costs_the_domain_nothing(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User, tls_port: int
) -> None:
    domain = make_domain(make_active_site("bakery", alice, live=True))
    point(domain, name_server)
    point_twin(domain, name_server)
    with faults.arm("domain-attempt-counted", lambda: point_twin(domain, name_server, to="127.0.0.2")):
        domain = look(domain)
    assert (domain.status, domain.reason, domain.reason_detail) == (DomainStatus.LIVE, None, "")
    assert names_in(domain) == [NAME]
    # A twin alone is asked for sparingly: what its refusal says is noted, and the certificate that is there stays.
    point_twin(domain, name_server)
    age(domain, timedelta(days=1, minutes=1))
    with faults.arm("domain-attempt-counted", lambda: point_twin(domain, name_server, to="127.0.0.2")):
        domain = look(domain)
    assert (domain.status, domain.reason, domain.attempts) == (DomainStatus.LIVE, Reason.AUTHORITY_REFUSED, 1)
    assert domain.no_attempt_before is not None
    assert domain.no_attempt_before > clock.now() + timedelta(minutes=10)
    assert names_in(domain) == [NAME]
    assert secure_get(tls_port, NAME)[0] == 200


def test_a_certificate_is_not_asked_for_while_something_stands_against_it(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal.sites.domains.authority.Authority.identities", lambda _self: ("our-authority.example",))
    domain = make_domain(make_active_site("bakery", alice, live=True))
    point(domain, name_server)
    name_server.set("bakery-of-alice.com", "CAA", '0 issue "other.example"')
    domain = look(domain)
    assert (domain.status, domain.reason) == (DomainStatus.FAILING, Reason.CAA)
    name_server.set("bakery-of-alice.com", "CAA", '0 issue "our-authority.example; accounturi=x"')
    # Another server answers on our port for this name: the authority would find its page.
    file = host.config / "a-stranger.conf"
    file.write_text(f"server {{ listen 127.0.0.1:{host.port}; server_name {NAME}; return 200 hello; }}\n")
    host.server.reload()
    domain = look(domain)
    assert (domain.status, domain.reason) == (DomainStatus.FAILING, Reason.UNREACHABLE)
    assert "HTTP 200" in domain.reason_detail
    assert authority.orders() == 0
    file.unlink()
    host.server.reload()
    assert look(domain).status is DomainStatus.LIVE

    # The proof is looked at again until there is a certificate.
    second = make_domain(make_active_site("other", alice), "www.second-bakery.com")
    point(second, name_server)
    with unit_of_work():
        # Nobody has told the host yet.
        db.session.execute(db.delete(outbox.OutboxMessage))
    prove(second)
    name_server.set(second.proof_name, "TXT", '"something else"')
    second = look(second)
    assert (second.status, second.reason, authority.orders()) == (DomainStatus.FAILING, Reason.NO_PROOF, 1)


def test_nginx_that_refuses_a_domain_keeps_everything_else(
    app: Flask, host: SiteHost, authority: Pebble, name_server: NameServer, alice: User
) -> None:
    site = make_active_site("bakery", alice, live=True)
    # Longer than this nginx's table of names has room for: valid in DNS, refused by `nginx -t`.
    domain = make_domain(site, f"{'a' * 60}.{'b' * 60}.bakery-of-alice.com")
    point(domain, name_server)
    look(domain)
    domain = look(domain)
    assert domain.status is DomainStatus.FAILING
    words = {change.reason for change in history(domain) if change.became == "failing"}
    assert any("server_names_hash" in (one or "") for one in words), words
    assert not list(host.config.glob("site-domain-*.conf"))
    assert get(host.port, "/bakery/")[0] == 200
    assert authority.orders() == 0


def test_two_workers_spend_one_try(app: Flask, authority: Pebble, name_server: NameServer, alice: User) -> None:
    domain = ready_for_a_certificate(alice, name_server)
    all_at_once(app, [lambda: issuing.acquire(domain.id)] * 3)
    assert authority.orders() == 1
    assert len(queries.list_certificates(fresh(domain))) == 1


def test_control_without_the_guard_each_worker_spends_a_try(
    app: Flask, authority: Pebble, name_server: NameServer, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuing, "_may_ask", lambda _domain, *, at: True)
    domain = ready_for_a_certificate(alice, name_server)
    all_at_once(app, [lambda: issuing.acquire(domain.id)] * 3)
    assert authority.orders() > 1


def ready_for_a_certificate(alice: User, name_server: NameServer) -> Domain:
    """A proven domain that its host answers for; nobody has asked for a certificate yet."""
    domain = make_domain(make_active_site("bakery", alice))
    point(domain, name_server)
    domain = prove(domain)
    outbox.drain("deploy")
    return fresh(domain)
