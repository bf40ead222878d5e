"""Domains for staff, a page at a time."""

from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload

from portal.accounts.models import User
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.sites.domains.models import Domain, DomainStatus
from portal.sites.models import Site


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain in the list, and whose it is."""

    domain: Domain
    owner_email: str | None

    @property
    def id(self) -> int:
        """The domain's id."""
        return self.domain.id


def domains_page(
    *, text: str, status: DomainStatus | None, is_removed: bool, before: str | None, after: str | None
) -> Page[DomainRow]:
    """A page of domains, newest first, found by name or site; two statements, however many there are."""
    statement = (
        select(Domain)
        .join(Site, Site.id == Domain.site_id)
        .options(joinedload(Domain.site), joinedload(Domain.certificate))
        .where(Domain.removed_at.is_not(None) if is_removed else Domain.removed_at.is_(None))
    )
    if status is not None:
        statement = statement.where(Domain.status == status)
    if text:
        statement = statement.where(
            or_(Domain.name.contains(text.lower(), autoescape=True), Site.title.icontains(text, autoescape=True))
        )
    page = paginate(statement, Domain.id, before=before, after=after)
    owners = _owners(page.rows)
    rows = [DomainRow(domain, owners.get(domain.site.owner_id or 0)) for domain in page.rows]
    return Page(rows=rows, older=page.older, newer=page.newer)


def _owners(domains: list[Domain]) -> dict[int, str]:
    ids = {domain.site.owner_id for domain in domains if domain.site.owner_id is not None}
    found = db.session.execute(select(User.id, User.email).where(User.id.in_(ids))) if ids else ()
    return {row.id: row.email for row in found}
