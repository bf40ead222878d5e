"""Calling off an order that nobody has paid."""

from datetime import datetime

from sqlalchemy import select

from portal.core import audit
from portal.core.db import db
from portal.core.state import transition
from portal.orders.errors import OrderNotCancellable, OrderNotFound
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.services.placing import PURPOSE
from portal.payments.models import PaymentSession
from portal.payments.services.checking import end_session


def is_cancellable(order: Order) -> bool:
    """Whether the order can still be called off: nothing was paid and nothing delivered."""
    return order.status is OrderStatus.OPEN and order.payment_status is PaymentStatus.PENDING


def cancel_order(number: str, *, by: str, at: datetime) -> Order:
    """Call off an unpaid order and close its payment; money that is faster than the provider is kept for staff.

    Raises OrderNotFound, or OrderNotCancellable when it is paid, delivered or called off already.
    """
    order_id = db.session.scalar(select(Order.id).where(Order.number == number))
    if order_id is None:
        raise OrderNotFound
    # Settling takes the session's lock before the order's; the same order here, or the two could wait for each other.
    sessions = db.session.scalars(
        select(PaymentSession)
        .where(PaymentSession.purpose == PURPOSE, PaymentSession.subject_id == order_id)
        .order_by(PaymentSession.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    order = _locked(order_id)
    if not is_cancellable(order):
        raise OrderNotCancellable
    transition(order, OrderStatus.CANCELLED, by=by, at=at)
    for session in sessions:
        end_session(session, at=at)
    audit.record("order.cancelled", actor=by, subject=f"orders:{order.id}")
    return order


def _locked(order_id: int) -> Order:
    """The order as it is now, held until the transaction ends."""
    return db.session.get_one(Order, order_id, populate_existing=True, with_for_update=True)
