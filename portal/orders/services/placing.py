"""Placing an order: the cart as it stands becomes an order with frozen lines and something to pay, all in one go.

One cart, one key, one order. The key names the cart with everything the customer sees on the last screen, so two
windows, a double click, the back button or a repeated request bring the same key and find the same order; a cart that
was changed has another key, and a page made from the old one is refused. The unique key of the table is what holds
when twenty requests come at once: the one that loses finds the winner's order.
"""

import secrets
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, insert, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

from portal.catalogue.models import BundleChild, Package
from portal.core import sealed, settings
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.faults import fault
from portal.core.money import Money, tax_included
from portal.orders import hooks
from portal.orders.errors import (
    CartChanged,
    CartEmpty,
    CartNeedsAttention,
    DetailsMissing,
    OrderNotPayable,
)
from portal.orders.models import (
    Cart,
    CartLine,
    LineKind,
    Order,
    OrderLine,
    OrderLineUnlock,
    OrderStatus,
    PaymentStatus,
)
from portal.orders.services.cart import CartOwner, is_available, is_owners
from portal.payments import queries as payments
from portal.payments.extension import current_registry
from portal.payments.models import PaymentAttempt, PaymentSession
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.sessions import create_session
from portal.payments.services.starting import first_attempt

PURPOSE = "order"
RETURN_PURPOSE = "order-return"
_ALPHABET = string.digits + string.ascii_uppercase
_NUMBER_TRIES = 20


@dataclass(frozen=True, slots=True)
class Placed:
    """An order and what pays for it; `attempt` is there when this call made both and recorded the first try."""

    order: Order
    session: PaymentSession
    attempt: PaymentAttempt | None = None


def place_order(
    owner: CartOwner, key: str, *, provider: str, locale: str, placed: Collection[str], at: datetime
) -> Placed:
    """Make an order of the cart that `key` names, or return the one that was made of it before.

    Every number comes from the database. `placed` are the numbers of the orders this browser placed. Raises
    CartChanged, CartEmpty, CartNeedsAttention, DetailsMissing, UnknownProvider when it does not take the currency, or
    OrderNotPayable when the order is there and nothing is left to pay.
    """
    cart, order_id = _cart_with_order(owner)
    if order_id is not None and cart is not None and cart.checkout_key == key:
        return _again(db.session.get_one(Order, order_id), at)
    if cart is None or cart.checkout_key != key:
        earlier = find_by_key(key)
        if earlier is not None and _is_this_buyers(earlier, owner, cart, placed):
            return _again(earlier, at)
        raise CartChanged
    _check_ready(cart)
    check_provider(provider, cart.lines[0].currency)
    lines = [_order_line(place, line) for place, line in enumerate(cart.lines, start=1)]
    order = _order_from(cart, owner, lines, locale=locale, at=at)
    winner = insert_order(order, lines, at)
    if winner is not order:
        return _again(winner, at)
    session = open_session(order, [line["description"] for line in lines], at)
    attempt = first_attempt(session, provider, at=at)
    fault("place-before-commit")
    return Placed(order, session, attempt)


def session_to_pay(order: Order, *, at: datetime) -> PaymentSession:
    """What the customer can pay an open order with: the payment that is under way, or a new one after a failed one.

    Raises OrderNotPayable when the order is paid or cancelled, and while an expired payment may still bring money:
    two payments that can both succeed would charge the customer twice.
    """
    _lock_order(order)
    latest = _latest_unless_paid(order)
    if latest is None or latest.is_final:
        return open_session(order, [line.description for line in order.lines], at, hooks.due_minor(order))
    if latest.expires_at <= at:
        # The clean-up asks the providers and closes it within a minute or so; then a new one can begin.
        raise OrderNotPayable(order.number)
    return latest


def ask_for_part(order: Order, amount_minor: int, *, at: datetime) -> PaymentSession:
    """Open a payment for a part of what an order still costs, such as a deposit; `session_to_pay` asks for the rest
    once it is paid. The order is paid when its parts add up.

    Raises OrderNotPayable when it is paid or cancelled, while another payment is under way, and for more than is left.
    """
    _lock_order(order)
    latest = _latest_unless_paid(order)
    if (latest is not None and not latest.is_final) or not 0 < amount_minor <= order.total_minor - order.paid_minor:
        raise OrderNotPayable(order.number)
    return open_session(order, [line.description for line in order.lines], at, amount_minor)


def _latest_unless_paid(order: Order) -> PaymentSession | None:
    """The newest payment of an order that costs something still; call it under the order's lock."""
    db.session.refresh(order, ["status", "payment_status", "paid_minor"])
    if not order.is_payable:
        raise OrderNotPayable(order.number)
    sessions = payments.sessions_of(PURPOSE, order.id)
    return sessions[0] if sessions else None


def _lock_order(order: Order) -> None:
    """Two windows that both find the last payment failed would open two new ones."""
    db.session.execute(select(Order.id).where(Order.id == order.id).with_for_update())


def return_url(number: str) -> str:
    """Where a provider sends the buyer back to; the signature lets the owner of the link in, without an account."""
    return address_of("orders.returned", number=number, key=_key(number))


def cancel_url(number: str) -> str:
    """Where a provider sends a buyer who did not pay."""
    return address_of("orders.cancelled", number=number, key=_key(number))


def _key(number: str) -> str:
    return sealed.sign(number, purpose=RETURN_PURPOSE)


