"""Keeping the price book: versions, the form of a draft, what it would do to open quotes, publishing."""

import json
from typing import Any

from flask import Response, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.price_book_form import ImportForm, PriceBookForm, PublishForm, place_words
from portal.admin.queries.price_book import find_version, list_people, versions_page
from portal.core import clock, htmx
from portal.core.access import admin, staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.quotes.pricing import services
from portal.quotes.pricing.book import read_book
from portal.quotes.pricing.comparing import differences
from portal.quotes.pricing.errors import InvalidPriceBook
from portal.quotes.pricing.labels import label, path_words
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.pricing.rehearsal import rehearse
from portal.quotes.pricing.wording import review_name, rush_name

_PAGE = f"/price-book/<{ROW_ID}:version_id>"


@bp.get("/price-book", endpoint="price_book")
@staff
def version_list() -> ResponseReturnValue:
    """Every version of the price book, the newest first."""
    return _show_list(ImportForm(formdata=None))


def _show_list(
    form: ImportForm, problems: list[tuple[str, str]] | None = None, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    page = versions_page(before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/price_book.html",
        fragment="admin/_price_book.html",
        status=status,
        page=page,
        people=list_people(page.rows),
        current=services.find_current(clock.now()),
        form=form,
        problems=problems or [],
        refusal=refusal,
    )


@bp.post("/price-book/drafts")
@staff
def start_price_book() -> ResponseReturnValue:
    """Begin a draft with the prices in force."""
    try:
        with unit_of_work():
            draft_id = services.start_draft(by=actor().email, by_id=actor().id, at=clock.now()).id
    except Conflict as conflict:
        return _show_list(ImportForm(formdata=None), refusal=str(conflict), status=409)
    return htmx.after_post(url_for("admin.edit_price_book", version_id=draft_id))


@bp.post("/price-book/import")
@staff
def import_price_book() -> ResponseReturnValue:
    """Begin a draft with the prices of a file."""
    form = ImportForm()
    content = form.content() if form.validate() else b""
    try:
        with unit_of_work():
            draft_id = services.import_draft(content, by=actor().email, by_id=actor().id, at=clock.now()).id
    except InvalidPriceBook as error:
        problems = [(place_words(one.path), str(one.message)) for one in error.problems]
        return _show_list(form, problems, status=error.status)
    flash(_("The file was read into a draft. Nothing is in force yet."), "success")
    return htmx.after_post(url_for("admin.price_book_version", version_id=draft_id))


@bp.get(_PAGE)
@staff
def price_book_version(version_id: int) -> ResponseReturnValue:
    """What a version says, and what it changed."""
    return _show(version_id)


def _show(
    version_id: int, refusal: str | None = None, status: int = 200, *, form: PublishForm | None = None
) -> ResponseReturnValue:
    version = services.get_version(version_id)
    current = services.find_current(clock.now())
    based_on = find_version(version.based_on)
    return htmx.render(
        "admin/price_book_version.html",
        status=status,
        version=version,
        book=read_book(version.content),
        current=current,
        is_overtaken=version.published_at is None and version.based_on != (current.number if current else None),
        based_on=based_on,
        changes=differences(based_on.content, version.content) if based_on else [],
        form=form or PublishForm(formdata=None, seen_at=version.updated_at.isoformat()),
        refusal=refusal,
        **_words(),
    )


def _words() -> dict[str, Any]:
    return {"label": label, "path_words": path_words, "rush_name": rush_name, "review_name": review_name}


@bp.get(f"{_PAGE}/edit")
@staff
def edit_price_book(version_id: int) -> ResponseReturnValue:
    """The form of a draft."""
    version = services.get_version(version_id)
    if version.published_at is not None:
        return htmx.after_post(url_for("admin.price_book_version", version_id=version_id))
    return _show_form(version, PriceBookForm(version.content, seen_at=version.updated_at))


@bp.post(f"{_PAGE}/edit")
@staff
def save_price_book(version_id: int) -> ResponseReturnValue:
    """Change a draft; or show the form with room for more rows."""
    version = services.get_version(version_id)
    form = PriceBookForm(posted=request.form)
    if not form.validate():
        return _show_form(version, form, status=422)
    if "more" in request.form:
        return _show_form(version, form)
    try:
        with unit_of_work():
            services.save_draft(version_id, form.content(), by=actor().email, at=clock.now(), seen_at=form.seen())
    except InvalidPriceBook as error:
        form.blame(error.problems)
        return _show_form(version, form, status=error.status)
    except Conflict as conflict:
        db.session.expire_all()
        return _show_form(version, form, refusal=str(conflict), status=conflict.status)
    flash(_("Saved."), "success")
    return htmx.after_post(url_for("admin.price_book_version", version_id=version_id))


def _show_form(
    version: PriceBookVersion, form: PriceBookForm, *, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    form.add_rows()
    return htmx.render(
        "admin/price_book_form.html",
        status=status,
        version=version,
        form=form,
        book=form.book,
        refusal=refusal,
        **_words(),
    )


@bp.get(f"{_PAGE}/rehearsal")
@staff
def rehearse_price_book(version_id: int) -> ResponseReturnValue:
    """What this version would do to the quotes that are open now."""
    version = services.get_version(version_id)
    current = services.find_current(clock.now())
    return htmx.render(
        "admin/price_book_rehearsal.html",
        version=version,
        rehearsal=rehearse(read_book(version.content), read_book(current.content) if current else None, at=clock.now()),
        **_words(),
    )


@bp.get(f"{_PAGE}/compare")
@staff
def compare_price_books(version_id: int) -> ResponseReturnValue:
    """What differs between this version and another, chosen by its number."""
    version = services.get_version(version_id)
    asked = request.args.get("with", "")
    number = int(asked) if asked.isdecimal() and len(asked) < 10 else version.based_on
    other = find_version(number)
    return htmx.render(
        "admin/price_book_compare.html",
        fragment="admin/_price_book_compare.html",
        version=version,
        other=other,
        changes=differences(other.content, version.content) if other else [],
        choices=versions_page(before=None, after=None).rows,
        **_words(),
    )


@bp.get(f"{_PAGE}/price-book.json")
@staff
def export_price_book(version_id: int) -> ResponseReturnValue:
    """A version as the file that the import reads."""
    version = services.get_version(version_id)
    body = json.dumps(version.content, ensure_ascii=False, indent=2) + "\n"
    name = f"price-book-{version.number}.json"
    return Response(
        body, mimetype="application/json", headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


@bp.post(f"{_PAGE}/publish")
@admin
def publish_price_book(version_id: int) -> ResponseReturnValue:
    """Put a draft into force."""
    form = PublishForm()
    if not form.validate():
        return _show(version_id, status=422, form=form)
    return act(
        lambda: services.put_in_force(
            version_id, note=form.note.data, by=actor().email, at=clock.now(), seen_at=form.seen()
        ),
        show=lambda refusal, status: _show(version_id, refusal, status),
        url=url_for("admin.price_book_version", version_id=version_id),
        done=_l("These prices are in force now."),
    )


@bp.post(f"{_PAGE}/rebase")
@staff
def rebase_price_book(version_id: int) -> ResponseReturnValue:
    """Confirm that a draft shall replace the version published meanwhile."""
    return act(
        lambda: services.rebase_draft(version_id, by=actor().email, at=clock.now()),
        show=lambda refusal, status: _show(version_id, refusal, status),
        url=url_for("admin.price_book_version", version_id=version_id),
        done=_l("The draft now replaces the version in force. Look at the differences before you publish it."),
    )


@bp.post(f"{_PAGE}/discard")
@staff
def discard_price_book(version_id: int) -> ResponseReturnValue:
    """Throw a draft away."""
    try:
        with unit_of_work():
            services.discard_draft(version_id, by=actor().email)
    except Conflict as conflict:
        db.session.expire_all()
        return _show(version_id, str(conflict), conflict.status)
    flash(_("The draft is gone."), "success")
    return htmx.after_post(url_for("admin.price_book"))
