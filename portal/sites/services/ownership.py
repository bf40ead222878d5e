"""Whose a site is: from the shop window to its buyer, and whether the subscription for it runs."""

from datetime import datetime

from portal.accounts.models import User
from portal.core import audit
from portal.core.state import InvalidTransition, transition
from portal.sites import storage
from portal.sites.errors import SiteDeleted
from portal.sites.models import Site, SiteStatus
from portal.sites.services.keeping import subject

_BUYING, _BILLING = "job:purchase", "job:subscription"


def hand_over(site: Site, user: User, *, by: str = _BUYING, at: datetime) -> Site:
    """Give a site that was bought to its buyer; handing it to the same one again changes nothing.

    Raises InvalidTransition when it is somebody else's already, SiteDeleted when it was taken down.
    """
    site = storage.lock_site(site.id)
    if site.owner_id == user.id:
        return site
    if site.is_deleted:
        raise SiteDeleted
    transition(site, SiteStatus.OWNED, by=by, at=at, values={"owner_id": user.id, "updated_at": at})
    audit.record("site.handed_over", actor=by, subject=subject(site), after={"owner_id": user.id})
    return site


def activate(site: Site, *, by: str = _BILLING, at: datetime) -> Site:
    """The subscription runs: change requests and a domain are open. Doing it again changes nothing.

    Raises InvalidTransition for a site that nobody has bought.
    """
    return _move(site, SiteStatus.ACTIVE, by=by, at=at)


def deactivate(site: Site, *, by: str = _BILLING, at: datetime, reason: str | None = None) -> Site:
    """The subscription ended: the site stays on its path. Doing it again changes nothing.

    Raises InvalidTransition for a site that nobody has bought.
    """
    return _move(site, SiteStatus.OWNED, by=by, at=at, reason=reason)


def _move(site: Site, to: SiteStatus, *, by: str, at: datetime, reason: str | None = None) -> Site:
    site = storage.lock_site(site.id)
    if site.owner_id is None:
        # The table has that arrow, but it is the buyer's to take.
        raise InvalidTransition(site, to)
    if site.status is not to:
        transition(site, to, by=by, at=at, reason=reason, values={"updated_at": at})
    return site
