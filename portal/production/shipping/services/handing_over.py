"""The shipping action: the one way in which a sales order becomes shipped."""

from datetime import datetime, timedelta

from portal.core import audit, mail
from portal.core.faults import fault
from portal.core.state import transition
from portal.production.models import LabelRefund, SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.services import lifecycle
from portal.production.shipping.errors import AlreadyShipped, CarrierIsAsked, NoLabelYet
from portal.production.shipping.services.loading import locked_shipment

# A carrier is asked by itself when its webhooks have said nothing for this long.
TRACK_EVERY = timedelta(hours=6)


def hand_over(shipment_id: int, *, by: str, at: datetime) -> Shipment:
    """Say that the parcel has left, and tell the customer once.

    Raises AlreadyShipped, NoLabelYet, CarrierIsAsked, or what the lifecycle raises when the order may not leave.
    """
    sales_order, shipment = locked_shipment(shipment_id)
    fault("ship-after-look")
    _check(shipment)
    has_left = sales_order.status is SalesOrderStatus.SHIPPED  # Sent again after it came back.
    if not has_left:
        lifecycle.mark_shipped(sales_order, shipment, by=by, at=at)
    values = {"shipped_at": at, "check_at": at + TRACK_EVERY if shipment.tracker_reference else None}
    if shipment.status is ShipmentStatus.READY:
        transition(shipment, ShipmentStatus.IN_TRANSIT, by=by, at=at, values=values)
    else:
        # The carrier's scanner was faster than our click.
        shipment.shipped_at = at
    audit.record(
        "shipment.handed_over",
        actor=by,
        subject=f"shipments:{shipment.id}",
        after={"carrier": shipment.carrier, "tracking_number": shipment.tracking_number},
    )
    _tell(sales_order, shipment)
    if shipment.status is ShipmentStatus.DELIVERED:
        lifecycle.mark_delivered(sales_order, by=f"carrier:{shipment.source}", at=at)
    return shipment


def _check(shipment: Shipment) -> None:
    if shipment.shipped_at is not None:
        raise AlreadyShipped
    if shipment.refund_status is LabelRefund.ASKING or shipment.status is ShipmentStatus.BUYING:
        raise CarrierIsAsked
    if shipment.status not in (ShipmentStatus.READY, ShipmentStatus.IN_TRANSIT, ShipmentStatus.DELIVERED):
        raise NoLabelYet


def _tell(sales_order: SalesOrder, shipment: Shipment) -> None:
    order = sales_order.order
    key = f"shipment:{shipment.id}:shipped"
    mail.send("sales_order_shipped", to=order.email, locale=order.locale, key=key, shipment_id=shipment.id)
