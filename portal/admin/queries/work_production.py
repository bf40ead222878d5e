"""The work list's queue about printed parts and their parcels."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, case, exists, func, or_, text
from sqlalchemy.orm import aliased

from portal.admin.queries.work_rows import LIMIT, WorkKind, row
from portal.orders.models import Order
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus

_S = SalesOrderStatus
# A carrier that was asked answers within minutes, or is asked again by itself.
_ANSWERS_WITHIN = timedelta(minutes=15)
_UNSENT = (_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK)


def parts_to_look_at(at: datetime) -> Select[Any]:
    """Orders that somebody has stopped, and those whose promised day is over."""
    return _sales_orders(
        detail=case((SalesOrder.status == _S.ON_HOLD, "on_hold"), else_="promise_over"),
        since=func.coalesce(SalesOrder.promised_at, SalesOrder.created_at),
    ).where(
        or_(
            SalesOrder.status == _S.ON_HOLD,
            and_(SalesOrder.status.in_(_UNSENT), SalesOrder.promised_at < at),
        ),
    )


def parcels_to_look_at(at: datetime) -> Select[Any]:
    """Labels of which nobody knows whether they were bought, and parcels that came back and were not sent again."""
    later = aliased(Shipment)
    sent_again = exists().where(later.sales_order_id == Shipment.sales_order_id, later.id > Shipment.id)
    return (
        _sales_orders(
            detail=case((Shipment.status == ShipmentStatus.BUYING, "label_unknown"), else_="parcel_returned"),
            since=func.coalesce(Shipment.asked_at, Shipment.shipped_at, Shipment.created_at),
        )
        .join(Shipment, Shipment.sales_order_id == SalesOrder.id)
        .where(
            or_(
                and_(Shipment.status == ShipmentStatus.BUYING, Shipment.asked_at < at - _ANSWERS_WITHIN),
                and_(Shipment.status == ShipmentStatus.RETURNED, ~sent_again),
            ),
        )
    )


def _sales_orders(*, detail: Any, since: Any) -> Select[Any]:
    """Rows about orders that are not over, the earliest promise first."""
    return (
        row(
            WorkKind.PRODUCTION,
            id=SalesOrder.id,
            name=Order.number,
            note=Order.name,
            detail=detail,
            amount_minor=Order.total_minor,
            currency=Order.currency,
            since=since,
        )
        .join(Order, Order.id == SalesOrder.order_id)
        # In the words of the partial index ix_sales_orders_board.
        .where(text("sales_orders.status NOT IN ('completed', 'cancelled')"))
        .order_by(SalesOrder.promised_at, SalesOrder.id)
        .limit(LIMIT)
    )