def _cart_with_order(owner: CartOwner) -> tuple[Cart | None, int | None]:
    """The cart, its lines, their packages, and the order of its key: one statement, one moment.

    No lock is needed: the key and the lines are read together, and a cart that changes a moment later has another key.
    """
    if not owner.is_known:
        return None, None
    row = (
        db.session.execute(
            select(Cart, Order.id)
            .outerjoin(Order, Order.idempotency_key == Cart.checkout_key)
            .where(is_owners(owner))
            .options(joinedload(Cart.lines).joinedload(CartLine.package))
            .execution_options(populate_existing=True)
        )
        .unique()
        .one_or_none()
    )
    return (None, None) if row is None else (row[0], row[1])


def find_by_key(key: str) -> Order | None:
    """The order that was placed with an idempotency key."""
    return db.session.scalar(select(Order).where(Order.idempotency_key == key))


def _is_this_buyers(order: Order, owner: CartOwner, cart: Cart | None, placed: Collection[str]) -> bool:
    """Whoever found somebody else's key may not see that person's order."""
    if owner.user_id is not None and order.user_id == owner.user_id:
        return True
    return order.number in placed or (cart is not None and order.cart_id == cart.id)


def _again(order: Order, at: datetime) -> Placed:
    return Placed(order, session_to_pay(order, at=at))


def _check_ready(cart: Cart) -> None:
    if not cart.lines:
        raise CartEmpty
    if not cart.email or not cart.name:
        raise DetailsMissing
    if len({line.currency for line in cart.lines}) > 1:
        raise CartNeedsAttention
    for line in cart.lines:
        if not is_available(line) or line.package is None or line.package.price_minor != line.unit_price_minor:
            raise CartNeedsAttention


def check_provider(name: str, currency: str) -> None:
    """Raises UnknownProvider for one that is off, or does not take the currency."""
    if name not in {provider.name for provider in current_registry().for_checkout(currency)}:
        raise UnknownProvider


def _order_from(cart: Cart, owner: CartOwner, lines: Sequence[dict[str, Any]], *, locale: str, at: datetime) -> Order:
    return Order(
        number=new_number(at),
        idempotency_key=cart.checkout_key,
        user_id=owner.user_id,
        cart_id=cart.id,
        email=cart.email,
        name=cart.name,
        billing=dict(cart.billing),
        locale=locale,
        currency=cart.lines[0].currency,
        total_minor=sum(line["total_minor"] for line in lines),
        tax_minor=sum(line["tax_minor"] for line in lines),
        paid_minor=0,
        status=OrderStatus.OPEN,
        payment_status=PaymentStatus.PENDING,
        placed_at=at,
    )


def _order_line(place: int, line: CartLine) -> dict[str, Any]:
    """A line as it is stored; rows and not objects, so that fifty of them are one statement on both databases."""
    package = line.package
    if package is None:
        raise CartNeedsAttention
    total_minor = package.price_minor * line.quantity
    return {
        "position": place,
        "kind": LineKind.PACKAGE,
        "package_id": package.id,
        "description": package.name,
        "unit_price_minor": package.price_minor,
        "quantity": line.quantity,
        "tax_rate_basis_points": package.tax_rate_basis_points,
        "tax_minor": tax_included(total_minor, package.tax_rate_basis_points),
        "total_minor": total_minor,
    }


def insert_order(order: Order, lines: Sequence[dict[str, Any]], at: datetime) -> Order:
    """Insert the order; the one that was there first when its key is taken. A number that is taken is drawn again."""
    for _ in range(_NUMBER_TRIES):
        fault("place-before-insert")
        try:
            with db.session.begin_nested():
                db.session.add(order)
                db.session.flush()
                db.session.execute(insert(OrderLine), [{**line, "order_id": order.id} for line in lines])
                _freeze_contents(order)
        except IntegrityError as error:
            winner = find_by_key(order.idempotency_key)
            if winner is not None:
                return winner
            if not _number_is_taken(order.number):
                # A package was deleted between reading the cart and now.
                raise CartNeedsAttention from error
            order.number = new_number(at)
        else:
            return order
    raise RuntimeError("no free order number was found")


def _freeze_contents(order: Order) -> None:
    """Write down what each line unlocks: the package, or what the bundle contains today, and never the bundle."""
    contents = (
        select(OrderLine.id, func.coalesce(BundleChild.package_id, OrderLine.package_id))
        .join(Package, Package.id == OrderLine.package_id)
        .outerjoin(BundleChild, BundleChild.bundle_id == Package.id)
        .where(OrderLine.order_id == order.id, or_(Package.is_bundle.is_(False), BundleChild.id.is_not(None)))
    )
    db.session.execute(insert(OrderLineUnlock).from_select(["order_line_id", "package_id"], contents))


def _number_is_taken(number: str) -> bool:
    return db.session.scalar(select(Order.id).where(Order.number == number)) is not None


def new_number(at: datetime) -> str:
    """ORD-20260121-A3F9: the day in the business's own time zone and four random characters."""
    day = at.astimezone(settings.business_zone())
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(4))
    return f"ORD-{day:%Y%m%d}-{suffix}"


def open_session(order: Order, names: Sequence[str], at: datetime, amount_minor: int | None = None) -> PaymentSession:
    """A payment of that amount, without one of all that is left."""
    asked_minor = order.rest_minor if amount_minor is None else amount_minor
    later_minor = order.rest_minor - asked_minor
    return create_session(
        purpose=PURPOSE,
        subject_id=order.id,
        amount=Money(asked_minor, order.currency),
        # The invoice says what is left to pay after this one.
        details={"rest_minor": later_minor} if later_minor else None,
        description=f"{order.number}: {', '.join(names)}",
        success_url=return_url(order.number),
        cancel_url=cancel_url(order.number),
        customer_email=order.email,
        customer_name=order.name,
        locale=order.locale,
        at=at,
    )
