"""Calling off an order that nobody has paid."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import select

from portal.core import audit
from portal.core.db import db
from portal.core.state import transition
from portal.orders import hooks
from portal.orders.errors import OrderNotCancellable, OrderNotFound
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.services.placing import PURPOSE
from portal.payments.models import PaymentSession
from portal.payments.services.checking import end_session


def is_cancellable(order: Order) -> bool:
    """Whether the order can still be called off here: nothing was paid and nothing delivered, and nobody is making
    it."""
    is_open = order.status is OrderStatus.OPEN and order.payment_status is PaymentStatus.PENDING
    return is_open and hooks.maker_of(order) is None


def cancel_order(number: str, *, by: str, at: datetime) -> Order:
    """Call off an unpaid order and close its payment; money that is faster than the provider is kept for staff.

    Raises OrderNotFound, or OrderNotCancellable when it is paid, delivered or called off already.
    """
    order_id = db.session.scalar(select(Order.id).where(Order.number == number))
    if order_id is None:
        raise OrderNotFound
    sessions, order = lock_with_payments(order_id)
    if not is_cancellable(order):
        raise OrderNotCancellable
    call_off(order, sessions, by=by, at=at)
    return order


def lock_with_payments(order_id: int) -> tuple[list[PaymentSession], Order]:
    """An order and its payments as they are now, held until the transaction ends.

    Settling takes the session's lock before the order's; the same order here, or the two could wait for each other.
    """
    sessions = db.session.scalars(
        select(PaymentSession)
        .where(PaymentSession.purpose == PURPOSE, PaymentSession.subject_id == order_id)
        .order_by(PaymentSession.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    return list(sessions), _locked(order_id)


def call_off(order: Order, sessions: Iterable[PaymentSession], *, by: str, at: datetime) -> None:
    """Call an order off under its locks and close its payments. What was paid is not given back by this.

    Raises OrderNotCancellable when it is delivered or called off already.
    """
    if order.status is not OrderStatus.OPEN:
        raise OrderNotCancellable
    transition(order, OrderStatus.CANCELLED, by=by, at=at)
    for session in sessions:
        end_session(session, at=at)
    audit.record("order.cancelled", actor=by, subject=f"orders:{order.id}")


def _locked(order_id: int) -> Order:
    """The order as it is now, held until the transaction ends."""
    return db.session.get_one(Order, order_id, populate_existing=True, with_for_update=True)
