"""The cart: kept on the server, found by the visitor's token or by the user, and renewed in name with every change.

Prices in a cart are what the customer was shown. What is charged is decided at checkout from the packages themselves,
and only when the two agree.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import joinedload

from portal.catalogue.models import Package
from portal.core.db import db, is_postgresql
from portal.core.faults import fault
from portal.core.sealed import new_token, token_hash
from portal.orders.errors import CartFull, CartLineGone, InvalidQuantity, MixedCurrencies, NotForSale
from portal.orders.models import Cart, CartLine, Order

MAX_QUANTITY = 99
MAX_LINES = 50
_ABANDONED_AFTER = timedelta(days=60)
_BATCH = 500


@dataclass(frozen=True, slots=True)
class CartOwner:
    """Whose cart is meant: a user's own, else the one of the visitor's token."""

    user_id: int | None = None
    token: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether there can be a cart at all."""
        return self.user_id is not None or self.token is not None


def add_to_cart(owner: CartOwner, slug: str, quantity: int, *, at: datetime) -> Cart:
    """Put licences of a published package into the cart, on top of those that are there.

    Raises NotForSale, InvalidQuantity, MixedCurrencies or CartFull; then the cart is as it was.
    """
    _check_quantity(quantity)
    package = db.session.scalar(select(Package).where(Package.slug == slug, Package.is_published.is_(True)))
    if package is None:
        raise NotForSale
    cart = _open_cart(owner, at)
    line = next((one for one in cart.lines if one.package_id == package.id), None)
    _check_currency(cart, package, line)
    if line is None:
        if len(cart.lines) >= MAX_LINES:
            raise CartFull
        line = CartLine(package=package, quantity=0)
        cart.lines.append(line)
    _check_quantity(line.quantity + quantity)
    line.quantity += quantity
    _show(line, package)
    _touch(cart, at)
    db.session.flush()
    return cart


def change_quantity(owner: CartOwner, line_id: int, quantity: int, *, at: datetime) -> Cart:
    """Set how many licences a line is about. Raises CartLineGone or InvalidQuantity."""
    cart = _locked_cart(owner)
    line = next((one for one in cart.lines if one.id == line_id), None) if cart else None
    if cart is None or line is None:
        raise CartLineGone
    _check_quantity(quantity)
    if line.quantity != quantity:
        line.quantity = quantity
        _touch(cart, at)
        db.session.flush()
    return cart


def remove_line(owner: CartOwner, line_id: int, *, at: datetime) -> Cart | None:
    """Take a line out; one that is already out is no error."""
    cart = _locked_cart(owner)
    line = next((one for one in cart.lines if one.id == line_id), None) if cart else None
    if cart is not None and line is not None:
        cart.lines.remove(line)
        _touch(cart, at)
        db.session.flush()
    return cart


def accept_changes(owner: CartOwner, *, at: datetime) -> Cart | None:
    """Take today's prices as shown, and drop what is no longer sold: the customer read both and agreed."""
    cart = _locked_cart(owner)
    if cart is None:
        return None
    for line in list(cart.lines):
        package = line.package
        if package is None or not is_available(line):
            cart.lines.remove(line)
        else:
            _show(line, package)
    _touch(cart, at)
    db.session.flush()
    return cart


def keep_details(owner: CartOwner, *, email: str, name: str, billing: dict[str, str], at: datetime) -> Cart | None:
    """Remember who is buying, between the two screens of checkout. Other details make another order."""
    cart = _locked_cart(owner)
    if cart is not None and (cart.email, cart.name, cart.billing) != (email, name, billing):
        cart.email, cart.name, cart.billing = email, name, billing
        _touch(cart, at)
        db.session.flush()
    return cart


def merge_carts(user_id: int, token: str, *, at: datetime) -> None:
    """Take over a visitor's cart at log-in.

    Of a package that is in both, the larger number stays: whoever filled a cart twice wanted one of them, not both.
    Lines of another currency than the visitor's leave the account's cart, because one order has one currency and what
    was just chosen matters more.
    """
    guest = _locked_cart(CartOwner(token=token))
    if guest is None or guest.user_id is not None:
        return
    own = _locked_cart(CartOwner(user_id=user_id))
    if own is None:
        guest.user_id, guest.token_hash = user_id, None
        guest.updated_at = at
        db.session.flush()
        return
    if guest.lines:
        own.lines[:] = [line for line in own.lines if line.currency == guest.lines[0].currency]
    for line in list(guest.lines):
        twin = next((one for one in own.lines if one.package_id == line.package_id), None)
        if twin is None:
            own.lines.append(
                CartLine(
                    package_id=line.package_id, name=line.name, quantity=line.quantity,
                    unit_price_minor=line.unit_price_minor, currency=line.currency,
                )
            )  # fmt: skip
        else:
            twin.quantity = max(twin.quantity, line.quantity)
            twin.name, twin.unit_price_minor = line.name, line.unit_price_minor
    _touch(own, at)
    # An order placed before logging in still empties the cart it came from when it is paid.
    db.session.execute(update(Order).where(Order.cart_id == guest.id).values(cart_id=own.id))
    db.session.delete(guest)
    db.session.flush()


