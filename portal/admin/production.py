"""The production room: the board, one sales order with all that can be done about it, and its photos."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from wtforms import Field

from portal.accounts.countries import country_name
from portal.admin import filters
from portal.admin.blueprint import act, actor, bp
from portal.admin.production_forms import CancelForm, PhotoForm, ReasonForm
from portal.admin.queries import production as board_queries
from portal.admin.wording import actor_words, change_words
from portal.core import clock, files, htmx
from portal.core.access import admin, recently_authenticated, staff
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, Invalid, NotFound
from portal.core.pictures import MOST_BYTES
from portal.core.state import StatusChange, history
from portal.core.status_labels import status_label
from portal.production import board, queries
from portal.production.errors import SalesOrderNotFound
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.routes.photos import picture
from portal.production.services import cancelling, lifecycle, photographing
from portal.production.services.freezing import options_of
from portal.production.tracking import steps_of

_NUMBER = re.compile(r"SO-[0-9A-Za-z-]{1,20}")
_PUBLIC_ID = re.compile(r"[0-9a-f-]{36}")
_PHOTO_ENDPOINT = "admin.add_photo"
# What one press of a button does, and what is said about it.
_ACTIONS: dict[str, tuple[Callable[..., None], LazyString]] = {
    "confirm": (lifecycle.confirm_order, _l("The order is confirmed.")),
    "start": (lifecycle.start_production, _l("Production has begun.")),
    "finish": (lifecycle.finish_printing, _l("The parts are at their quality check.")),
    "resume": (lifecycle.resume, _l("The order goes on where it was.")),
    "deliver": (lifecycle.mark_delivered, _l("The parts are delivered.")),
    "complete": (lifecycle.complete, _l("The order is completed.")),
}
_WITH_REASON: dict[str, tuple[Callable[..., None], LazyString]] = {
    "hold": (lifecycle.hold, _l("The order is on hold.")),
    "rework": (lifecycle.rework, _l("The parts are made again.")),
}


@bp.url_value_preprocessor
def _take_larger_bodies(endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Photos are larger than any form. Before anything reads the body, as the check of the token does."""
    if endpoint == _PHOTO_ENDPOINT:
        request.max_content_length = MOST_BYTES + 64 * 1024


@bp.get("/production")
@staff
def production() -> ResponseReturnValue:
    """The board; with a state or a search the list of what fits."""
    status, typed = filters.choice("state", SalesOrderStatus), filters.text()
    is_list = status is not None or bool(typed) or "state" in request.args
    if not is_list:
        return _show_board()
    page = board_queries.sales_orders_page(
        status, typed, before=request.args.get("before"), after=request.args.get("after")
    )
    return htmx.render(
        "admin/production.html",
        fragment="admin/_production_list.html",
        page=page,
        columns=None,
        statuses=SalesOrderStatus,
        overdue=partial(board.is_overdue, at=clock.now()),
    )


