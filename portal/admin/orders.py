"""Orders: the list, one order with everything that happened to it, and what staff can do about it."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import exporting, filters, services
from portal.admin.blueprint import ROW_ID, act, actor, bp
from portal.admin.queries import orders as queries
from portal.admin.wording import actor_words, change_words
from portal.core import clock, htmx
from portal.core.access import staff
from portal.core.db import unit_of_work
from portal.core.errors import NotFound
from portal.core.state import StatusChange
from portal.core.status_labels import status_label
from portal.orders.errors import OrderNotFound
from portal.orders.hooks import maker_of
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.services.cancelling import cancel_order, is_cancellable

_NUMBER = re.compile(r"[0-9A-Za-z-]{1,24}")
_BAD_ENDS = ("failed", "cancelled")


@bp.get("/orders")
@staff
def orders() -> ResponseReturnValue:
    """All orders, newest first."""
    page = queries.orders_page(_wanted(), before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "admin/orders.html",
        fragment="admin/_orders.html",
        page=page,
        statuses=OrderStatus,
        payment_statuses=PaymentStatus,
    )


def _wanted() -> queries.OrderFilter:
    return queries.OrderFilter(
        text=filters.text(),
        status=filters.choice("status", OrderStatus),
        payment_status=filters.choice("payment", PaymentStatus),
        placed_from=filters.begins(filters.day("from")),
        placed_before=filters.ends(filters.day("to")),
    )


@bp.get("/orders.csv")
@staff
def orders_csv() -> ResponseReturnValue:
    """The orders of the list's filter as a file."""
    wanted = _wanted()
    with unit_of_work():
        services.note_export("orders", by=actor().email, filters=request.args.to_dict())
    rows = exporting.all_rows(queries.orders_where(wanted), Order.id)
    return exporting.csv_answer("orders", _CSV_HEADER, rows, _csv_cells)


_CSV_HEADER = (
    "number", "placed_at", "email", "name", "status", "payment_status", "currency", "total", "tax", "paid",
    "refunded", "paid_at",
)  # fmt: skip


def _csv_cells(order: Order) -> Sequence[object]:
    amounts = (order.total_minor, order.tax_minor, order.paid_minor, order.refunded_minor)
    return (
        order.number, order.placed_at, order.email, order.name, order.status, order.payment_status, order.currency,
        *(exporting.amount_cell(amount, order.currency) for amount in amounts), order.paid_at,
    )  # fmt: skip


@bp.get("/orders/<number>")
@staff
def order(number: str) -> ResponseReturnValue:
    """One order with its payments, mails and history."""
    return _show(number)


def _show(number: str, refusal: str | None = None, status: int = 200) -> ResponseReturnValue:
    file = queries.read_order_file(get_order(number))
    return htmx.render(
        "admin/order.html",
        fragment="admin/_order.html",
        status=status,
        file=file,
        order=file.order,
        steps=_steps(file),
        open_session=next((session for session in file.sessions if not session.is_final), None),
        is_waiting=_is_waiting(file),
        is_cancellable=is_cancellable(file.order),
        is_made=maker_of(file.order) is not None,
        refusal=refusal,
    )


def get_order(number: str) -> Order:
    """The order of that number. Raises OrderNotFound."""
    found = queries.find_order(number) if _NUMBER.fullmatch(number) else None
    if found is None:
        raise OrderNotFound
    return found


def _is_waiting(file: queries.OrderFile) -> bool:
    """Whether what was bought waits until the buyer proves their address."""
    order = file.order
    if maker_of(order) is not None:
        return False
    is_paid = order.payment_status is not PaymentStatus.PENDING
    return is_paid and order.status is OrderStatus.OPEN and not (file.account and file.account.is_verified)


def _steps(file: queries.OrderFile) -> list[dict[str, Any]]:
    """The order's life for the timeline, oldest first."""
    placed = {"label": _("Placed"), "state": "done", "at": file.order.placed_at, "note": file.order.email}
    return [placed, *map(_step, file.changes)]


def _step(change: StatusChange) -> dict[str, Any]:
    kind = "payment" if change.entity == "payment_sessions" or change.column == "payment_status" else "order"
    note = " · ".join(part for part in (actor_words(change.actor), change.reason) if part)
    return {
        "label": f"{change_words(change.entity, change.column)}: {status_label(change.became, kind)}",
        "state": "failed" if change.became in _BAD_ENDS else "done",
        "at": change.at,
        "note": note,
    }


@bp.post("/orders/<number>/cancel")
@staff
def cancel_order_now(number: str) -> ResponseReturnValue:
    """Call off an order that nobody has paid."""
    get_order(number)
    return act(
        lambda: cancel_order(number, by=actor().email, at=clock.now()),
        show=partial(_show, number),
        url=url_for("admin.order", number=number),
        done=_l("The order is cancelled."),
    )


@bp.post("/orders/<number>/ask")
@staff
def ask_about_order(number: str) -> ResponseReturnValue:
    """Have the provider asked about the order's open payment."""
    order = get_order(number)
    session = next((one for one in queries.read_order_file(order).sessions if not one.is_final), None)
    if session is None:
        return _show(number, str(services.PaymentFinished()), services.PaymentFinished.status)
    return act(
        lambda: services.ask_provider(session, by=actor().email, at=clock.now()),
        show=partial(_show, number),
        url=url_for("admin.order", number=number),
        done=_l("The provider is being asked. The answer appears here in a moment."),
    )


@bp.post("/orders/<number>/link")
@staff
def send_order_link(number: str) -> ResponseReturnValue:
    """Send the buyer the link that opens their account, and with it what they bought."""
    email = get_order(number).email
    return act(
        lambda: services.send_set_up_link(email, by=actor().email, at=clock.now()),
        show=partial(_show, number),
        url=url_for("admin.order", number=number),
        done=_l("The link is on its way to %(email)s.", email=email),
    )


@bp.post(f"/orders/<number>/mails/<{ROW_ID}:mail_id>")
@staff
def send_order_mail_again(number: str, mail_id: int) -> ResponseReturnValue:
    """Send one of the order's mails once more."""
    file = queries.read_order_file(get_order(number))
    if mail_id not in {mail.id for mail in file.mails}:
        raise NotFound
    return act(
        lambda: services.send_mail_again(mail_id, by=actor().email, at=clock.now()),
        show=partial(_show, number),
        url=url_for("admin.order", number=number),
        done=_l("The mail is on its way again."),
    )
