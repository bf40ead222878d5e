"""Rows under their locks, always in one order: the order, its sales order, then the parcel."""

from portal.core.db import db
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.services import lifecycle
from portal.production.shipping.errors import NotReadyToShip, ParcelNotFound
from portal.production.shipping.queries import OVER


def locked_order(sales_order_id: int) -> SalesOrder:
    """A sales order as it is now, held until the transaction ends."""
    sales_order = db.session.get(SalesOrder, sales_order_id)
    if sales_order is None:
        raise ParcelNotFound
    lifecycle.lock(sales_order)
    return sales_order


def locked_shipment(shipment_id: int) -> tuple[SalesOrder, Shipment]:
    """A parcel and its sales order as they are now, held until the transaction ends."""
    shipment = db.session.get(Shipment, shipment_id)
    if shipment is None:
        raise ParcelNotFound
    sales_order = locked_order(shipment.sales_order_id)
    return sales_order, db.session.get_one(Shipment, shipment_id, populate_existing=True, with_for_update=True)


def find_live(sales_order: SalesOrder) -> Shipment | None:
    """The order's parcel that counts, held; there is one at most."""
    found: Shipment | None = db.session.scalar(
        db.select(Shipment)
        .where(Shipment.sales_order_id == sales_order.id, Shipment.status.not_in(OVER))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return found


def check_packable(sales_order: SalesOrder) -> None:
    """Whether a parcel may be made: at the quality check, or again after one came back. Raises NotReadyToShip."""
    if sales_order.status is SalesOrderStatus.QUALITY_CHECK:
        return
    came_back = db.session.scalar(
        db.select(Shipment.id).where(
            Shipment.sales_order_id == sales_order.id, Shipment.status == ShipmentStatus.RETURNED
        )
    )
    if sales_order.status is not SalesOrderStatus.SHIPPED or came_back is None:
        raise NotReadyToShip
