"""Keeping what is needed of the past: the newest versions of each site, and all that are served or waited for."""

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from portal.core import audit, outbox, settings
from portal.core.db import db
from portal.sites import storage
from portal.sites.hosts import each_host
from portal.sites.models import Deployment, DeploymentStatus, DeploymentStep, Site, SiteVersion

FORGOTTEN = "site_versions.forgotten"
_NEEDED = (DeploymentStatus.QUEUED, DeploymentStatus.RUNNING, DeploymentStatus.LIVE)


def sites_with_too_many(*, limit: int = 100) -> list[int]:
    """The ids of sites that have more versions than are kept."""
    statement = select(SiteVersion.site_id).group_by(SiteVersion.site_id).having(func.count() > _kept()).limit(limit)
    return list(db.session.scalars(statement))


def every_site(*, after: int = 0, limit: int = 100) -> list[int]:
    """The ids of sites, from one on."""
    statement = select(Site.id).where(Site.id > after, Site.purged_at.is_(None)).order_by(Site.id).limit(limit)
    return list(db.session.scalars(statement))


def forget_old_versions(site_id: int) -> list[int]:
    """Remove the versions of a site that are neither among the newest nor needed: returns their numbers."""
    site = storage.lock_site(site_id)
    versions = db.session.scalars(
        select(SiteVersion).where(SiteVersion.site_id == site_id).order_by(SiteVersion.number.desc())
    ).all()
    needed = set(
        db.session.scalars(
            select(Deployment.version_id).where(Deployment.site_id == site_id, Deployment.status.in_(_NEEDED))
        )
    )
    old = [
        version for version in versions[_kept() :] if version.id not in needed and version.id != site.current_version_id
    ]
    gone = [version.number for version in old if _forget(version)]
    if gone:
        for host in each_host():
            outbox.publish(FORGOTTEN, queue=host.queue, site_id=site_id, host=host.name)
        audit.record(FORGOTTEN, actor="job:sites", subject=f"sites:{site_id}", after={"versions": gone})
    return sorted(gone)


def _kept() -> int:
    return settings.current().site_versions_kept


def _forget(version: SiteVersion) -> bool:
    """Remove a version with the deployments that ended; one that something else refers to stays."""
    try:
        with db.session.begin_nested():
            deployments = select(Deployment.id).where(Deployment.version_id == version.id).scalar_subquery()
            db.session.execute(delete(DeploymentStep).where(DeploymentStep.deployment_id.in_(deployments)))
            db.session.execute(delete(Deployment).where(Deployment.version_id == version.id))
            db.session.execute(delete(SiteVersion).where(SiteVersion.id == version.id))
    except IntegrityError:
        return False
    return True
