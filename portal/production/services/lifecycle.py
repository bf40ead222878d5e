"""A sales order's way from pending to completed: one function for each arrow of its table.

Each takes the order's row and then the sales order's, so that what is decided here sees the payments that were counted
before, and of two people at once the second finds what the first has done. All of them raise InvalidTransition when
there is no such arrow from where the order stands by then. `by` is who acts: an address, a job or an event.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from portal.core import audit, settings
from portal.core.db import db
from portal.core.state import InvalidTransition, transition
from portal.orders.models import Order, PaymentStatus
from portal.orders.services import fulfilling
from portal.payments.models import PaymentSession
from portal.production.errors import NotPaidEnough, NotPaidInFull, ReasonMissing
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment
from portal.production.services import telling
from portal.production.services.amounts import has_share, of_order

_S = SalesOrderStatus
_LONGEST_REASON = 500
HOLDABLE = (_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK)


def confirm_order(sales_order: SalesOrder, *, by: str, at: datetime) -> None:
    """Say that the order will be made, by hand: also before anything is paid. pending -> confirmed."""
    lock(sales_order)
    _move(sales_order, _S.CONFIRMED, since=(_S.PENDING,), by=by, at=at, confirmed_at=at)
    telling.moved(sales_order, "confirmed")


def money_counted(order: Order, session: PaymentSession, *, by: str, at: datetime) -> None:
    """Money of a sales order was counted: tell the customer, and confirm the order when its share is here.

    Runs in the settling transaction, which holds the order. Money for an order that was called off changes nothing
    here; staff see it among the cancelled orders that were paid.
    """
    sales_order = of_order(order)
    if sales_order is None:
        return
    lock_row(sales_order)
    telling.paid(sales_order, session)
    _confirm_if_paid(sales_order, order, by=by, at=at)


def _confirm_if_paid(sales_order: SalesOrder, order: Order, *, by: str, at: datetime) -> None:
    """The price was agreed on and its share is here: nothing is left for a person to decide."""
    if sales_order.status is _S.PENDING and has_share(sales_order, order):
        _move(sales_order, _S.CONFIRMED, since=(_S.PENDING,), by=by, at=at, confirmed_at=at)


def start_production(sales_order: SalesOrder, *, by: str, at: datetime) -> None:
    """Begin to make the parts. confirmed -> in_production. Raises NotPaidEnough before its share is paid."""
    order = lock(sales_order)
    _check(sales_order, _S.IN_PRODUCTION, (_S.CONFIRMED,))
    if not has_share(sales_order, order):
        raise NotPaidEnough
    _move(sales_order, _S.IN_PRODUCTION, since=(_S.CONFIRMED,), by=by, at=at, production_started_at=at)
    telling.moved(sales_order, "in_production")


def finish_printing(sales_order: SalesOrder, *, by: str, at: datetime) -> None:
    """The parts are made and are looked at. in_production -> quality_check."""
    lock(sales_order)
    _move(sales_order, _S.QUALITY_CHECK, since=(_S.IN_PRODUCTION,), by=by, at=at)


def rework(sales_order: SalesOrder, *, reason: str, by: str, at: datetime) -> None:
    """The parts are not good enough and are made again. quality_check -> in_production. Raises ReasonMissing."""
    why = checked_reason(reason)
    lock(sales_order)
    _move(sales_order, _S.IN_PRODUCTION, since=(_S.QUALITY_CHECK,), by=by, at=at, reason=why)


def hold(sales_order: SalesOrder, *, reason: str, by: str, at: datetime) -> None:
    """Stop for a reason; nothing is made until the order is resumed. Raises ReasonMissing."""
    why = checked_reason(reason)
    lock(sales_order)
    _move(sales_order, _S.ON_HOLD, since=HOLDABLE, by=by, at=at, reason=why, held_from=sales_order.status.value)


def resume(sales_order: SalesOrder, *, by: str, at: datetime) -> None:
    """Go on where the order was stopped. If its share was paid meanwhile, it is confirmed as well."""
    order = lock(sales_order)
    if sales_order.status is not _S.ON_HOLD or sales_order.held_from is None:
        raise InvalidTransition(sales_order, _S(sales_order.held_from or _S.PENDING))
    _move(sales_order, _S(sales_order.held_from), since=(_S.ON_HOLD,), by=by, at=at, held_from=None)
    _confirm_if_paid(sales_order, order, by=by, at=at)


def mark_shipped(sales_order: SalesOrder, shipment: Shipment, *, by: str, at: datetime) -> None:
    """The parcel has left. quality_check -> shipped. Called by the shipping action alone, which says what was sent and
    tells the customer. Raises NotPaidInFull."""
    order = lock(sales_order)
    _check(sales_order, _S.SHIPPED, (_S.QUALITY_CHECK,))
    if order.payment_status is not PaymentStatus.PAID:
        raise NotPaidInFull
    if shipment.sales_order_id != sales_order.id:
        raise ValueError(f"shipment {shipment.id} is not of sales order {sales_order.id}")
    _move(sales_order, _S.SHIPPED, since=(_S.QUALITY_CHECK,), by=by, at=at, shipped_at=at)


def mark_delivered(sales_order: SalesOrder, *, by: str, at: datetime) -> None:
    """The parcel has arrived. shipped -> delivered, and the order is fulfilled.

    Carriers repeat themselves, and staff may have been faster: an order that is delivered already stays as it is.
    """
    lock(sales_order)
    if sales_order.status in (_S.DELIVERED, _S.COMPLETED):
        return
    _move(sales_order, _S.DELIVERED, since=(_S.SHIPPED,), by=by, at=at, delivered_at=at)
    fulfilling.mark_fulfilled(sales_order.order_id, by=by, at=at)
    telling.moved(sales_order, "delivered")


def complete(sales_order: SalesOrder, *, by: str, at: datetime) -> None:
    """Nothing is left to do. delivered -> completed; the date is the day where the business is."""
    lock(sales_order)
    day = at.astimezone(settings.business_zone()).date()
    _move(sales_order, _S.COMPLETED, since=(_S.DELIVERED,), by=by, at=at, actual_completion_date=day)


def note_cancelled(sales_order: SalesOrder, *, reason: str, by: str, at: datetime) -> None:
    """Stop for good. Called by `cancelling` alone, which holds the rows and sees to the money."""
    since = (_S.PENDING, _S.CONFIRMED, _S.ON_HOLD)
    _move(sales_order, _S.CANCELLED, since=since, by=by, at=at, reason=reason, cancelled_at=at, held_from=None)
    telling.moved(sales_order, "cancelled")


def lock(sales_order: SalesOrder) -> Order:
    """The order and the sales order as they are now, held until the transaction ends; returns the order.

    In this order, which is that of settling a payment as well: two that want both never wait for each other.
    """
    order = db.session.get_one(Order, sales_order.order_id, populate_existing=True, with_for_update=True)
    lock_row(sales_order)
    return order


def lock_row(sales_order: SalesOrder) -> None:
    """The sales order as it is now, held. Whoever calls holds the order."""
    db.session.get_one(SalesOrder, sales_order.id, populate_existing=True, with_for_update=True)


def checked_reason(reason: str) -> str:
    """A reason that says something. Raises ReasonMissing."""
    text = " ".join(reason.split())[:_LONGEST_REASON]
    if len(text) < 3:
        raise ReasonMissing(field="reason")
    return text


def _check(sales_order: SalesOrder, to: SalesOrderStatus, since: Collection[SalesOrderStatus]) -> None:
    """Refuse an arrow that the table has for something else: what is on hold is resumed, and not confirmed anew."""
    if sales_order.status not in since:
        raise InvalidTransition(sales_order, to)


def _move(
    sales_order: SalesOrder,
    to: SalesOrderStatus,
    *,
    since: Collection[SalesOrderStatus],
    by: str,
    at: datetime,
    reason: str | None = None,
    **values: Any,
) -> None:
    _check(sales_order, to, since)
    was = sales_order.status
    transition(sales_order, to, by=by, at=at, reason=reason, values=values)
    audit.record(
        f"sales_order.{to.value}",
        actor=by,
        subject=f"sales_orders:{sales_order.id}",
        before={"status": was},
        after={"status": to},
        detail=reason,
    )
