"""What the cookie session knows of a visitor: whose cart it is, and which orders this browser placed."""

from datetime import datetime

from flask import g, has_request_context, session
from flask_login import current_user
from sqlalchemy.exc import SQLAlchemyError

from portal.accounts.models import User
from portal.core import sealed
from portal.core.db import db
from portal.orders.services import cart as carts
from portal.orders.services.cart import CartOwner

_TOKEN = "cart_token"  # noqa: S105  # the name it has in the cookie
_PLACED = "placed_orders"
_REMEMBERED = 10


def user_id() -> int | None:
    """Who is signed in, if anybody."""
    return current_user.id if current_user.is_authenticated else None


def cart_owner() -> CartOwner:
    """Whose cart this request is about; nobody's for a visitor who has put nothing into one."""
    token = session.get(_TOKEN)
    return CartOwner(user_id=user_id(), token=token if isinstance(token, str) else None)


def future_cart_owner() -> CartOwner:
    """The same for somebody who is about to put something in; tell `remember_cart` when it worked."""
    owner = cart_owner()
    return owner if owner.is_known else CartOwner(token=sealed.new_token())


def remember_cart(owner: CartOwner) -> None:
    """Keep a visitor's new cart token in the cookie."""
    if owner.user_id is None and session.get(_TOKEN) != owner.token:
        session[_TOKEN] = owner.token
        # The cart is on the server for weeks; a cookie that dies with the window would lose it.
        session.permanent = True


def take_over_cart(user: User, *, at: datetime) -> None:
    """Merge what this browser has in its cart into the user's, in the transaction that signs them in."""
    token = session.get(_TOKEN) if has_request_context() else None
    if isinstance(token, str):
        carts.merge_carts(user.id, token, at=at)


def placed_orders() -> list[str]:
    """The numbers of the orders this browser placed without logging in, newest last."""
    numbers = session.get(_PLACED)
    return [str(number) for number in numbers] if isinstance(numbers, list) else []


def remember_order(number: str) -> None:
    """Let this browser see the order it placed."""
    known = placed_orders()
    if number not in known:
        session[_PLACED] = [*known, number][-_REMEMBERED:]


def cart_count() -> int:
    """The number on the cart's button, read once a request. An error page with the database away shows none."""
    if "cart_count" not in g:
        try:
            g.cart_count = carts.count_items(cart_owner())
        except SQLAlchemyError:
            db.session.rollback()
            g.cart_count = 0
    return int(g.cart_count)


def note_cart_count(count: int) -> None:
    """Use a count that a route has read anyway."""
    g.cart_count = count
