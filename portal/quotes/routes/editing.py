"""Changing a draft: rows, delivery time, note. Every form works without script; htmx gets the part that changed."""

from flask import request
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import Invalid, PortalError
from portal.quotes import visitor
from portal.quotes.models import Quote
from portal.quotes.routes.blueprint import CHANGED, PAGE, bp, change, forms_of, load, show, shown_again, words
from portal.quotes.services import editing
from portal.quotes.services.editing import Wish


@bp.post("/quotes/<number>/items/<int:item_id>")
@public
def change_item(number: str, item_id: int) -> ResponseReturnValue:
    """Make a model another way."""
    form = forms_of(load(number), sent=request.form, item_id=item_id).get(item_id)
    try:
        if form is not None and form.errors:
            raise Invalid(_("Check what you entered for this model."))
        with unit_of_work():
            # Without a form the quote was sent, or the row is gone: the service says which.
            wish = form.wish() if form is not None else Wish.nothing()
            quote = editing.change_item(number, visitor.owner(), item_id, wish, at=clock.now())
    except PortalError as error:
        if error.status == 404:
            raise
        return _refused(number, item_id, error)
    return _row(number, item_id) if htmx.wants_fragment() else shown_again(quote)


def _refused(number: str, item_id: int, error: PortalError) -> ResponseReturnValue:
    """The page or the row with what was entered, and what is wrong with it."""
    if htmx.wants_fragment():
        return _row(number, item_id, error)
    view = load(number)
    return show(view, error=error, forms=forms_of(view, sent=request.form, item_id=item_id))


def _row(number: str, item_id: int, error: PortalError | None = None) -> ResponseReturnValue:
    """The row for htmx, which tells the price beside it to look again."""
    view = load(number)
    row = next((one for one in view.rows if one.item.id == item_id), None)
    if row is None:
        return show(view, error=error)
    sent = request.form if error is not None else None
    return htmx.render(
        PAGE,
        fragment="quotes/_row.html",
        status=error.status if error else 200,
        trigger=CHANGED,
        view=view,
        row=row,
        row_error=error,
        forms=forms_of(view, sent=sent, item_id=item_id),
        **words(),
    )


@bp.post("/quotes/<number>/items/<int:item_id>/remove")
@public
def remove_item(number: str, item_id: int) -> ResponseReturnValue:
    """Take a model out."""
    return change(number, lambda: editing.remove_item(number, visitor.owner(), item_id, at=clock.now()))


@bp.post("/quotes/<number>/items/<int:item_id>/duplicate")
@public
def duplicate_item(number: str, item_id: int) -> ResponseReturnValue:
    """The same model once more."""
    return change(number, lambda: editing.duplicate_item(number, visitor.owner(), item_id, at=clock.now()))


@bp.post("/quotes/<number>/rush")
@public
def choose(number: str) -> ResponseReturnValue:
    """Choose a cell of the table: how soon, and how many."""
    rush, _colon, count = request.form.get("choose", "").partition(":")
    return change(number, lambda: _chosen(number, rush, _whole(count)))


def _chosen(number: str, rush: str, count: int) -> Quote:
    if request.form.get("counts") == "pieces":
        return editing.choose_quantity(number, visitor.owner(), rush, count, at=clock.now())
    return editing.choose_rush(number, visitor.owner(), rush, times=count, at=clock.now())


@bp.post("/quotes/<number>/note")
@public
def note(number: str) -> ResponseReturnValue:
    """Keep what the customer wants to tell us; it is saved while they type."""
    try:
        with unit_of_work():
            quote = editing.set_note(number, visitor.owner(), request.form.get("note", ""), at=clock.now())
    except PortalError as error:
        if error.status == 404:
            raise
        return show(load(number), error=error)
    if not htmx.wants_fragment():
        return shown_again(quote, done=_("Saved."))
    return htmx.render(PAGE, fragment="quotes/_saved.html", trigger=CHANGED, saved_at=clock.now())


def _whole(text: str) -> int:
    """The number that was sent; anything odd is 0 and refused by the service."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 6 else 0
