"""What must be true of sales orders, beside what is true of every order."""

from collections.abc import Sequence

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, exists, func, select

from portal.core.db import db
from portal.core.invariants import LIMIT, Breach, Reach, invariant
from portal.core.money import Money
from portal.orders.models import LineKind, Order, OrderLine, OrderStatus, PaymentStatus
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.quotes.models import Quote

_S = SalesOrderStatus


def _newest(reach: Reach) -> ColumnElement[bool]:
    newest = select(SalesOrder.id).order_by(SalesOrder.id.desc()).limit(reach.rows).subquery()
    return SalesOrder.id >= (db.session.scalar(select(func.min(newest.c.id))) or 0)


def _sales_orders(*where: ColumnElement[bool]) -> list[Breach]:
    found = db.session.execute(
        select(SalesOrder, Order)
        .join(Order, Order.id == SalesOrder.order_id)
        .where(*where)
        .order_by(SalesOrder.id)
        .limit(LIMIT)
    )
    return [
        Breach(f"sales_orders:{one.id}", order.number, order.email, order.total, one.created_at, reference=order.number)
        for one, order in found
    ]


@invariant(
    "shipped_without_payment",
    title=_l("Sent without payment"),
    advice=_l("The parts have left and are not paid in full, or their money went back. Ask the customer for it."),
)
def shipped_without_payment(reach: Reach) -> Sequence[Breach]:
    """Parts leave when they are paid. Money that went back later is a matter of its own, unless all of it did."""
    return _sales_orders(
        _newest(reach),
        SalesOrder.status.in_([_S.SHIPPED, _S.DELIVERED, _S.COMPLETED]),
        Order.paid_minor < Order.total_minor,
    )


@invariant(
    "made_without_payment",
    title=_l("Made without payment"),
    advice=_l("Production has begun and nothing is paid, or all of it went back. Put the order on hold."),
)
def made_without_payment(reach: Reach) -> Sequence[Breach]:
    """Production begins when something is paid, and goes on while something is."""
    return _sales_orders(
        _newest(reach),
        SalesOrder.status.in_([_S.IN_PRODUCTION, _S.QUALITY_CHECK]),
        Order.payment_status.in_([PaymentStatus.PENDING, PaymentStatus.REFUNDED]),
    )


@invariant(
    "sales_order_and_order_differ",
    title=_l("Order and production disagree"),
    advice=_l("One says that it is cancelled or delivered and the other does not. Look at both histories."),
)
def sales_order_and_order_differ(reach: Reach) -> Sequence[Breach]:
    """An order is cancelled together with its sales order, and fulfilled when that is delivered."""
    is_cancelled = SalesOrder.status == _S.CANCELLED
    is_there = SalesOrder.status.in_([_S.DELIVERED, _S.COMPLETED])
    return _sales_orders(
        _newest(reach),
        (is_cancelled != (Order.status == OrderStatus.CANCELLED))
        | (is_there != (Order.status == OrderStatus.FULFILLED)),
    )


@invariant(
    "parts_without_sales_order",
    title=_l("Ordered parts that nobody makes"),
    advice=_l("An order of printed parts has no sales order, so it is on no board."),
)
def parts_without_sales_order(reach: Reach) -> Sequence[Breach]:
    """Order and sales order are made in one transaction."""
    newest = select(Order.id).order_by(Order.id.desc()).limit(reach.rows).subquery()
    first = db.session.scalar(select(func.min(newest.c.id))) or 0
    found = db.session.scalars(
        select(Order)
        .where(
            Order.id >= first,
            exists().where(OrderLine.order_id == Order.id, OrderLine.kind == LineKind.PRINT),
            ~exists().where(SalesOrder.order_id == Order.id),
        )
        .order_by(Order.id)
        .limit(LIMIT)
    )
    return [
        Breach(f"orders:{one.id}", one.number, one.email, one.total, one.placed_at, reference=one.number)
        for one in found
    ]


@invariant(
    "converted_without_order",
    title=_l("Ordered quotes without an order"),
    advice=_l("The quote says that it was ordered, and there is no order of it. The customer waits for nothing."),
)
def converted_without_order(reach: Reach) -> Sequence[Breach]:
    """A quote is stamped in the transaction that makes its order."""
    newest = select(Quote.id).order_by(Quote.id.desc()).limit(reach.rows).subquery()
    first = db.session.scalar(select(func.min(newest.c.id))) or 0
    found = db.session.scalars(
        select(Quote)
        .where(Quote.id >= first, Quote.converted_at.is_not(None), ~exists().where(SalesOrder.quote_id == Quote.id))
        .order_by(Quote.id)
        .limit(LIMIT)
    )
    return [
        Breach(
            f"quotes:{one.id}", one.number or "", "", Money(one.total_minor, one.currency), one.converted_at,
            reference=one.number or "",
        )
        for one in found
    ]  # fmt: skip
