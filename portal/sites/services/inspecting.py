"""Looking every night at what lies on the disks of site hosts: is each served release still what was put there?

Each host's own worker compares its own disk, one release at a time; what it finds is written to the deployment.
"""

from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import select

from portal.core import clock, outbox, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.queues import QueueName
from portal.sites import layout, releases
from portal.sites.content.checking import read_manifest
from portal.sites.hosts import each_host
from portal.sites.models import Deployment, DeploymentStatus, Site

DUE = "release.due"
_LEASE = timedelta(seconds=60)
_LOCK_SECONDS = 20
# So many in a night, those first that were not looked at for longest.
_MOST = 500


def call_up(*, at: datetime, limit: int = _MOST) -> int:
    """Have the served releases compared; returns how many."""
    queues = {host.name: host.queue for host in each_host()}
    live = (
        select(Deployment)
        .join(Site, Site.id == Deployment.site_id)
        .where(Deployment.status == DeploymentStatus.LIVE, Deployment.host.in_(queues), Site.deleted_at.is_(None))
        .order_by(Deployment.inspected_at.asc().nulls_first(), Deployment.id)
        .limit(limit)
    )
    found = list(db.session.scalars(live))
    for one in found:
        key = f"release-due:{one.id}:{at.date().isoformat()}"
        outbox.publish(DUE, queue=queues[one.host], key=key, deployment_id=one.id)
    return len(found)


@outbox.handles(DUE, queue=QueueName.DEPLOY, lease=_LEASE)
def inspect(deployment_id: int) -> None:
    """Compare one release with its version, file by file; one that is served no longer is left alone.

    Raises layout.Busy while the site is being deployed: then it is tried again.
    """
    slug = db.session.scalar(
        select(Site.slug).join(Deployment, Deployment.site_id == Site.id).where(Deployment.id == deployment_id)
    )
    stop_reading()
    if slug is None:
        return
    # The lock of deployments: under it, what is served is what the row says, or it is damaged.
    with layout.locked(Path(settings.current().sites_root), slug, seconds=_LOCK_SECONDS):
        deployment = db.session.get_one(Deployment, deployment_id, populate_existing=True)
        if deployment.status is not DeploymentStatus.LIVE or deployment.release is None:
            return
        release, entries = deployment.release, read_manifest(deployment.version.manifest)
        stop_reading()
        place = layout.place_of(slug)
        is_whole = releases.current(place) == release and releases.is_whole(place.releases / release, entries)
        with unit_of_work():
            _write(deployment_id, is_whole=is_whole, at=clock.now())


def _write(deployment_id: int, *, is_whole: bool, at: datetime) -> None:
    deployment = db.session.get_one(Deployment, deployment_id, with_for_update=True, populate_existing=True)
    deployment.inspected_at = at
    deployment.damaged_at = None if is_whole else deployment.damaged_at or at
