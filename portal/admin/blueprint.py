"""What all rooms of the back office share: the blueprint, who acts, and how an action answers."""

from collections.abc import Callable
from typing import TypeVar, cast

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.accounts.models import User
from portal.core import htmx
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, Sentence

T = TypeVar("T")

bp = Blueprint("admin", __name__, url_prefix="/admin")
# A row's id in an address. A larger number than PostgreSQL's bigint names no row, and must not reach the database.
ROW_ID = "int(max=9223372036854775807)"

# Shows a thing as it stands now: with the message why an action was refused, if one was, and the status to answer.
Show = Callable[[str | None, int], ResponseReturnValue]


def actor() -> User:
    """The member of staff who asks. Every route here is closed to everybody else."""
    return cast("User", current_user)


def act(work: Callable[[], T], *, show: Show, url: str, done: Sentence) -> ResponseReturnValue:
    """Carry out one action and answer it.

    When it is not possible any more, or another request was faster, the thing is shown as it stands now, with status
    409 and the reason. Otherwise: a plain form goes back to `url`, or to the work list if it was sent from there; the
    side panel is shown afresh.
    """
    refusal: Conflict | None = None
    try:
        with unit_of_work():
            work()
    except Conflict as conflict:
        refusal = conflict
    # What was read before says how things stood before; the thing is shown as it is now.
    db.session.expire_all()
    if refusal is not None:
        return show(str(refusal), refusal.status)
    flash(str(done), "success")
    if htmx.wants_fragment():
        return show(None, 200)
    return htmx.after_post(url_for("admin.home") if request.form.get("back") == "work" else url)
