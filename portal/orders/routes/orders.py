"""A customer's orders, and the two pages a provider sends a buyer back to."""

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import clock, htmx
from portal.core.access import logged_in, public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.core.state import history
from portal.extensions import limiter
from portal.orders import hooks, queries, visitor
from portal.orders.errors import OrderNotPayable
from portal.orders.models import Order
from portal.orders.routes.pages import page_of
from portal.orders.routes.paying import (
    AlreadyDecided,
    ProviderTrouble,
    pay_form,
    pay_page,
    send_to_provider,
)
from portal.orders.services import placing
from portal.orders.tracking import steps_of, truth_about
from portal.payments import queries as payments
from portal.payments.services.checking import request_check

bp = Blueprint("orders", __name__)

_LIMIT = "60 per minute"


@bp.get("/orders")
@logged_in
def index() -> ResponseReturnValue:
    """Everything this customer ordered."""
    page = queries.page_of_orders(current_user.id, before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render(
        "orders/index.html", fragment="orders/_list.html", page=page, standing=hooks.standing_of(page.rows)
    )


@bp.get("/orders/<number>")
@logged_in
def detail(number: str) -> ResponseReturnValue:
    """One order: its lines, its history, its invoice, and paying it when that is still to be done."""
    order = queries.get_order(number, user_id=current_user.id)
    page = page_of(order) or _detail_page
    return page(order)


@bp.get("/orders/<number>/return")
@public
def returned(number: str) -> ResponseReturnValue:
    """What is known about the payment, fact by fact; asks the provider when the news is late."""
    order = _placed(number)
    truth = truth_about(order, at=clock.now())
    if truth.is_late and truth.session is not None:
        with unit_of_work():
            request_check(truth.session, at=clock.now())
    return htmx.render(
        "orders/returned.html",
        fragment="orders/_truth.html",
        order=order,
        truth=truth,
        polls=_polls(),
        key=request.args.get("key", ""),
        # What was bought has left the cart by now.
        cart_changed=truth.is_applied,
    )


@bp.get("/orders/<number>/cancelled")
@public
def cancelled(number: str) -> ResponseReturnValue:
    """The buyer left the provider's page without paying, as far as we know."""
    order = _placed(number)
    truth = truth_about(order, at=clock.now())
    if truth.is_paid or not order.is_payable:
        return htmx.leave(_return_path(order))
    return _cancelled_page(order)


@bp.post("/orders/<number>/pay")
@public
@limiter.limit(_LIMIT)
def pay(number: str) -> ResponseReturnValue:
    """Pay an order that is still open, at the same provider or at another."""
    order = _placed(number)
    provider = request.form.get("provider", "")
    try:
        try:
            address = send_to_provider(_to_pay(number), provider)
        except AlreadyDecided:
            # A provider's message came in between, such as that the payment the buyer has just left was cancelled.
            address = send_to_provider(_to_pay(number), provider)
        return htmx.leave(address)
    except (OrderNotPayable, AlreadyDecided):
        return htmx.leave(_return_path(order))
    except ProviderTrouble as error:
        return _cancelled_page(order, error=error)


def _to_pay(number: str) -> placing.Placed:
    with unit_of_work():
        order = _placed(number)
        return placing.Placed(order, placing.session_to_pay(order, at=clock.now()))


def _placed(number: str) -> Order:
    """The order, for its owner, the browser that placed it, or who has our link; a stranger finds nothing."""
    return queries.get_placed_order(
        number,
        user_id=visitor.user_id(),
        placed=visitor.placed_orders(),
        signature=request.values.get("key"),
    )


def _return_path(order: Order) -> str:
    return url_for("orders.returned", number=order.number, key=request.values.get("key") or None)


def _polls() -> int:
    """How often this page has asked already: it asks more slowly with time, and stops in the end."""
    text = request.args.get("polls", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0


def _detail_page(order: Order, *, error: PortalError | None = None) -> ResponseReturnValue:
    truth = truth_about(order, at=clock.now())
    invoice = payments.invoice_of_session(truth.session.id) if truth.session and truth.is_applied else None
    return pay_page(
        "orders/detail.html",
        "orders/_detail.html",
        pay_form(order.currency),
        order.currency,
        error=error,
        order=order,
        truth=truth,
        invoice=invoice,
        refunds=payments.money_back_of([one.id for one in payments.sessions_of(placing.PURPOSE, order.id)]),
        steps=steps_of(order, history(order), truth),
    )


def _cancelled_page(order: Order, *, error: PortalError | None = None) -> ResponseReturnValue:
    return pay_page(
        "orders/cancelled.html",
        "orders/_cancelled.html",
        pay_form(order.currency),
        order.currency,
        error=error,
        order=order,
        key=request.values.get("key", ""),
    )
