"""How much of a sales order has to be paid, and before what."""

from decimal import ROUND_HALF_UP, Decimal

from sqlalchemy import select

from portal.core import settings
from portal.core.db import db
from portal.core.money import BASIS_POINTS
from portal.orders.models import Order, PaymentStatus
from portal.production.models import SalesOrder

_PERCENT = BASIS_POINTS // 100
_PAID = (PaymentStatus.PARTIAL, PaymentStatus.PAID)


def share_minor(total_minor: int, basis_points: int) -> int:
    """A share of a total in minor units, rounded half up and never nothing."""
    share = Decimal(total_minor) * basis_points / BASIS_POINTS
    return max(int(share.quantize(Decimal(1), rounding=ROUND_HALF_UP)), 1)


def deposit_basis_points(total_minor: int) -> int | None:
    """The share that is asked for as a deposit, in basis points; None when none is offered, or it would be all."""
    basis_points = settings.current().deposit_percent * _PERCENT
    if not basis_points or share_minor(total_minor, basis_points) >= total_minor:
        return None
    return basis_points


def required_minor(sales_order: SalesOrder, order: Order) -> int:
    """What has to be paid before production begins, in minor units."""
    return share_minor(order.total_minor, sales_order.deposit_basis_points)


def held_minor(order: Order) -> int:
    """What was paid and has not gone back, in minor units."""
    return order.paid_minor - order.refunded_minor


def has_share(sales_order: SalesOrder, order: Order) -> bool:
    """Whether enough is paid, and still here, to begin."""
    return order.payment_status in _PAID and held_minor(order) >= required_minor(sales_order, order)


def due_minor(order: Order) -> int:
    """What the next payment of a sales order asks for: its deposit as long as that is not here, then all the rest."""
    sales_order = of_order(order)
    if sales_order is None:
        return order.rest_minor
    missing = required_minor(sales_order, order) - order.paid_minor
    return missing if missing > 0 else order.rest_minor


def of_order(order: Order) -> SalesOrder | None:
    """The sales order of an order, if it is one."""
    return db.session.scalars(select(SalesOrder).where(SalesOrder.order_id == order.id)).one_or_none()
