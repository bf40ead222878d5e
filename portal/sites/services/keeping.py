"""Keeping the list of sites: create, describe, delete, bring back, and let go of for good."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy import delete, select, update

from portal.core import audit, outbox
from portal.core.db import db
from portal.core.money import is_currency
from portal.sites import purchases, storage
from portal.sites.changes.models import ChangeDraft
from portal.sites.errors import InvalidSite, SiteBeingBought, SiteDeleted, SiteInUse, SlugTaken, UndoOver
from portal.sites.hosts import each_host
from portal.sites.models import (
    DEFAULT_CURRENCY,
    DEFAULT_MONTHLY_MINOR,
    DEFAULT_PURCHASE_MINOR,
    DEFAULT_TAX_RATE,
    UNDO,
    Deployment,
    DeploymentStep,
    Site,
    SiteBlob,
    SiteStatus,
    SiteVersion,
)
from portal.sites.services.deploying import request_deployment
from portal.sites.slugs import GONE, check_slug

TAKEN_DOWN = "site.taken_down"
_LONGEST_TITLE, _LONGEST_SUMMARY, _LONGEST_NOTES = 120, 300, 5_000
_HIGHEST_PRICE = 10**9


@dataclass(frozen=True, slots=True)
class SiteValues:
    """What staff say about a site. Prices are in minor units of `currency`, with the tax in them."""

    title: str
    summary: str = ""
    purchase_price_minor: int = DEFAULT_PURCHASE_MINOR
    monthly_price_minor: int = DEFAULT_MONTHLY_MINOR
    currency: str = DEFAULT_CURRENCY
    tax_rate_basis_points: int = DEFAULT_TAX_RATE
    notes: str = ""

    def check(self) -> None:
        """Raises InvalidSite, naming the field."""
        for name, longest in (("title", _LONGEST_TITLE), ("summary", _LONGEST_SUMMARY), ("notes", _LONGEST_NOTES)):
            text = getattr(self, name)
            if len(text) > longest:
                raise InvalidSite(_l("This is longer than %(count)s characters.", count=longest), field=name)
            if any(not letter.isprintable() and letter not in "\r\n\t" for letter in text):
                raise InvalidSite(_l("This holds characters that cannot be printed."), field=name)
        if not self.title.strip():
            raise InvalidSite(_l("Give the site a title."), field="title")
        if not is_currency(self.currency):
            raise InvalidSite(_l("This is not a currency that is in use."), field="currency")
        for name in ("purchase_price_minor", "monthly_price_minor"):
            if not 0 < getattr(self, name) <= _HIGHEST_PRICE:
                raise InvalidSite(_l("The price must be more than zero."), field=name)
        if not 0 <= self.tax_rate_basis_points <= 10_000:
            raise InvalidSite(_l("The tax rate must be between 0 and 100 percent."), field="tax_rate_basis_points")


def create_site(slug: str, values: SiteValues, *, by: str, at: datetime) -> Site:
    """Make a site without content, for sale. Raises InvalidSite or SlugTaken."""
    check_slug(slug)
    values.check()
    _require_free(slug)
    site = Site(public_id=str(uuid.uuid4()), slug=slug, status=SiteStatus.PREVIEW, last_version_number=0, created_at=at)
    _fill(site, values, at)
    db.session.add(site)
    db.session.flush()
    audit.record("site.created", actor=by, subject=subject(site), after={"slug": slug, **_facts(site)})
    return site


def update_site(site: Site, values: SiteValues, *, by: str, at: datetime) -> Site:
    """Change what is said about a site; its address stays. Raises InvalidSite or SiteDeleted."""
    values.check()
    site = storage.lock_site(site.id)
    if site.is_deleted:
        raise SiteDeleted
    before = _facts(site)
    _fill(site, values, at)
    if _facts(site) != before:
        audit.record("site.updated", actor=by, subject=subject(site), before=before, after=_facts(site))
    return site


def delete_site(site: Site, *, by: str, at: datetime) -> Site:
    """Take a site off the web; for 30 days it can be brought back. Deleting again changes nothing.

    Raises SiteInUse while a subscription runs, SiteBeingBought while somebody is about to pay for it.
    """
    site = storage.lock_site(site.id)
    if site.is_deleted:
        return site
    if site.status is SiteStatus.ACTIVE:
        raise SiteInUse
    if site.status is SiteStatus.PREVIEW and purchases.find_standing(site.id) is not None:
        raise SiteBeingBought
    site.deleted_at = site.updated_at = at
    audit.record("site.deleted", actor=by, subject=subject(site))
    _tell_hosts(site)
    return site


def undelete_site(site: Site, *, by: str, at: datetime) -> Site:
    """Bring a deleted site back, with the content it had. Raises UndoOver."""
    site = storage.lock_site(site.id)
    if not site.can_be_undeleted(at):
        raise UndoOver
    site.deleted_at, site.updated_at = None, at
    audit.record("site.undeleted", actor=by, subject=subject(site))
    if site.current_version is not None:
        request_deployment(site, site.current_version, by=by, at=at)
    return site


def purge_deleted(*, at: datetime, limit: int = 20) -> list[str]:
    """Let go of sites whose undo period is over: returns what to delete from the storage after the commit."""
    over = db.session.scalars(
        select(Site).where(Site.deleted_at < at - UNDO, Site.purged_at.is_(None)).order_by(Site.id).limit(limit)
    ).all()
    return [name for site in over for name in _purge(site, at)]


def _purge(site: Site, at: datetime) -> list[str]:
    site = storage.lock_site(site.id)
    if site.deleted_at is None or site.purged_at is not None:
        return []
    names = list(db.session.scalars(select(SiteBlob.name).where(SiteBlob.site_id == site.id)))
    deployments = select(Deployment.id).where(Deployment.site_id == site.id).scalar_subquery()
    site.current_version_id = None
    db.session.flush()
    db.session.execute(delete(DeploymentStep).where(DeploymentStep.deployment_id.in_(deployments)))
    db.session.execute(delete(Deployment).where(Deployment.site_id == site.id))
    db.session.execute(delete(ChangeDraft).where(ChangeDraft.site_id == site.id))
    db.session.execute(update(SiteVersion).where(SiteVersion.site_id == site.id).values(based_on_id=None))
    db.session.execute(delete(SiteVersion).where(SiteVersion.site_id == site.id))
    db.session.execute(delete(SiteBlob).where(SiteBlob.site_id == site.id))
    audit.record("site.purged", actor="job:sites", subject=subject(site), before={"slug": site.slug})
    _tell_hosts(site)
    site.slug, site.purged_at, site.updated_at = f"{GONE}{site.id}", at, at
    db.session.flush()
    return names


def _tell_hosts(site: Site) -> None:
    for host in each_host():
        outbox.publish(TAKEN_DOWN, queue=host.queue, site_id=site.id, slug=site.slug)


def subject(site: Site) -> str:
    """What the audit log calls a site."""
    return f"sites:{site.id}"


def _require_free(slug: str) -> None:
    if db.session.scalar(select(Site.id).where(Site.slug == slug)) is not None:
        raise SlugTaken(field="slug")


def _fill(site: Site, values: SiteValues, at: datetime) -> None:
    site.title = values.title.strip()
    site.summary = values.summary.strip()
    site.purchase_price_minor = values.purchase_price_minor
    site.monthly_price_minor = values.monthly_price_minor
    site.currency = values.currency
    site.tax_rate_basis_points = values.tax_rate_basis_points
    site.notes = values.notes.strip()
    site.updated_at = at


def _facts(site: Site) -> dict[str, str | int]:
    return {
        "title": site.title,
        "summary": site.summary,
        "purchase_price_minor": site.purchase_price_minor,
        "monthly_price_minor": site.monthly_price_minor,
        "currency": site.currency,
        "tax_rate_basis_points": site.tax_rate_basis_points,
        "notes": site.notes,
    }