def _show_board(refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    columns = board_queries.read_board()
    held = [one.id for column in columns for one in column.cards if one.status is SalesOrderStatus.ON_HOLD]
    reasons = board_queries.hold_reasons(held) if held else {}
    return htmx.render(
        "admin/production.html",
        fragment="admin/_production_board.html",
        status=status,
        page=None,
        columns=columns,
        statuses=SalesOrderStatus,
        next_of=lambda one: board.next_action(one, one.order, held_because=reasons.get(one.id)),
        overdue=partial(board.is_overdue, at=clock.now()),
        refusal=refusal,
    )


@bp.get("/production/<number>")
@staff
def sales_order(number: str) -> ResponseReturnValue:
    """One sales order."""
    return _show(number)


def _get(number: str) -> SalesOrder:
    if not _NUMBER.fullmatch(number):
        raise SalesOrderNotFound
    return queries.get_sales_order(number)


def _show(
    number: str, refusal: str | None = None, status: int = 200, *, photo_form: PhotoForm | None = None
) -> ResponseReturnValue:
    found = _get(number)
    held = board_queries.hold_reasons([found.id]) if found.status is SalesOrderStatus.ON_HOLD else {}
    goes_back = cancelling.what_goes_back(found.order)
    return htmx.render(
        "admin/sales_order.html",
        fragment="admin/_sales_order.html",
        status=status,
        sales_order=found,
        order=found.order,
        next=board.next_action(found, found.order, held_because=held.get(found.id)),
        is_overdue=board.is_overdue(found, at=clock.now()),
        steps=steps_of(found, history(found)),
        log=[_entry(change) for change in board_queries.changes_of(found)],
        can_hold=found.status in lifecycle.HOLDABLE,
        can_rework=found.status is SalesOrderStatus.QUALITY_CHECK,
        can_cancel=found.status in cancelling.CANCELLABLE,
        can_photograph=found.status is SalesOrderStatus.QUALITY_CHECK,
        goes_back=goes_back,
        options=options_of(found.frozen),
        reason_fields={name: _reason_field(name) for name in ("hold", "rework", "cancel")},
        photo_form=photo_form or PhotoForm(formdata=None),
        country=country_name(found.shipping_address.get("country", "")),
        refusal=refusal,
    )


def _reason_field(name: str) -> Field:
    """The field for a reason, once for each form on the page."""
    field: Field = ReasonForm(formdata=None).reason
    field.id = f"reason-{name}"
    return field


def _entry(change: StatusChange) -> dict[str, Any]:
    kind = "payment" if change.column == "payment_status" else change.entity.removesuffix("s")
    note = " · ".join(part for part in (actor_words(change.actor), change.reason) if part)
    label = f"{change_words(change.entity, change.column)}: {status_label(change.became, kind)}"
    state = "failed" if change.became == "cancelled" else "done"
    return {"label": label, "state": state, "at": change.at, "note": note}


@bp.post("/production/<number>/<any(confirm, start, finish, resume, deliver, complete):action>")
@staff
def move_sales_order(number: str, action: str) -> ResponseReturnValue:
    """Take the next step."""
    found = _get(number)
    work, done = _ACTIONS[action]
    is_from_board = request.form.get("back") == "board"
    return act(
        lambda: work(found, by=actor().email, at=clock.now()),
        show=_show_board if is_from_board else partial(_show, number),
        url=url_for("admin.production") if is_from_board else url_for("admin.sales_order", number=number),
        done=done,
    )


@bp.post("/production/<number>/<any(hold, rework):action>")
@staff
def stop_sales_order(number: str, action: str) -> ResponseReturnValue:
    """Put an order on hold, or have its parts made again; both for a reason."""
    found = _get(number)
    form = ReasonForm()
    if not form.validate_on_submit():
        return _show(number, str(_("Say why, in a few words.")), 422)
    work, done = _WITH_REASON[action]
    return act(
        lambda: work(found, reason=form.reason.data, by=actor().email, at=clock.now()),
        show=partial(_show, number),
        url=url_for("admin.sales_order", number=number),
        done=done,
    )


@bp.post("/production/<number>/call-off")
@staff
def call_off_sales_order(number: str) -> ResponseReturnValue:
    """Cancel an order that nothing was paid for."""
    found = _get(number)
    form = ReasonForm()
    if not form.validate_on_submit():
        return _show(number, str(_("Say why, in a few words.")), 422)
    return act(
        lambda: cancelling.cancel(
            found, reason=form.reason.data, by=actor().email, at=clock.now(), may_give_back=False
        ),
        show=partial(_show, number),
        url=url_for("admin.sales_order", number=number),
        done=_l("The order is cancelled."),
    )


@bp.get("/production/<number>/cancel")
@admin
@recently_authenticated
def cancel_sales_order(number: str) -> ResponseReturnValue:
    """What cancelling gives back, before it is done."""
    return _cancel_page(number, CancelForm(formdata=None))


@bp.post("/production/<number>/cancel")
@admin
@recently_authenticated
def submit_cancel_sales_order(number: str) -> ResponseReturnValue:
    """Cancel an order and give back what was paid."""
    found = _get(number)
    form = CancelForm()
    if not form.validate_on_submit():
        return _cancel_page(number, form, status=422)
    try:
        with unit_of_work():
            refunds = cancelling.cancel(
                found, reason=form.reason.data, by=actor().email, at=clock.now(), may_give_back=True
            )
            is_by_hand = any(refund.flag is not None for refund in refunds)
    except (Conflict, Invalid) as refusal:
        db.session.expire_all()
        return _cancel_page(number, form, refusal=str(refusal), status=refusal.status)
    db.session.expire_all()
    if is_by_hand:
        flash(_("Cancelled. A provider cannot give money back by itself: do it there, then note it."), "warning")
    else:
        flash(_("The order is cancelled."), "success")
    return htmx.after_post(url_for("admin.sales_order", number=number))


def _cancel_page(
    number: str, form: CancelForm, *, refusal: str | None = None, status: int = 200
) -> ResponseReturnValue:
    found = _get(number)
    return htmx.render(
        "admin/sales_order_cancel.html",
        status=status,
        sales_order=found,
        order=found.order,
        form=form,
        goes_back=cancelling.what_goes_back(found.order),
        can_cancel=found.status in cancelling.CANCELLABLE,
        refusal=refusal,
    )


@bp.post("/production/<number>/photos")
@staff
def add_photo(number: str) -> ResponseReturnValue:
    """Keep a picture of the parts for the customer."""
    found = _get(number)
    form = PhotoForm()
    if not form.validate_on_submit():
        return _show(number, None, 422, photo_form=form)
    with form.picture.data.stream as stream:
        content = stream.read(MOST_BYTES + 1)
    try:
        photographing.add_photo(found, content, caption=form.caption.data or "", by=actor().email, at=clock.now())
    except Invalid as error:
        db.session.expire_all()
        form.picture.errors = [str(error)]
        return _show(number, None, error.status, photo_form=form)
    except Conflict as refusal:
        db.session.expire_all()
        return _show(number, str(refusal), refusal.status)
    db.session.expire_all()
    flash(_("The photo is there, and the customer sees it."), "success")
    if htmx.wants_fragment():
        return _show(number)
    return htmx.after_post(url_for("admin.sales_order", number=number))


@bp.get("/production/<number>/photos/<public_id>")
@staff
def show_photo(number: str, public_id: str) -> ResponseReturnValue:
    """A picture of an order's parts."""
    return picture(_photo(number, public_id))


@bp.post("/production/<number>/photos/<public_id>/remove")
@staff
def remove_photo(number: str, public_id: str) -> ResponseReturnValue:
    """Take a picture away that does not belong there."""
    found = _photo(number, public_id)
    with unit_of_work():
        name = photographing.remove_photo(found, by=actor().email)
    files.delete(name)
    db.session.expire_all()
    flash(_("The photo is removed."), "success")
    if htmx.wants_fragment():
        return _show(number)
    return htmx.after_post(url_for("admin.sales_order", number=number))


def _photo(number: str, public_id: str) -> Any:
    if not _NUMBER.fullmatch(number) or not _PUBLIC_ID.fullmatch(public_id):
        raise NotFound
    return queries.get_photo(number, public_id)
