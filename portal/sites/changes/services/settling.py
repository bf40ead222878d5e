"""Changes that were accepted and are on the web by now: each becomes live with the deployment that brings it."""

from datetime import datetime

from sqlalchemy import select

from portal.core import mail
from portal.core.db import db
from portal.core.state import transition
from portal.sites.changes.models import ChangeRequest, ChangeStatus
from portal.sites.hosts import each_host
from portal.sites.models import Deployment, DeploymentStatus, Site, SiteVersion

_BY = "job:deploy"


def note_served(site: Site, *, at: datetime) -> None:
    """In the transaction that makes a deployment live, with the site locked: tell the owner what is online now.

    A change is live when every host serves its version or a newer one, which is made of it.
    """
    waiting = db.session.scalars(
        select(ChangeRequest).where(ChangeRequest.site_id == site.id, ChangeRequest.status == ChangeStatus.ACCEPTED)
    ).all()
    if not waiting:
        return
    live = db.session.execute(
        select(Deployment.host, SiteVersion.number)
        .join(SiteVersion, SiteVersion.id == Deployment.version_id)
        .where(Deployment.site_id == site.id, Deployment.status == DeploymentStatus.LIVE)
    )
    served = {row.host: row.number for row in live}
    oldest = min(served.get(host.name, 0) for host in each_host())
    for change in waiting:
        if change.version_number is not None and change.version_number <= oldest:
            transition(change, ChangeStatus.LIVE, by=_BY, at=at, values={"updated_at": at})
            mail.send(
                "change_live", to=change.asked_by.email, locale=change.asked_by.locale,
                key=f"change_live:{change.id}", change_id=change.id,
            )  # fmt: skip
