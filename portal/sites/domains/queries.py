"""Reading domains; whose they are is part of the question."""

from sqlalchemy import select

from portal.core import settings
from portal.core.db import db
from portal.sites.domains.errors import DomainNotFound
from portal.sites.domains.models import Certificate, Domain, DomainCheck, DomainStatus
from portal.sites.models import Site
from portal.sites.responses import host_name


def is_offered() -> bool:
    """Whether this installation has addresses that a domain can be pointed to."""
    return bool(settings.current().sites_addresses)


def our_hosts() -> set[str]:
    """The names under which this installation itself is found."""
    options = settings.current()
    return {host_name(options.portal_url), host_name(options.sites_url)}


def find_domain(site: Site) -> Domain | None:
    """A site's domain, whatever its state; None when it has none."""
    found: Domain | None = db.session.scalars(
        select(Domain).where(Domain.site_id == site.id, Domain.removed_at.is_(None))
    ).one_or_none()
    return found


def get_domain(site: Site) -> Domain:
    """A site's domain. Raises DomainNotFound."""
    domain = find_domain(site)
    if domain is None:
        raise DomainNotFound
    return domain


def get_domain_by_id(domain_id: int) -> Domain:
    """Any domain, for staff. Raises DomainNotFound."""
    domain: Domain | None = db.session.get(Domain, domain_id)
    if domain is None:
        raise DomainNotFound
    return domain


def find_live_address(site: Site) -> str | None:
    """Where visitors find a site under its own domain; None while it is found by its path alone."""
    name = db.session.scalar(
        select(Domain.name).where(
            Domain.site_id == site.id, Domain.removed_at.is_(None), Domain.status == DomainStatus.LIVE
        )
    )
    return f"https://{name}/" if name else None


def is_taken(proof_of: str) -> bool:
    """Whether somebody has proven this name, and with it the whole pair."""
    found = select(Domain.id).where(
        Domain.proof_of == proof_of, Domain.removed_at.is_(None), Domain.proven_at.is_not(None)
    )
    return db.session.scalar(found) is not None


def list_checks(domain: Domain, *, limit: int = 1) -> list[DomainCheck]:
    """What was seen of a domain, newest first."""
    statement = (
        select(DomainCheck).where(DomainCheck.domain_id == domain.id).order_by(DomainCheck.id.desc()).limit(limit)
    )
    return list(db.session.scalars(statement))


def list_certificates(domain: Domain, *, limit: int = 10) -> list[Certificate]:
    """A domain's certificates, newest first."""
    statement = (
        select(Certificate).where(Certificate.domain_id == domain.id).order_by(Certificate.id.desc()).limit(limit)
    )
    return list(db.session.scalars(statement))