def take_out_bought(order: Order, *, at: datetime) -> None:
    """Remove from the cart what was just paid for; what was added or changed since then stays."""
    if order.cart_id is None:
        return
    db.session.execute(select(Cart.id).where(Cart.id == order.cart_id).with_for_update())
    cart = _read(Cart.id == order.cart_id)
    if cart is None:
        return
    bought = {line.package_id: line.quantity for line in order.lines if line.package_id is not None}
    left = [line for line in cart.lines if bought.get(line.package_id or 0) != line.quantity]
    if len(left) != len(cart.lines) or cart.checkout_key == order.idempotency_key:
        cart.lines[:] = left
        _touch(cart, at)
    # Done once: whoever puts the same package in again later wants it again.
    order.cart_id = None
    db.session.flush()


# Every page of the shop asks one of these: built once.
_ITEMS = select(func.coalesce(func.sum(CartLine.quantity), 0)).join(Cart)
_ITEMS_OF_USER = _ITEMS.where(Cart.user_id == bindparam("owner"))
_ITEMS_OF_VISITOR = _ITEMS.where(Cart.token_hash == bindparam("owner"))


def count_items(owner: CartOwner) -> int:
    """How many licences are in the cart, for the number on its button."""
    if owner.user_id is not None:
        return db.session.scalar(_ITEMS_OF_USER, {"owner": owner.user_id}) or 0
    if owner.token is not None:
        return db.session.scalar(_ITEMS_OF_VISITOR, {"owner": token_hash(owner.token)}) or 0
    return 0


def find_cart(owner: CartOwner) -> Cart | None:
    """The cart with its lines and their packages, in one statement."""
    return _read(is_owners(owner)) if owner.is_known else None


def forget_abandoned_carts(*, at: datetime) -> int:
    """Delete visitors' carts that nobody touched for two months; returns how many. Users keep theirs."""
    old = (
        select(Cart.id)
        .where(Cart.user_id.is_(None), Cart.updated_at < at - _ABANDONED_AFTER)
        .order_by(Cart.updated_at)
        .limit(_BATCH)
    )
    ids = list(db.session.scalars(old))
    # Spelt out, because a bulk DELETE knows nothing of the ORM's cascades.
    db.session.execute(delete(CartLine).where(CartLine.cart_id.in_(ids)))
    db.session.execute(delete(Cart).where(Cart.id.in_(ids), Cart.updated_at < at - _ABANDONED_AFTER))
    return len(ids)


def is_available(line: CartLine) -> bool:
    """Whether the line can still be bought: published, and in the currency it was put in with."""
    return line.package is not None and line.package.is_published and line.package.currency == line.currency


def _open_cart(owner: CartOwner, at: datetime) -> Cart:
    """The owner's cart under a lock, made when there is none.

    Two first clicks at once: the insert that comes second finds the row of the first and does nothing.
    """
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    values: dict[str, Any] = {
        "user_id": owner.user_id,
        "token_hash": token_hash(owner.token) if owner.user_id is None and owner.token else None,
        "checkout_key": new_token(),
        "email": "",
        "name": "",
        "billing": {},
        "created_at": at,
        "updated_at": at,
    }
    db.session.execute(insert(Cart).values(values).on_conflict_do_nothing())
    cart = _locked_cart(owner)
    if cart is None:
        raise RuntimeError("a cart needs a user or a token")
    return cart


def _locked_cart(owner: CartOwner) -> Cart | None:
    """The cart under a row lock: whoever changes a cart takes it first and reads the lines only then."""
    if not owner.is_known:
        return None
    cart_id = db.session.scalar(select(Cart.id).where(is_owners(owner)).with_for_update())
    fault("cart-after-lock")
    return None if cart_id is None else _read(Cart.id == cart_id)


def _read(which: ColumnElement[bool]) -> Cart | None:
    return (
        db.session.scalars(
            select(Cart)
            .where(which)
            .options(joinedload(Cart.lines).joinedload(CartLine.package))
            .execution_options(populate_existing=True)
        )
        .unique()
        .one_or_none()
    )


def is_owners(owner: CartOwner) -> ColumnElement[bool]:
    """The condition that finds the owner's cart."""
    if owner.user_id is not None:
        return Cart.user_id == owner.user_id
    return Cart.token_hash == token_hash(owner.token or "")


def _check_quantity(quantity: int) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise InvalidQuantity(field="quantity")


def _check_currency(cart: Cart, package: Package, line: CartLine | None) -> None:
    other = next((one.currency for one in cart.lines if one is not line and one.currency != package.currency), None)
    if other is not None:
        raise MixedCurrencies(
            _l(
                "Your cart is in %(cart)s and this package is sold in %(package)s. One order has one currency: "
                "buy what is in the cart first, or empty it.",
                cart=other,
                package=package.currency,
            )
        )


def _show(line: CartLine, package: Package) -> None:
    line.name = package.name
    line.unit_price_minor = package.price_minor
    line.currency = package.currency


def _touch(cart: Cart, at: datetime) -> None:
    """A page made from the cart before this change can no longer place an order."""
    cart.checkout_key = new_token()
    cart.updated_at = at
