"""Ordering a quote, and the page of what became of it."""

from typing import Any, cast

from flask import Blueprint, flash, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal.accounts import services as accounts
from portal.accounts.countries import country_name, country_of_language
from portal.accounts.models import AddressKind, User
from portal.core import clock, htmx
from portal.core.access import logged_in
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, NotFound, PortalError, Unavailable
from portal.core.state import history
from portal.orders.models import Order
from portal.orders.routes.paying import pay_form, pay_page
from portal.orders.services.placing import PURPOSE
from portal.orders.tracking import truth_about
from portal.payments import queries as payments
from portal.production import queries
from portal.production.forms import DEPOSIT, CancelForm, ConvertForm, first_guess
from portal.production.models import SalesOrder
from portal.production.routes.photos import picture
from portal.production.services import cancelling
from portal.production.services.amounts import deposit_basis_points, required_minor, share_minor
from portal.production.services.converting import convert_quote, find_sales_order
from portal.production.services.freezing import positions_of, spread
from portal.production.tracking import is_moving, steps_of
from portal.quotes.errors import NotConvertible
from portal.quotes.models import Quote
from portal.quotes.services.converting import check_convertible
from portal.quotes.services.loading import QuoteOwner
from portal.quotes.services.requoting import requote

bp = Blueprint("production", __name__)

_BY_CUSTOMER = "Cancelled by the customer"


def me() -> User:
    """Who is signed in; the routes here are closed to everybody else."""
    return cast("User", current_user)


@bp.get("/quotes/<number>/convert")
@logged_in
def convert(number: str) -> ResponseReturnValue:
    """Where the parts go and how they are paid; an order that was made before is shown instead."""
    quote = queries.get_quote_to_order(number, user_id=me().id)
    known = find_sales_order(quote)
    if known is not None:
        return htmx.leave(url_for("orders.detail", number=known.order.number))
    try:
        check_convertible(quote, at=clock.now())
    except NotConvertible as refusal:
        return _convert_page(quote, None, refusal=refusal)
    kept = accounts.list_addresses(me())
    guess = kept.get(AddressKind.SHIPPING) or kept.get(AddressKind.BILLING)
    form = ConvertForm(formdata=None, data={"country": country_of_language(me().locale), **first_guess(me(), guess)})
    return _convert_page(quote, form)


@bp.post("/quotes/<number>/convert")
@logged_in
def submit_convert(number: str) -> ResponseReturnValue:
    """Order the quote; pressed twice, it leads to the same order."""
    quote = queries.get_quote_to_order(number, user_id=me().id)
    form = ConvertForm()
    _offer(form, quote)
    if find_sales_order(quote) is None and not form.validate():
        return _convert_page(quote, form, status=422)
    try:
        with unit_of_work():
            sales_order = convert_quote(
                number,
                user=me(),
                address=form.address(me()),
                pays_deposit=form.pays.data == DEPOSIT,
                at=clock.now(),
            )
            goal = url_for("orders.detail", number=sales_order.order.number)
    except NotConvertible as refusal:
        db.session.expire_all()
        return _convert_page(queries.get_quote_to_order(number, user_id=me().id), None, refusal=refusal)
    return htmx.after_post(goal)


def _offer(form: ConvertForm, quote: Quote) -> None:
    share = deposit_basis_points(quote.total_minor)
    deposit_minor = share_minor(quote.total_minor, share) if share is not None else None
    form.offer(quote.total_minor, deposit_minor, quote.currency)


def _convert_page(
    quote: Quote, form: ConvertForm | None, *, refusal: Conflict | None = None, status: int = 200
) -> ResponseReturnValue:
    positions = positions_of(quote)
    totals = spread(positions, quote.total_minor, quote.currency)
    if form is not None:
        _offer(form, quote)
    return htmx.render(
        "production/convert.html",
        fragment="production/_convert.html",
        status=refusal.status if refusal is not None else status,
        quote=quote,
        form=form,
        refusal=str(refusal) if refusal is not None else None,
        lines=[(one.description, one.quantity, total) for one, total in zip(positions, totals, strict=True)],
    )


