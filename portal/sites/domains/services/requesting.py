"""Asking for a domain, asking to look again, and giving one up."""

import secrets
from datetime import datetime, timedelta

from portal.core import audit, outbox
from portal.core.db import db
from portal.sites import storage
from portal.sites.domains import queries
from portal.sites.domains.errors import (
    DomainRemoved,
    DomainsClosed,
    DomainsNotOffered,
    DomainTaken,
    SiteHasDomain,
)
from portal.sites.domains.models import Domain, DomainStatus
from portal.sites.domains.names import read_name, twin_of
from portal.sites.domains.services.moving import DUE, locked, look_soon, publish_apply, subject
from portal.sites.models import Site

_AGAIN = timedelta(seconds=5)


def request_domain(site: Site, text: str, *, by: str, at: datetime) -> Domain:
    """Begin to connect a domain to a site; asking for the same one again changes nothing.

    Raises DomainsNotOffered, DomainsClosed, SiteHasDomain, InvalidName and DomainTaken. That nobody has the name now
    says little: several may ask for it, and whoever proves it first has it.
    """
    if not queries.is_offered():
        raise DomainsNotOffered
    # Two requests for one site wait for each other here; the index would refuse the second with an error instead.
    site = storage.lock_site(site.id)
    if not site.may_be_changed:
        raise DomainsClosed
    name = read_name(text, ours=queries.our_hosts())
    known = queries.find_domain(site)
    if known is not None:
        if known.name == name:
            return known
        raise SiteHasDomain
    twin = twin_of(name)
    proof_of = min(name, twin or name, key=len)
    if queries.is_taken(proof_of):
        raise DomainTaken(field="name")
    domain = Domain(
        site_id=site.id,
        name=name,
        twin=twin,
        proof_of=proof_of,
        token=secrets.token_urlsafe(24),
        status=DomainStatus.REQUESTED,
        next_check_at=at,
        created_at=at,
    )
    db.session.add(domain)
    db.session.flush()
    outbox.publish(DUE, domain_id=domain.id)
    audit.record(
        "domain.requested", actor=by, subject=subject(domain), after={"name": name, "site": site.slug, "by": by}
    )
    return domain


def ask_to_look(domain: Domain, *, at: datetime) -> None:
    """Have the domain looked at now, or as soon as the last look is a few seconds old: pressed again, it is one look.

    Raises DomainRemoved.
    """
    domain = locked(domain.id)
    if domain.is_removed:
        raise DomainRemoved
    # Whoever presses right after a look may have set a record in between.
    due = at if domain.checked_at is None else max(at, domain.checked_at + _AGAIN)
    look_soon(domain, at=due, key=f"domain-look:{domain.id}:{int(due.timestamp()) // _AGAIN.seconds}")


def remove_domain(domain: Domain, *, by: str, at: datetime) -> Domain:
    """Give a domain up: the site is found under its path alone, and the name is free. Again changes nothing."""
    domain = locked(domain.id)
    if domain.is_removed:
        return domain
    domain.removed_at, domain.live_since = at, None
    for certificate in queries.list_certificates(domain, limit=1_000):
        # Nobody needs the key any more, and nobody shall find it.
        certificate.key_sealed = ""
    publish_apply(domain)
    audit.record("domain.removed", actor=by, subject=subject(domain), before={"name": domain.name})
    return domain
