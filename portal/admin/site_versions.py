"""One version of a site: its files, what changed in it, and changing a text of it."""

from contextlib import suppress

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.admin.blueprint import ROW_ID, actor, bp
from portal.admin.site_forms import TextForm
from portal.admin.sites import PAGE
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.errors import Conflict, Invalid
from portal.core.large_forms import takes_uploads
from portal.sites import layout, queries
from portal.sites.changes.comparing import compare
from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text
from portal.sites.errors import FileNotInVersion, VersionNotFound
from portal.sites.models import Site, SiteVersion
from portal.sites.services import uploading

_VERSION = f"{PAGE}/versions/<{ROW_ID}:version_number>"
# Each character of a text may take three in a form.
_FORM = 3 * LARGEST_TEXT


@bp.get(_VERSION)
@staff
def site_version(site_id: int, version_number: int) -> ResponseReturnValue:
    """A version's files, and what is different from another one: by default the one before."""
    site, version = _load(site_id, version_number)
    before = _compared(site, version)
    return htmx.render(
        "admin/site_version.html",
        site=site,
        version=version,
        before=before,
        differences=compare(before, version),
        versions_to_choose=[
            (one.number, _("Version %(number)s", number=one.number))
            for one in queries.list_versions(site)
            if one.id != version.id
        ],
        preview_url=layout.preview_url(site.slug, version.preview_name),
        is_text=is_text,
    )


def _compared(site: Site, version: SiteVersion) -> SiteVersion | None:
    wanted = request.args.get("with", "")
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 10:
        with suppress(VersionNotFound):
            return queries.get_version(site, int(wanted))
    return queries.find_version_before(site, version.number)


@bp.get(f"{_VERSION}/file")
@staff
def site_file(site_id: int, version_number: int) -> ResponseReturnValue:
    """One text of a version in a form; without a name, an empty one for a new file."""
    site, version = _load(site_id, version_number)
    path = request.args.get("path", "")
    text = queries.read_text(version, path) if path else ""
    return _show_file(site, version, TextForm(formdata=None, path=path, text=text))


@bp.post(f"{_VERSION}/file")
@staff
@takes_uploads(_FORM, text=_FORM)
def save_site_file(site_id: int, version_number: int) -> ResponseReturnValue:
    """Save a text as the site's next version and deploy it; or take the file out."""
    site, version = _load(site_id, version_number)
    form = TextForm()
    if not form.validate():
        return _show_file(site, version, form, status=422)
    path, by, at = (form.path.data or "").strip(), actor().email, clock.now()
    try:
        if "remove" in request.form:
            made = uploading.remove_file(site, version, path, by=by, at=at)
        else:
            made = uploading.save_text(
                site, version, path, form.text.data or "", note=form.note.data or "", by=by, at=at
            )
    except FileNotInVersion as error:
        form.path.errors = [str(error)]
        return _show_file(site, version, form, status=422)
    except Invalid as error:
        form.path.errors = [str(error)]
        return _show_file(site, version, form, status=error.status)
    except Conflict as conflict:
        return _show_file(site, version, form, refusal=str(conflict), status=conflict.status)
    flash(_("Version %(number)s was made and is being deployed.", number=made.number), "success")
    return htmx.after_post(url_for("admin.site", site_id=site.id))


def _load(site_id: int, version_number: int) -> tuple[Site, SiteVersion]:
    site = queries.get_site_by_id(site_id)
    return site, queries.get_version(site, version_number)


def _show_file(
    site: Site, version: SiteVersion, form: TextForm, *, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    newest = queries.find_newest_version(site)
    return htmx.render(
        "admin/site_file.html",
        status=status,
        site=site,
        version=version,
        form=form,
        refusal=refusal,
        is_new=form.path.data not in version.paths,
        is_newest=newest is not None and newest.id == version.id,
    )
