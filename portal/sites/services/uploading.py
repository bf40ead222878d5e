"""Content that staff bring: a new site with its first files, new files for a site, one file changed."""

from collections.abc import Mapping
from datetime import datetime

from flask_babel import lazy_gettext as _l

from portal.core.db import unit_of_work
from portal.sites import queries
from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text
from portal.sites.content.names import check_name
from portal.sites.errors import ContentRefused
from portal.sites.models import Site, SiteVersion, VersionOrigin
from portal.sites.services import deploying, keeping, versions
from portal.sites.services.keeping import SiteValues


def open_site(slug: str, values: SiteValues, files: Mapping[str, bytes], *, by: str, at: datetime) -> Site:
    """Make a site with its first version and have it deployed; refused content leaves no site behind.

    Opens its own transactions. Raises InvalidSite, SlugTaken or ContentRefused.
    """
    versions.merge(files, None, ())
    with unit_of_work():
        site = keeping.create_site(slug, values, by=by, at=at)
    replace_content(site, files, note="", by=by, at=at)
    return site


def replace_content(site: Site, files: Mapping[str, bytes], *, note: str, by: str, at: datetime) -> SiteVersion:
    """Make a version of an upload and have it deployed. Opens its own transactions.

    Raises ContentRefused, NothingChanged or SiteDeleted.
    """
    version = versions.create_version(site, files, note=note, author=by, origin=VersionOrigin.UPLOAD, at=at)
    return _deploy(site, version, by=by, at=at)


def save_text(
    site: Site, based_on: SiteVersion, path: str, text: str, *, note: str, by: str, at: datetime
) -> SiteVersion:
    """Change one text of a site, or add one, and have the result deployed. Opens its own transactions.

    Raises ContentRefused, NothingChanged, VersionMoved or SiteDeleted.
    """
    check_name(path)
    # A form sends every line end as two characters; the files of the web have one.
    content = text.replace("\r\n", "\n").encode("utf-8", "surrogatepass")
    if not is_text(path) or len(content) > LARGEST_TEXT:
        raise ContentRefused(_l("%(file)s: only texts of up to 512 KB are changed here.", file=path), path)
    version = versions.create_version(
        site, {path: content}, based_on=based_on, note=note, author=by, origin=VersionOrigin.EDIT, at=at
    )
    return _deploy(site, version, by=by, at=at)


def remove_file(site: Site, based_on: SiteVersion, path: str, *, by: str, at: datetime) -> SiteVersion:
    """Take one file out of a site and have the result deployed. Opens its own transactions.

    Raises ContentRefused, FileNotInVersion, VersionMoved or SiteDeleted.
    """
    note = str(_l("%(file)s removed", file=path))
    version = versions.create_version(
        site, {}, based_on=based_on, removed=[path], note=note, author=by, origin=VersionOrigin.EDIT, at=at
    )
    return _deploy(site, version, by=by, at=at)


def _deploy(site: Site, version: SiteVersion, *, by: str, at: datetime) -> SiteVersion:
    # Should the process die just before, the version is there and one click deploys it.
    with unit_of_work():
        deploying.request_deployment(queries.get_site_by_id(site.id), version, by=by, at=at)
    return version
