"""Sites for staff, a page at a time."""

from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.orm import joinedload

from portal.accounts.models import User
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.sites.models import Deployment, Site, SiteStatus, SiteVersion


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A site in the list: whose it is, what is served, and how its newest deployment stands."""

    site: Site
    owner_email: str | None
    deployment: Deployment | None

    @property
    def id(self) -> int:
        """The site's id."""
        return self.site.id


def sites_page(
    *, text: str, status: SiteStatus | None, is_deleted: bool, before: str | None, after: str | None
) -> Page[SiteRow]:
    """A page of sites, newest first, found by title or address; three statements, however many there are."""
    statement = (
        select(Site)
        .where(Site.purged_at.is_(None))
        .options(joinedload(Site.current_version).defer(SiteVersion.manifest))
    )
    statement = statement.where(Site.deleted_at.is_not(None) if is_deleted else Site.deleted_at.is_(None))
    if status is not None:
        statement = statement.where(Site.status == status)
    if text:
        statement = statement.where(
            or_(Site.title.icontains(text, autoescape=True), Site.slug.contains(text.lower(), autoescape=True))
        )
    page = paginate(statement, Site.id, before=before, after=after)
    owners, newest = _owners(page.rows), _newest(page.rows)
    rows = [SiteRow(site, owners.get(site.owner_id or 0), newest.get(site.id)) for site in page.rows]
    return Page(rows=rows, older=page.older, newer=page.newer)


def _owners(sites: list[Site]) -> dict[int, str]:
    ids = [site.owner_id for site in sites if site.owner_id is not None]
    found = db.session.execute(select(User.id, User.email).where(User.id.in_(ids))) if ids else ()
    return {row.id: row.email for row in found}


def _newest(sites: list[Site]) -> dict[int, Deployment]:
    ids = [site.id for site in sites]
    latest = select(func.max(Deployment.id)).where(Deployment.site_id.in_(ids)).group_by(Deployment.site_id)
    if not ids:
        return {}
    return {one.site_id: one for one in db.session.scalars(select(Deployment).where(Deployment.id.in_(latest)))}
