"""Checkout on two screens: who is buying, then what it costs and where to pay.

What is on the second screen is named by the cart's key; see docs/decisions/0007-one-cart-one-key-one-order.md.
"""

from flask import Blueprint, Response, flash, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _
from flask_login import current_user
from werkzeug.wrappers import Response as BaseResponse

from portal.accounts.queries import billing_of
from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter
from portal.orders import queries, visitor
from portal.orders.errors import (
    CartChanged,
    CartEmpty,
    CartNeedsAttention,
    DetailsMissing,
    OrderNotPayable,
)
from portal.orders.forms import DetailsForm, PayForm
from portal.orders.queries import CartView
from portal.orders.routes.paying import AlreadyDecided, ProviderTrouble, pay_form, pay_page, send_to_provider
from portal.orders.services import cart as carts
from portal.orders.services import placing

bp = Blueprint("checkout", __name__)

# A person who pays, also one who tries several times; a program that makes orders is slowed down.
_LIMIT = "60 per minute"
_DEFAULT_COUNTRY = "PL"


@bp.get("/checkout")
@public
def start() -> ResponseReturnValue:
    """The first screen: who is buying."""
    cart = queries.read_cart(visitor.cart_owner())
    if not cart.is_ready:
        return _back_to_cart(cart)
    return _details_page(DetailsForm(formdata=None, **_known_details(cart)), cart)


@bp.post("/checkout")
@public
def details() -> ResponseReturnValue:
    """Keep who is buying, and go on to the second screen."""
    form = DetailsForm()
    owner = visitor.cart_owner()
    if not form.validate():
        return _details_page(form, queries.read_cart(owner))
    with unit_of_work():
        cart = carts.keep_details(
            owner, email=form.email.data, name=form.name.data, billing=form.billing(), at=clock.now()
        )
    if cart is None:
        return htmx.leave(url_for("cart.show"))
    return htmx.leave(url_for("checkout.review"))


@bp.get("/checkout/review")
@public
def review() -> ResponseReturnValue:
    """The second screen: what it costs, and where to pay."""
    cart = queries.read_cart(visitor.cart_owner())
    if not cart.is_ready:
        return _back_to_cart(cart)
    if not cart.email or not cart.name:
        return htmx.leave(url_for("checkout.start"))
    return _review_page(cart)


@bp.post("/checkout/review")
@public
@limiter.limit(_LIMIT)
def place() -> ResponseReturnValue:
    """Place the order and send the buyer to the provider; a repeated request finds the order it placed before."""
    owner, form, at = visitor.cart_owner(), PayForm(), clock.now()
    key, provider = form.key.data or "", form.provider.data or ""
    try:
        with unit_of_work():
            placed = placing.place_order(
                owner, key, provider=provider, locale=str(get_locale()), placed=visitor.placed_orders(), at=at
            )
        visitor.remember_order(placed.order.number)
        return htmx.leave(send_to_provider(placed, provider))
    except (OrderNotPayable, AlreadyDecided) as turn:
        return htmx.leave(placing.return_url(turn.number))
    except (CartEmpty, CartNeedsAttention, DetailsMissing) as error:
        flash(str(error), "warning")
        return htmx.leave(url_for("checkout.start"))
    except (CartChanged, *ProviderTrouble) as error:
        # Nothing half made: an order that was placed waits under the same key, so choosing again pays that one.
        cart = queries.read_cart(owner)
        return _review_page(cart, error=error) if cart.is_ready else _back_to_cart(cart)


def _known_details(cart: CartView) -> dict[str, str]:
    """What the first screen starts with: what was typed before, else what the account knows."""
    known = {"email": cart.email, "name": cart.name, **(cart.billing or {})}
    if current_user.is_authenticated and not cart.email:
        known = {"email": current_user.email, "name": current_user.name, **billing_of(current_user.id)}
    return {"country": _DEFAULT_COUNTRY, **known}


def _details_page(form: DetailsForm, cart: CartView) -> Response:
    return htmx.render(
        "checkout/details.html",
        fragment="checkout/_details.html",
        status=422 if form.errors else 200,
        form=form,
        cart=cart,
    )


def _review_page(cart: CartView, *, error: PortalError | None = None) -> Response:
    form = pay_form(cart.currency)
    form.key.data = cart.key
    return pay_page("checkout/review.html", "checkout/_review.html", form, cart.currency, cart=cart, error=error)


def _back_to_cart(cart: CartView) -> BaseResponse:
    """The cart's own page says what is wrong with it, and mends it."""
    if cart.lines:
        flash(_("Something in your cart has changed. Please look at it before you pay."), "warning")
    return htmx.leave(url_for("cart.show"))
