"""Reads for the pages about parcels."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import joinedload, selectinload

from portal.core.db import db
from portal.orders.models import Order
from portal.production.models import SalesOrder, Shipment, ShipmentStatus
from portal.production.shipping.errors import ParcelNotFound

OVER = (ShipmentStatus.CANCELLED, ShipmentStatus.RETURNED)
# How many parcels one round asks a carrier about.
_MOST_DUE = 50


def get_sales_order(number: str, *, user_id: int | None = None) -> SalesOrder:
    """A sales order with its parcels and what was said about them, for staff or for its owner.

    Raises ParcelNotFound, for a stranger's as well.
    """
    statement = (
        db.select(SalesOrder)
        .join(SalesOrder.order)
        .where(Order.number == number)
        .options(joinedload(SalesOrder.order), selectinload(SalesOrder.shipments).selectinload(Shipment.events))
    )
    if user_id is not None:
        statement = statement.where(SalesOrder.user_id == user_id)
    found: SalesOrder | None = db.session.scalars(statement).unique().one_or_none()
    if found is None:
        raise ParcelNotFound
    return found


def find_by_key(sales_order_id: int) -> SalesOrder | None:
    """A sales order by the id in a tracking link, with its parcels."""
    found: SalesOrder | None = db.session.scalar(
        db.select(SalesOrder)
        .where(SalesOrder.id == sales_order_id)
        .options(joinedload(SalesOrder.order), selectinload(SalesOrder.shipments).selectinload(Shipment.events))
    )
    return found


def live_shipment(sales_order: SalesOrder) -> Shipment | None:
    """The parcel that counts: there is one at most that is neither cancelled nor returned."""
    return next((one for one in sales_order.shipments if one.status not in OVER), None)


def get_shipment(sales_order: SalesOrder, public_id: str) -> Shipment:
    """A parcel of this order. Raises ParcelNotFound."""
    found = next((one for one in sales_order.shipments if one.public_id == public_id), None)
    if found is None:
        raise ParcelNotFound
    return found


def find_by_tracker(source: str, tracker_reference: str) -> Shipment | None:
    """The parcel a carrier's tracker belongs to."""
    found: Shipment | None = db.session.scalar(
        db.select(Shipment).where(Shipment.source == source, Shipment.tracker_reference == tracker_reference)
    )
    return found


def due_ids(*, at: datetime) -> Sequence[int]:
    """The parcels whose carrier is to be asked something, longest waiting first."""
    return db.session.scalars(
        db.select(Shipment.id).where(Shipment.check_at <= at).order_by(Shipment.check_at).limit(_MOST_DUE)
    ).all()
