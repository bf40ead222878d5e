"""Hosted sites: the list, one with its versions and deployments, new content, taking down and bringing back."""

from functools import partial

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.accounts.models import User
from portal.admin import filters, site_wording  # noqa: F401  # templates find its words by themselves
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries.sites import sites_page
from portal.admin.site_forms import ContentForm, NewSiteForm, SiteForm, default_values, site_values
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, Invalid
from portal.core.large_forms import takes_uploads
from portal.sites import layout, queries
from portal.sites.content.archives import LARGEST_ZIP
from portal.sites.content.checking import LARGEST_SITE, MOST_FILES
from portal.sites.models import SiteStatus
from portal.sites.services import deploying, keeping, uploading

PAGE = f"/sites/<{ROW_ID}:site_id>"
_STATES = ("deleted",)
_UPLOAD = max(LARGEST_ZIP, LARGEST_SITE)


@bp.get("/sites", endpoint="sites")
@staff
def site_list() -> ResponseReturnValue:
    """All sites, newest first."""
    page = sites_page(
        text=filters.text(),
        status=filters.choice("status", SiteStatus),
        is_deleted=filters.one_of("state", _STATES) is not None,
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render("admin/sites.html", fragment="admin/_sites.html", page=page, statuses=SiteStatus)


@bp.get("/sites/new")
@staff
def new_site() -> ResponseReturnValue:
    """An empty form."""
    return _show_new(NewSiteForm(formdata=None, data=default_values()))


@bp.post("/sites/new")
@staff
@takes_uploads(_UPLOAD, parts=MOST_FILES + 100)
def create_site() -> ResponseReturnValue:
    """Make a site of an upload and put it online."""
    form = NewSiteForm()
    if not form.validate():
        return _show_new(form, status=422)
    try:
        site = uploading.open_site(
            (form.slug.data or "").strip(), form.values(), form.read(), by=actor().email, at=clock.now()
        )
    except Invalid as error:
        form.blame(error.field, str(error))
        return _show_new(form, status=error.status)
    flash(_("The site was made and is being put online."), "success")
    return htmx.after_post(url_for("admin.site", site_id=site.id))


def _show_new(form: NewSiteForm, status: int = 200) -> ResponseReturnValue:
    return htmx.render("admin/site_new.html", status=status, form=form)


@bp.get(PAGE)
@staff
def site(site_id: int) -> ResponseReturnValue:
    """One site."""
    return show(site_id)


@bp.post(PAGE)
@staff
def edit_site(site_id: int) -> ResponseReturnValue:
    """Change what is said about a site."""
    found = queries.get_site_by_id(site_id)
    form = SiteForm()
    if not form.validate():
        return show(site_id, status=422, form=form)
    try:
        with unit_of_work():
            keeping.update_site(found, form.values(), by=actor().email, at=clock.now())
    except Invalid as error:
        form.blame(error.field, str(error))
        return show(site_id, status=error.status, form=form)
    except Conflict as conflict:
        return show(site_id, str(conflict), conflict.status)
    flash(_("Saved."), "success")
    return htmx.after_post(url_for("admin.site", site_id=site_id))


@bp.post(f"{PAGE}/upload")
@staff
@takes_uploads(_UPLOAD, parts=MOST_FILES + 100)
def upload_site(site_id: int) -> ResponseReturnValue:
    """Replace a site's whole content by an upload, as a new version, and deploy it."""
    found = queries.get_site_by_id(site_id)
    form = ContentForm()
    if not form.validate():
        return show(site_id, status=422, content_form=form)
    try:
        version = uploading.replace_content(
            found, form.read(), note=form.note.data or "", by=actor().email, at=clock.now()
        )
    except Invalid as error:
        form.archive.errors = [str(error)]
        return show(site_id, status=error.status, content_form=form)
    except Conflict as conflict:
        return show(site_id, str(conflict), conflict.status)
    flash(_("Version %(number)s was made and is being deployed.", number=version.number), "success")
    return htmx.after_post(url_for("admin.site", site_id=site_id))


@bp.post(f"{PAGE}/delete")
@staff
def delete_site(site_id: int) -> ResponseReturnValue:
    """Take a site off the web."""
    return act(
        lambda: keeping.delete_site(queries.get_site_by_id(site_id), by=actor().email, at=clock.now()),
        show=partial(show, site_id),
        url=url_for("admin.site", site_id=site_id),
        done=_l("The site is off the web. You can bring it back for 30 days."),
    )


@bp.post(f"{PAGE}/undelete")
@staff
def undelete_site(site_id: int) -> ResponseReturnValue:
    """Bring a deleted site back."""
    return act(
        lambda: keeping.undelete_site(queries.get_site_by_id(site_id), by=actor().email, at=clock.now()),
        show=partial(show, site_id),
        url=url_for("admin.site", site_id=site_id),
        done=_l("The site is being brought back."),
    )


@bp.post(f"{PAGE}/versions/<{ROW_ID}:version_number>/deploy")
@staff
def deploy_version(site_id: int, version_number: int) -> ResponseReturnValue:
    """Have a version served: the newest one again, or an old one restored."""

    def ask() -> None:
        found = queries.get_site_by_id(site_id)
        version = queries.get_version(found, version_number)
        deploying.request_deployment(found, version, by=actor().email, at=clock.now())

    return act(
        ask,
        show=partial(show, site_id),
        url=url_for("admin.site", site_id=site_id),
        done=_("Version %(number)s is being deployed.", number=version_number),
    )


@bp.get(f"{PAGE}/deployments/<{ROW_ID}:deployment_id>")
@staff
def deployment(site_id: int, deployment_id: int) -> ResponseReturnValue:
    """One deployment with its log, which grows while it runs."""
    found = queries.get_site_by_id(site_id)
    return htmx.render(
        "admin/deployment.html",
        fragment="admin/_deployment.html",
        site=found,
        deployment=queries.get_deployment(found, deployment_id),
    )


def show(
    site_id: int,
    refusal: str | None = None,
    status: int = 200,
    *,
    form: SiteForm | None = None,
    content_form: ContentForm | None = None,
) -> ResponseReturnValue:
    """A site's page, with the forms as they were sent when something was wrong with them."""
    found = queries.get_site_by_id(site_id)
    deployments = queries.list_deployments(found)
    return htmx.render(
        "admin/site.html",
        fragment="admin/_site_deployments.html",
        status=status,
        site=found,
        owner=db.session.get(User, found.owner_id) if found.owner_id is not None else None,
        versions=queries.list_versions(found),
        deployments=deployments,
        is_working=any(not one.is_final for one in deployments),
        live_url=layout.site_url(found.slug),
        preview_url=layout.preview_url,
        at=clock.now(),
        refusal=refusal,
        form=form or SiteForm(formdata=None, data=site_values(found)),
        content_form=content_form or ContentForm(formdata=None),
    )
