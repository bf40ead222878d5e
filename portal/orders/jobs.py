"""RQ entry points and outbox handlers of the shop."""

from sqlalchemy import select

from portal.core import clock, outbox, queues
from portal.core.db import db, unit_of_work
from portal.orders.models import Order
from portal.orders.services import cart


@outbox.handles("order.payment_counted")
def take_out_bought(order_id: int) -> None:
    """Empty the cart of what was paid for.

    Not in the settling transaction: that holds locks of many payments, and a cart is locked by whoever changes it.
    Doing it again finds that the order has left its cart.
    """
    with unit_of_work():
        order = db.session.scalars(select(Order).where(Order.id == order_id)).one()
        cart.take_out_bought(order, at=clock.now())


@queues.job
def forget_abandoned_carts() -> None:
    """Delete visitors' carts that nobody came back to, a batch at a time."""
    while True:
        with unit_of_work():
            forgotten = cart.forget_abandoned_carts(at=clock.now())
        if not forgotten:
            return
