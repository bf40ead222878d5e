"""An owner goes back to an earlier version: its content becomes the newest version, and is deployed."""

from datetime import datetime

from flask_babel import gettext as _

from portal.sites import queries, storage
from portal.sites.content.checking import read_manifest
from portal.sites.errors import NothingChanged
from portal.sites.models import Site, SiteVersion, VersionOrigin
from portal.sites.services import deploying, versions


def restore_version(site: Site, number: int, *, by: str, at: datetime) -> SiteVersion:
    """Serve an earlier version again, in the caller's transaction; restoring what is served already changes nothing.

    Raises VersionNotFound or SiteDeleted.
    """
    locked = storage.lock_site(site.id)
    wanted = queries.get_version(locked, number)
    served = queries.find_wanted_version(locked)
    if served is not None and served.manifest_sha256 == wanted.manifest_sha256:
        return served
    content = versions.Draft(locked.id, tuple(read_manifest(wanted.manifest)))
    note = _("Version %(number)s restored", number=number)
    try:
        version = versions.add_version(content, note=note, author=by, origin=VersionOrigin.RESTORE, at=at)
    except NothingChanged:
        # The newest version is just that, and something older is served.
        version = queries.find_newest_version(locked) or wanted
    deploying.request_deployment(locked, version, by=by, at=at)
    return version
