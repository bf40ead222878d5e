"""The cart: one fragment for the page and for the drawer; every form works without script."""

from collections.abc import Callable

from flask import Blueprint, Response, flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from werkzeug.wrappers import Response as BaseResponse

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.orders import queries, visitor
from portal.orders.models import Cart
from portal.orders.queries import CartView
from portal.orders.services import cart as carts

bp = Blueprint("cart", __name__)

_PAGE, _FRAGMENT = "cart/show.html", "cart/_cart.html"


@bp.get("/cart")
@public
def show() -> ResponseReturnValue:
    """What is in the cart; as a fragment it fills the drawer."""
    return _page(queries.read_cart(visitor.cart_owner()))


@bp.get("/cart/badge")
@public
def badge() -> ResponseReturnValue:
    """The number on the cart's button."""
    return htmx.render("cart/badge.html", fragment="components/_cart_badge.html")


@bp.post("/cart/add")
@public
def add() -> ResponseReturnValue:
    """Put a package into the cart."""
    owner = visitor.future_cart_owner()
    slug = request.form.get("slug", "").strip()

    def change() -> Cart | None:
        return carts.add_to_cart(owner, slug, _quantity(), at=clock.now())

    response = _changed(change, done=_("Added to your cart."))
    if response.status_code < 400:
        visitor.remember_cart(owner)
    return response


@bp.post("/cart/lines/<int:line_id>/quantity")
@public
def change(line_id: int) -> ResponseReturnValue:
    """Set how many licences of a line."""
    return _changed(
        lambda: carts.change_quantity(visitor.cart_owner(), line_id, _quantity(), at=clock.now()),
    )


@bp.post("/cart/lines/<int:line_id>/remove")
@public
def remove(line_id: int) -> ResponseReturnValue:
    """Take a line out."""
    return _changed(
        lambda: carts.remove_line(visitor.cart_owner(), line_id, at=clock.now()), done=_("Removed from your cart.")
    )


@bp.post("/cart/accept")
@public
def accept() -> ResponseReturnValue:
    """Agree to today's prices, and let go of what is no longer sold."""
    return _changed(
        lambda: carts.accept_changes(visitor.cart_owner(), at=clock.now()), done=_("Your cart is up to date.")
    )


def _changed(work: Callable[[], Cart | None], *, done: str | None = None) -> BaseResponse:
    """Do something to the cart and show it: the page by redirect, the fragment with the number on the button."""
    try:
        with unit_of_work():
            cart = work()
            view = queries.view_of(cart) if cart is not None else queries.EMPTY_CART
    except PortalError as error:
        return _page(queries.read_cart(visitor.cart_owner()), error=str(error), status=error.status)
    visitor.note_cart_count(view.count)
    if done and not htmx.wants_fragment():
        flash(done, "success")
    return htmx.after_post(
        url_for("cart.show"), fragment=_FRAGMENT, cart=view, done=done, cart_changed=True, error=None
    )


def _page(view: CartView, *, error: str | None = None, status: int = 200) -> Response:
    visitor.note_cart_count(view.count)
    return htmx.render(_PAGE, fragment=_FRAGMENT, status=status, cart=view, error=error, cart_changed=True)


def _quantity() -> int:
    """The number of licences that was asked for; nothing at all means one, anything odd is refused by the service."""
    text = request.form.get("quantity", "1").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
