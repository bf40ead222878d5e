"""An owner's pages: asking for changes, looking at drafts, deciding."""

from collections.abc import Callable
from typing import Any, cast

from flask import Response, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal.accounts.models import User
from portal.core import clock, files, htmx
from portal.core.access import verified
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, Invalid
from portal.core.large_forms import takes_uploads
from portal.core.pictures import MOST_BYTES
from portal.core.state import history
from portal.sites import queries
from portal.sites.changes import presenting
from portal.sites.changes.errors import ChangeNotFound
from portal.sites.changes.forms import UPLOAD, AskForm, WishForm
from portal.sites.changes.models import ChangeRequest, ChangeStatus
from portal.sites.changes.queries import get_change, list_changes, pages_of
from portal.sites.changes.services import asking, deciding
from portal.sites.responses import SANDBOX
from portal.sites.routes import bp, with_frames
from portal.sites.services import previewing

_CHANGES = "/my/sites/<slug>/changes"
_CHANGE = f"{_CHANGES}/<int(max=2147483647):number>"


def _customer() -> User:
    return cast("User", current_user)


@bp.get(_CHANGES)
@verified
def changes(slug: str) -> ResponseReturnValue:
    """What was asked for on a site, and the form to ask for more."""
    return _show_list(slug, AskForm(formdata=None))


@bp.post(_CHANGES)
@verified
@takes_uploads(UPLOAD)
def ask_for_change(slug: str) -> ResponseReturnValue:
    """Ask for a change."""
    site, form = queries.get_site(slug, owner=_customer()), AskForm()
    if not form.validate():
        return _show_list(slug, form, status=422)
    content = b""
    if (picture := request.files.get("picture")) is not None and picture.filename:
        with picture.stream as stream:
            content = stream.read(MOST_BYTES + 1)
    try:
        made = asking.ask_for_change(
            site, _customer(), text=form.text.data or "", page=form.page.data or "", picture=content, at=clock.now()
        )
    except Invalid as error:
        field = form[error.field or "text"]
        field.errors = [*field.errors, str(error)]
        return _show_list(slug, form, status=error.status)
    except Conflict as conflict:
        return _show_list(slug, form, refusal=str(conflict), status=conflict.status)
    flash(_("We have your request."), "success")
    return htmx.after_post(url_for("sites.change", slug=slug, number=made.number))


def _show_list(slug: str, form: AskForm, *, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    site = queries.get_site(slug, owner=_customer())
    form.offer(pages_of(queries.find_wanted_version(site)))
    return htmx.render(
        "sites/changes/list.html", status=status, site=site, changes=list_changes(site), form=form, refusal=refusal
    )


@bp.get(_CHANGE)
@verified
def change(slug: str, number: int) -> ResponseReturnValue:
    """One request: how it stands, and its draft to look at and decide about."""
    return _show(slug, number)


@bp.get(f"{_CHANGE}/picture")
@verified
def change_picture(slug: str, number: int) -> ResponseReturnValue:
    """The picture that came with a request."""
    return picture_of(get_change(slug, number, owner=_customer()))


def picture_of(found: ChangeRequest) -> Response:
    """The picture of a request: always a JPEG that we have written. Raises ChangeNotFound when there is none."""
    if found.picture_name is None:
        raise ChangeNotFound
    try:
        content = files.get(found.picture_name)
    except FileNotFoundError:
        raise ChangeNotFound from None
    response = Response(content, mimetype="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=86400"
    response.headers["Content-Disposition"] = f'inline; filename="change-{found.number}.jpg"'
    return response


@bp.post(f"{_CHANGE}/accept")
@verified
def accept_change(slug: str, number: int) -> ResponseReturnValue:
    """Put all pieces online, or those that were chosen."""
    chosen, draft_number = request.form.getlist("piece"), _draft_number()
    return _decide(
        slug,
        number,
        lambda found: deciding.accept_pieces(
            found, chosen, draft_number=draft_number, by=_customer().email, at=clock.now()
        ),
        done=_("Your change is being put online."),
    )


@bp.post(f"{_CHANGE}/decline")
@verified
def decline_change(slug: str, number: int) -> ResponseReturnValue:
    """Leave the site as it is."""

    def work(found: ChangeRequest) -> None:
        with unit_of_work():
            deciding.decline(found.id, by=_customer().email, at=clock.now())

    return _decide(slug, number, work, done=_("The site stays as it is."))


@bp.post(f"{_CHANGE}/again")
@verified
def ask_for_another_draft(slug: str, number: int) -> ResponseReturnValue:
    """Ask for another draft, and say what should be otherwise."""
    form = WishForm()
    if not form.validate():
        return _show(slug, number, form=form, status=422)

    def work(found: ChangeRequest) -> None:
        with unit_of_work():
            deciding.ask_for_another(
                found.id, form.wish.data or "", draft_number=_draft_number(), by=_customer().email, at=clock.now()
            )

    return _decide(slug, number, work, done=_("Another draft will be made."))


@bp.post(f"{_CHANGE}/undo")
@verified
def undo_change(slug: str, number: int) -> ResponseReturnValue:
    """Take a change back."""
    return _decide(
        slug,
        number,
        lambda found: deciding.undo_change(found, by=_customer().email, at=clock.now()),
        done=_("The change is being taken back."),
    )


def _draft_number() -> int | None:
    typed = request.form.get("draft_number", "")
    return int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 18 else None


def _decide(slug: str, number: int, work: Callable[[ChangeRequest], object], *, done: str) -> ResponseReturnValue:
    found = get_change(slug, number, owner=_customer())
    try:
        work(found)
    except (Conflict, Invalid) as refusal:
        db.session.expire_all()
        return _show(slug, number, refusal=str(refusal), status=refusal.status)
    flash(done, "success")
    return htmx.after_post(url_for("sites.change", slug=slug, number=number))


def _show(
    slug: str, number: int, *, refusal: str | None = None, form: WishForm | None = None, status: int = 200
) -> ResponseReturnValue:
    found = get_change(slug, number, owner=_customer())
    is_ready = found.status is ChangeStatus.PREVIEW_READY and found.draft is not None
    response = htmx.render(
        "sites/changes/detail.html",
        fragment="sites/changes/_progress.html",
        status=status,
        change=found,
        site=found.site,
        sentence=presenting.sentence(found),
        taken=presenting.taken_words(found),
        steps=presenting.steps_of(found, history(found)),
        draft=found.draft if is_ready else None,
        form=form or WishForm(formdata=None),
        refusal=refusal,
        **(draft_values(found) if is_ready else {}),
    )
    return with_frames(response)


def draft_values(found: ChangeRequest) -> dict[str, Any]:
    """What the draft's part of a page needs, for owners and staff."""
    draft = found.draft
    if draft is None:
        raise ChangeNotFound
    return {
        "pieces": presenting.shown_pieces(draft, queries.find_wanted_version(found.site)),
        "findings": [presenting.finding_words(one) for one in draft.read_findings()],
        "pages": presenting.pages_to_look_at(draft),
        "is_being_prepared": previewing.is_being_prepared(draft),
        "frame_sandbox": SANDBOX,
    }