def order_page(order: Order, *, error: PortalError | None = None) -> ResponseReturnValue:
    """A sales order at the address that all orders have."""
    sales_order = queries.get_sales_order(order.number, user_id=me().id)
    return _show(sales_order, error=error)


def _show(
    sales_order: SalesOrder, *, error: PortalError | None = None, refusal: PortalError | None = None
) -> ResponseReturnValue:
    order = sales_order.order
    sessions = [one.id for one in payments.sessions_of(PURPOSE, order.id)]
    is_cancellable = sales_order.status in cancelling.CANCELLABLE_BY_CUSTOMER
    return pay_page(
        "production/order.html",
        "production/_order.html",
        pay_form(order.currency),
        order.currency,
        error=error or refusal,
        **progress_of(sales_order),
        truth=truth_about(order, at=clock.now()),
        invoices=payments.invoices_of_sessions(sessions),
        refunds=payments.money_back_of(sessions),
        required_minor=required_minor(sales_order, order),
        is_cancellable=is_cancellable,
        goes_back=cancelling.what_goes_back(order) if is_cancellable else [],
        cancel_form=CancelForm(formdata=None),
        country=country_name(sales_order.shipping_address.get("country", "")),
    )


def progress_of(sales_order: SalesOrder) -> dict[str, Any]:
    """What the part of the page says that asks again by itself."""
    return {
        "sales_order": sales_order,
        "order": sales_order.order,
        "steps": steps_of(sales_order, history(sales_order)),
        "is_moving": is_moving(sales_order),
    }


@bp.get("/orders/<number>/progress")
@logged_in
def progress(number: str) -> ResponseReturnValue:
    """How far the parts are; the page asks for it as long as they move."""
    sales_order = queries.get_sales_order(number, user_id=me().id)
    if not htmx.wants_fragment():
        return htmx.leave(url_for("orders.detail", number=number))
    return htmx.render("production/_progress.html", fragment="production/_progress.html", **progress_of(sales_order))


@bp.get("/orders/<number>/photos/<public_id>")
@logged_in
def photo(number: str, public_id: str) -> ResponseReturnValue:
    """A picture of the customer's own parts."""
    return picture(queries.get_photo(number, public_id, user_id=me().id))


@bp.post("/orders/<number>/cancel")
@logged_in
def cancel(number: str) -> ResponseReturnValue:
    """Call the order off, as long as its parts are not being made."""
    sales_order = queries.get_sales_order(number, user_id=me().id)
    form = CancelForm()
    reason = (form.reason.data or "").strip() if form.validate() else ""
    try:
        with unit_of_work():
            refunds = cancelling.cancel_as_customer(
                sales_order, reason=reason if len(reason) >= 3 else _BY_CUSTOMER, by=me().email, at=clock.now()
            )
    except Conflict as refusal:
        db.session.expire_all()
        return _show(queries.get_sales_order(number, user_id=me().id), refusal=refusal)
    db.session.expire_all()
    if refunds:
        flash(_("Your order is cancelled, and your money is on its way back."), "success")
    else:
        flash(_("Your order is cancelled."), "success")
    return htmx.after_post(url_for("orders.detail", number=number))


@bp.post("/orders/<number>/reorder")
@logged_in
def reorder(number: str) -> ResponseReturnValue:
    """Begin a quote for the same parts at today's prices; pressed twice, it leads to the same draft."""
    sales_order = queries.get_sales_order(number, user_id=me().id)
    quote_number = sales_order.quote.number
    try:
        with unit_of_work():
            draft = requote(str(quote_number), QuoteOwner.of(me()), at=clock.now())
            goal = url_for("quotes.detail", number=draft.number)
    except (Conflict, NotFound, Unavailable) as refusal:
        db.session.expire_all()
        return _show(queries.get_sales_order(number, user_id=me().id), refusal=refusal)
    return htmx.after_post(goal)
