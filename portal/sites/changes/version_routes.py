"""The versions of a site for its owner: what each was, who made it, what is different, and going back to one."""

from typing import cast

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal.accounts.models import User
from portal.core import clock, htmx, settings
from portal.core.access import verified
from portal.core.db import unit_of_work
from portal.core.errors import NotFound
from portal.sites import layout, queries
from portal.sites.changes.comparing import compare
from portal.sites.changes.presenting import show_version
from portal.sites.changes.queries import made_of
from portal.sites.errors import SiteNotFound, VersionNotFound
from portal.sites.models import Site, SiteVersion
from portal.sites.routes import bp
from portal.sites.services import restoring

_VERSIONS = "/my/sites/<slug>/versions"
_VERSION = f"{_VERSIONS}/<int(max=2147483647):version_number>"
_SERVED = "served"


def _owner() -> User:
    return cast("User", current_user)


@bp.get(_VERSIONS)
@verified
def versions(slug: str) -> ResponseReturnValue:
    """What a site was, to look at and to go back to."""
    site = queries.get_site(slug, owner=_owner())
    wanted, found = queries.find_wanted_version(site), queries.list_versions(site)
    changes = made_of(found)
    return htmx.render(
        "sites/changes/versions.html",
        fragment="sites/changes/_versions.html",
        site=site,
        versions=[show_version(one, changes.get(one.id)) for one in found],
        wanted_id=wanted.id if wanted is not None else None,
        is_waiting=wanted is not None and wanted.id != site.current_version_id,
        preview_url=layout.preview_url,
        kept=settings.current().site_versions_kept,
    )


@bp.get(_VERSION)
@verified
def version(slug: str, version_number: int) -> ResponseReturnValue:
    """One version: its files, and what is different from the one before, or from what is served."""
    site, found = _load(slug, version_number)
    wanted = queries.find_wanted_version(site)
    is_with_served = request.args.get("with") == _SERVED
    before = _compared(site, found, is_with_served=is_with_served)
    return htmx.render(
        "sites/changes/version.html",
        fragment="sites/changes/_version_differences.html",
        site=site,
        version=show_version(found, made_of([found]).get(found.id)),
        manifest=found.manifest,
        before=before,
        differences=compare(before, found),
        is_with_served=is_with_served,
        may_go_back=wanted is None or wanted.id != found.id,
        preview_url=layout.preview_url(site.slug, found.preview_name),
    )


def _load(slug: str, number: int) -> tuple[Site, SiteVersion]:
    """A version of a customer's own site. Raises NotFound, in the same words whichever of the two is not there."""
    try:
        site = queries.get_site(slug, owner=_owner())
        return site, queries.get_version(site, number)
    except (SiteNotFound, VersionNotFound):
        raise NotFound from None


def _compared(site: Site, found: SiteVersion, *, is_with_served: bool) -> SiteVersion | None:
    if is_with_served and site.current_version is not None:
        return site.current_version
    return queries.find_version_before(site, found.number)


@bp.post(f"{_VERSION}/restore")
@verified
def restore_version(slug: str, version_number: int) -> ResponseReturnValue:
    """Go back to a version."""
    site = queries.get_site(slug, owner=_owner())
    with unit_of_work():
        restoring.restore_version(site, version_number, by=_owner().email, at=clock.now())
    flash(_("Version %(number)s is being put online again.", number=version_number), "success")
    return htmx.after_post(url_for("sites.versions", slug=slug))
