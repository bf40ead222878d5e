"""Keeping the catalogue: the list, the form, publishing, order, deletion."""

from collections.abc import Callable
from functools import partial
from typing import Any

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import filters
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.forms import PackageForm, form_values
from portal.admin.queries.catalogue import packages_page
from portal.catalogue import queries, services
from portal.catalogue.models import Package
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, Invalid
from portal.core.status_labels import status_label

_PAGE = f"/catalogue/<{ROW_ID}:package_id>"
_STATES = {"published": True, "unpublished": False}


@bp.get("/catalogue", endpoint="catalogue")
@staff
def package_list() -> ResponseReturnValue:
    """All packages in the shop's order, published or not."""
    return _show_list()


def _show_list() -> ResponseReturnValue:
    state = filters.one_of("state", tuple(_STATES))
    text = filters.text()
    page = packages_page(
        text=text,
        is_published=_STATES[state] if state else None,
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render(
        "admin/catalogue.html",
        fragment="admin/_catalogue.html",
        page=page,
        # In a list with gaps nobody can see where a package would go.
        is_whole=not (state or text),
        states=[(one, status_label(one)) for one in _STATES],
    )


@bp.get("/catalogue/new")
@staff
def new_package() -> ResponseReturnValue:
    """An empty form."""
    form = PackageForm(formdata=None, currency="PLN", tax_rate="23")
    return _show_form(form, None)


@bp.post("/catalogue/new")
@staff
def create_package() -> ResponseReturnValue:
    """Put a new, unpublished package into the catalogue."""
    form = PackageForm()

    def create() -> Package:
        package = services.create_package(form.values(), by=actor().email, at=clock.now())
        if form.child_ids():
            services.set_bundle_children(package.id, form.child_ids(), by=actor().email, at=clock.now())
        return package

    return _save(form, None, create, _("The package was made. It is not published yet."))


@bp.get(_PAGE)
@staff
def package(package_id: int) -> ResponseReturnValue:
    """The form of a package."""
    return _show(package_id)


def _show(package_id: int, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    found = queries.get_package(package_id)
    form = PackageForm(formdata=None, data=form_values(found))
    return _show_form(form, found, refusal=refusal, status=status)


@bp.post(_PAGE)
@staff
def edit_package(package_id: int) -> ResponseReturnValue:
    """Change a package and, for a bundle, what it contains."""
    found = queries.get_package(package_id)
    form = PackageForm()

    def change() -> Package:
        by = actor().email
        services.update_package(package_id, form.values(), by=by, at=clock.now(), seen_at=form.seen())
        return services.set_bundle_children(package_id, form.child_ids(), by=by, at=clock.now())

    return _save(form, found, change, _("Saved."))


def _save(form: PackageForm, found: Package | None, work: Callable[[], Package], done: str) -> ResponseReturnValue:
    """Check the form, do the work, and answer: with the page that comes next, or with the form and what is wrong."""
    form.offer(_candidates(found))
    if "more" in request.form:
        return _show_form(form, found)
    if not form.validate():
        return _show_form(form, found, status=422)
    try:
        with unit_of_work():
            package_id = work().id
    except Invalid as error:
        form.blame(error.field, str(error))
        return _show_form(form, found, status=error.status)
    except Conflict as conflict:
        db.session.expire_all()
        # What was typed stays in the form; what was saved meanwhile is shown beside it.
        return _show_form(form, found, refusal=str(conflict), status=conflict.status)
    flash(done, "success")
    return htmx.after_post(url_for("admin.package", package_id=package_id))


def _candidates(found: Package | None) -> list[Package]:
    return queries.list_bundle_candidates(found.id if found else 0)


def _show_form(
    form: PackageForm, found: Package | None, *, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    form.add_rows()
    form.offer(_candidates(found))
    return htmx.render("admin/package.html", status=status, form=form, package=found, refusal=refusal)


@bp.post(f"{_PAGE}/publish")
@staff
def publish_package(package_id: int) -> ResponseReturnValue:
    """Show a package in the shop."""
    return _act_on(package_id, services.publish_package, _l("The package is in the shop."))


@bp.post(f"{_PAGE}/unpublish")
@staff
def unpublish_package(package_id: int) -> ResponseReturnValue:
    """Take a package out of the shop."""
    return _act_on(package_id, services.unpublish_package, _l("The package is no longer in the shop."))


def _act_on(package_id: int, service: Callable[..., Package], done: Any) -> ResponseReturnValue:
    return act(
        lambda: service(package_id, by=actor().email, at=clock.now()),
        show=partial(_show, package_id),
        url=url_for("admin.package", package_id=package_id),
        done=done,
    )


@bp.post(f"{_PAGE}/move")
@staff
def move_package(package_id: int) -> ResponseReturnValue:
    """Move a package one place up or down in the shop."""
    steps = -1 if request.form.get("to") == "up" else 1
    with unit_of_work():
        services.move_package(package_id, steps, by=actor().email, at=clock.now())
    if htmx.wants_fragment():
        return _show_list()
    return htmx.after_post(url_for("admin.catalogue"))


@bp.post(f"{_PAGE}/delete")
@staff
def delete_package(package_id: int) -> ResponseReturnValue:
    """Remove a package that was never ordered."""
    return act(
        lambda: services.delete_package(package_id, by=actor().email, at=clock.now()),
        show=partial(_show, package_id),
        url=url_for("admin.catalogue"),
        done=_l("The package is gone."),
    )
