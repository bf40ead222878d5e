"""Change requests in the back office: the queue, one with its draft, the file editor, and what to do next."""

from collections.abc import Callable
from functools import partial

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import filters
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.change_forms import AnswerForm, DraftFileForm
from portal.admin.queries.changes import changes_page, newest_deployment
from portal.core import clock, htmx, settings
from portal.core.access import staff
from portal.core.errors import Conflict, Invalid, NotFound
from portal.core.large_forms import takes_uploads
from portal.core.state import history
from portal.sites import queries
from portal.sites.changes import presenting
from portal.sites.changes.models import ChangeDraft, ChangeRequest, ChangeStatus, Drafter
from portal.sites.changes.queries import get_change_by_id
from portal.sites.changes.routes import draft_values, picture_of
from portal.sites.changes.services import deciding, drafting
from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text
from portal.sites.errors import FileNotInVersion, VersionNotFound
from portal.sites.models import SiteVersion
from portal.sites.routes import with_frames
from portal.sites.services import deploying

_PAGE = f"/changes/<{ROW_ID}:change_id>"
# Each character of a text may take three in a form.
_FORM = 3 * LARGEST_TEXT


@bp.get("/changes", endpoint="changes")
@staff
def change_list() -> ResponseReturnValue:
    """What waits for staff; with a status, all of that."""
    page = changes_page(
        text=filters.text(),
        status=filters.choice("status", ChangeStatus),
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render(
        "admin/changes.html", fragment="admin/_changes.html", page=page, statuses=ChangeStatus,
        trouble_words=presenting.trouble_words,
    )  # fmt: skip


@bp.get(_PAGE)
@staff
def change(change_id: int) -> ResponseReturnValue:
    """One request."""
    return _show(change_id)


@bp.get(f"{_PAGE}/picture")
@staff
def change_picture(change_id: int) -> ResponseReturnValue:
    """The picture that came with a request."""
    return picture_of(get_change_by_id(change_id))


@bp.get(f"{_PAGE}/file")
@staff
def change_file(change_id: int) -> ResponseReturnValue:
    """One text of the draft in a form; without a name, an empty one for a new file."""
    found = get_change_by_id(change_id)
    start, path = _start(found), request.args.get("path", "")
    form = DraftFileForm(
        formdata=None, draft=_number(found), path=path, text=queries.read_text(start, path) if path else ""
    )
    return _show_file(found, form)


@bp.post(f"{_PAGE}/file")
@staff
@takes_uploads(_FORM, text=_FORM)
def save_change_file(change_id: int) -> ResponseReturnValue:
    """Put a text into the draft, or take it out; the draft is then staff's."""
    found, form = get_change_by_id(change_id), DraftFileForm()
    if not form.validate():
        return _show_file(found, form, status=422)
    path, text = (form.path.data or "").strip(), (form.text.data or "").replace("\r\n", "\n")
    is_removed = "remove" in request.form
    try:
        drafting.save_draft(
            found,
            {} if is_removed else {path: text.encode("utf-8", "surrogatepass")},
            removed=[path] if is_removed else [],
            replaces=int(form.draft.data) if (form.draft.data or "").isdecimal() else None,
            author=actor().email,
            by=Drafter.STAFF,
            at=clock.now(),
        )
    except (Invalid, FileNotInVersion) as error:
        form.path.errors = [str(error)]
        return _show_file(get_change_by_id(change_id), form, status=422)
    except Conflict as conflict:
        return _show_file(get_change_by_id(change_id), form, refusal=str(conflict), status=conflict.status)
    flash(_("Saved in the draft. Show it to the owner when it is done."), "success")
    return htmx.after_post(url_for("admin.change", change_id=change_id))


@bp.post(f"{_PAGE}/show")
@staff
def show_change(change_id: int) -> ResponseReturnValue:
    """Show the draft to the owner."""
    typed = request.form.get("draft", "")
    number = int(typed) if typed.isdecimal() and len(typed) < 12 else None
    return _act(
        change_id,
        lambda: drafting.show_draft(change_id, draft_number=number, by=actor().email, at=clock.now()),
        _l("The owner gets a mail and can look at it."),
    )


@bp.post(f"{_PAGE}/start-over")
@staff
def start_change_over(change_id: int) -> ResponseReturnValue:
    """Throw the draft away."""
    return _act(
        change_id,
        lambda: drafting.start_over(change_id, by=actor().email, at=clock.now()),
        _l("The draft is gone; begin from what is served."),
    )


@bp.post(f"{_PAGE}/editor")
@staff
def hand_change_to_editor(change_id: int) -> ResponseReturnValue:
    """Let the editor service draft it."""
    return _act(
        change_id,
        lambda: drafting.hand_to_editor(change_id, by=actor().email, at=clock.now()),
        _l("The editor service is asked."),
    )


@bp.post(f"{_PAGE}/decline")
@staff
def decline_change(change_id: int) -> ResponseReturnValue:
    """Do not make this change, and tell the owner why."""
    form = AnswerForm()
    if not form.validate():
        return _show(change_id, status=422, form=form)
    return _act(
        change_id,
        lambda: deciding.decline(
            change_id, by=actor().email, answer=form.answer.data or "", is_staff=True, at=clock.now()
        ),
        _l("The owner gets a mail with the reason."),
    )


@bp.post(f"{_PAGE}/deploy")
@staff
def deploy_change(change_id: int) -> ResponseReturnValue:
    """Deploy an accepted change once more."""

    def ask() -> None:
        found, site = drafting.lock(change_id)
        if found.status is not ChangeStatus.ACCEPTED or found.version is None:
            raise Conflict
        # Of two accepted ones the newer holds the older.
        newest = queries.find_wanted_version(site)
        wanted = newest if newest is not None and newest.number > found.version.number else found.version
        deploying.request_deployment(site, wanted, by=actor().email, at=clock.now())

    return _act(change_id, ask, _l("It is being deployed again."))


def _act(change_id: int, work: Callable[[], object], done: LazyString) -> ResponseReturnValue:
    return act(work, show=partial(_show, change_id), url=url_for("admin.change", change_id=change_id), done=done)


def _start(found: ChangeRequest) -> SiteVersion | ChangeDraft:
    """What the file editor begins with. Raises VersionNotFound for a site without content."""
    start = found.draft or queries.find_wanted_version(found.site)
    if start is None:
        raise VersionNotFound
    return start


def _number(found: ChangeRequest) -> str:
    return str(found.draft.number) if found.draft is not None else ""


def _show_file(
    found: ChangeRequest, form: DraftFileForm, *, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    return htmx.render(
        "admin/change_file.html",
        status=status,
        change=found,
        form=form,
        refusal=refusal,
        is_new=form.path.data not in _start(found).paths,
    )


def _show(
    change_id: int, refusal: str | None = None, status: int = 200, *, form: AnswerForm | None = None
) -> ResponseReturnValue:
    found = get_change_by_id(change_id)
    is_drafted = found.status in drafting.DRAFTABLE
    try:
        start = _start(found)
        texts = [path for path in sorted(start.paths) if is_text(path)]
    except NotFound:
        texts = []
    response = htmx.render(
        "admin/change.html",
        fragment="admin/_change.html",
        status=status,
        change=found,
        site=found.site,
        texts=texts,
        is_drafted=is_drafted,
        has_editor=settings.current().has_editor,
        trouble=presenting.trouble_words(found.trouble) if found.trouble else None,
        taken=presenting.taken_words(found),
        steps=presenting.steps_of(found, history(found)),
        deployment=newest_deployment(found),
        form=form or AnswerForm(formdata=None),
        refusal=refusal,
        **(draft_values(found) if found.draft is not None else {}),
    )
    return with_frames(response)
