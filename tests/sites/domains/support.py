"""Domains for tests: sites that may have one, and name servers that say what they should."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509

from portal.accounts.models import User
from portal.core import clock, outbox, sealed
from portal.core.db import db, unit_of_work
from portal.sites.domains import queries
from portal.sites.domains.models import Certificate, Domain, DomainStatus
from portal.sites.domains.records import Sighting, judge
from portal.sites.domains.services import checking, requesting
from portal.sites.domains.services.checking import Step
from portal.sites.domains.services.issuing import KEY_PURPOSE
from portal.sites.domains.services.moving import locked, look_soon, move
from portal.sites.models import Site
from portal.sites.services import ownership
from tests.servers.dns import NameServer
from tests.sites.support import make_live_site, make_site

NAME = "www.bakery-of-alice.com"
OURS = "127.0.0.1"


def make_active_site(slug: str, owner: User, *, live: bool = False) -> Site:
    """A site whose subscription runs."""
    site = make_live_site(slug, owner=owner) if live else make_site(slug, owner=owner)
    with unit_of_work():
        return ownership.activate(site, at=clock.now())


def make_domain(site: Site, name: str = NAME) -> Domain:
    """A domain that was asked for and not looked at yet."""
    with unit_of_work():
        return requesting.request_domain(site, name, by="alice@example.com", at=clock.now())


def point_twin(domain: Domain, *servers: NameServer, to: str = OURS) -> None:
    """Set the record that brings in the other name of the pair."""
    for server in servers:
        server.set(domain.twin or "", "A", to)


def point(domain: Domain, *servers: NameServer, to: str = OURS, proof: str | None = None) -> None:
    """Set both records of a domain, as its owner does."""
    for server in servers:
        server.set(domain.name, "A", to)
        server.set(domain.proof_name, "TXT", f'"{proof or domain.proof}"')


def fresh(domain: Domain) -> Domain:
    """The domain as the database has it now."""
    db.session.rollback()
    return db.session.get_one(Domain, domain.id, populate_existing=True)


def sighting(*, addresses: tuple[str, ...] = (), texts: tuple[str, ...] = (), problem: str = "") -> Sighting:
    """What one resolver says."""
    return Sighting("192.0.2.53", texts=texts, addresses=addresses, problem=problem)


def see(
    domain: Domain, *sightings: Sighting, at: datetime | None = None, twin: Sequence[Sighting] | None = None
) -> Step:
    """Let resolvers say this of a domain and its twin; what would follow by asking others does not."""
    verdict = judge(sightings, proof=domain.proof, ours={OURS})
    other = judge(twin, proof="", ours={OURS}) if twin is not None else None
    with unit_of_work():
        return checking.take_step(domain.id, list(sightings), verdict, twin=other, at=at or clock.now())


def prove(domain: Domain, *, at: datetime | None = None) -> Domain:
    """Let everything about its records be right."""
    see(domain, sighting(addresses=(OURS,), texts=(domain.proof,)), at=at)
    return fresh(domain)


def make_live_domain(site: Site, name: str = NAME, *, days: int = 90) -> Domain:
    """A domain that works, with a certificate that nobody has issued."""
    domain, at = prove(make_domain(site, name)), clock.now()
    with unit_of_work():
        certificate = Certificate(
            domain_id=domain.id, chain_pem="", key_sealed=sealed.seal("", purpose=KEY_PURPOSE), fingerprint="ab" * 32,
            starts_at=at, ends_at=at + timedelta(days=days), created_at=at,
        )  # fmt: skip
        db.session.add(certificate)
        db.session.flush()
        row = locked(domain.id)
        move(row, DomainStatus.ISSUING, at=at, certificate_id=certificate.id)
        move(row, DomainStatus.LIVE, at=at, live_since=at)
    return fresh(domain)


def look(domain: Domain) -> Domain:
    """Have it looked at, and carry out what follows, here and on the site host, until nothing is left to do now."""
    with unit_of_work():
        look_soon(locked(domain.id), at=clock.now())
    settle()
    return fresh(domain)


def names_in(domain: Domain) -> list[str]:
    """The names that the domain's certificate is for, in order."""
    first = x509.load_pem_x509_certificate(queries.list_certificates(domain)[0].chain_pem.encode())
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(names.get_values_for_type(x509.DNSName))


def settle() -> None:
    """Carry out everything that is due."""
    while outbox.drain("default") + outbox.drain("deploy"):
        pass


def age(domain: Domain, by: timedelta) -> None:
    """Let the domain be older than it is."""
    with unit_of_work():
        row = queries.get_domain_by_id(domain.id)
        for name in (
            "created_at",
            "proven_at",
            "live_since",
            "failing_since",
            "checked_at",
            "attempted_at",
            "no_attempt_before",
        ):
            if getattr(row, name) is not None:
                setattr(row, name, getattr(row, name) - by)
