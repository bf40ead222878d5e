"""Following a parcel: by a link without a log-in, and for the customer who gives that link away."""

from flask import Blueprint, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from portal.core import htmx
from portal.core.access import logged_in, public
from portal.core.addresses import address_of
from portal.core.db import unit_of_work
from portal.core.state import history
from portal.extensions import limiter
from portal.production.models import SalesOrder
from portal.production.shipping import queries
from portal.production.shipping.services import links
from portal.production.tracking import is_moving, steps_of

bp = Blueprint("tracking", __name__)

_LIMIT = "60 per minute"
# A page that is left open asks for about a day, more and more slowly, and then leaves it to its reader.
_MOST_POLLS = 200


@bp.get("/track/<token>")
@public
@limiter.limit(_LIMIT)
def show(token: str) -> ResponseReturnValue:
    """An order's progress for anybody who has its link: neither price, address nor photo."""
    sales_order = links.open_link(token)
    response = htmx.render(
        "production/track.html",
        fragment="production/_track.html",
        number=sales_order.order.number,
        status=200,
        sales_order=sales_order,
        shipment=_shown(sales_order),
        steps=steps_of(sales_order, history(sales_order), is_public=True),
        again=url_for("tracking.show", token=token, polls=_polls() + 1),
        polls=_polls(),
        is_polling=is_moving(sales_order) and _polls() < _MOST_POLLS,
    )
    return _untraceable(response)


@bp.get("/orders/<number>/tracking")
@logged_in
def manage(number: str) -> ResponseReturnValue:
    """The customer's own view of the parcel, with the link to give away."""
    return _manage(queries.get_sales_order(number, user_id=current_user.id))


@bp.post("/orders/<number>/tracking/renew")
@logged_in
def renew(number: str) -> ResponseReturnValue:
    """Make a new link; the old one stops working."""
    sales_order = queries.get_sales_order(number, user_id=current_user.id)
    with unit_of_work():
        links.renew_link(sales_order)
    flash(_("This is the new link. The old one does not work any more."), "success")
    return _changed(number)


@bp.post("/orders/<number>/tracking/revoke")
@logged_in
def revoke(number: str) -> ResponseReturnValue:
    """Let no link work any more."""
    sales_order = queries.get_sales_order(number, user_id=current_user.id)
    with unit_of_work():
        links.revoke_link(sales_order)
    flash(_("The link does not work any more."), "success")
    return _changed(number)


def _changed(number: str) -> ResponseReturnValue:
    if htmx.wants_fragment():
        return _manage(queries.get_sales_order(number, user_id=current_user.id))
    return htmx.after_post(url_for("tracking.manage", number=number))


def _manage(sales_order: SalesOrder) -> ResponseReturnValue:
    token = links.token_of(sales_order)
    response = htmx.render(
        "production/tracking.html",
        fragment="production/_tracking.html",
        order=sales_order.order,
        sales_order=sales_order,
        shipment=_shown(sales_order),
        steps=steps_of(sales_order, history(sales_order)),
        track_url=address_of("tracking.show", token=token) if token else None,
    )
    return _untraceable(response)


def _shown(sales_order: SalesOrder) -> object:
    """The parcel to show, once it has left."""
    shipment = queries.live_shipment(sales_order) or next(reversed(sales_order.shipments), None)
    return shipment if shipment is not None and shipment.shipped_at is not None else None


def _polls() -> int:
    text = request.args.get("polls", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0


def _untraceable(response: BaseResponse) -> BaseResponse:
    """Whoever has the address sees the order: it is kept by no cache, no search engine and no other site's log."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex, nofollow"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
