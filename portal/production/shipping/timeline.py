"""What the carrier said about an order's parcels, as steps of its timeline."""

from collections.abc import Iterator

from portal.core.status_labels import status_label
from portal.orders.tracking import Step
from portal.production.models import SalesOrder, ShipmentEvent, ShipmentStatus
from portal.production.shipping.carriers.base import ParcelState

# What a customer need not read twice: "shipped" and "delivered" are steps of the order itself.
_NOT_TOLD = {ParcelState.UNKNOWN, ParcelState.TROUBLE, ParcelState.CALLED_OFF}
_BAD = {ParcelState.RETURNED, ParcelState.FAILED}
# Where these happen is, or is next to, the customer's own address.
_AT_THE_DOOR = {ParcelState.OUT_FOR_DELIVERY, ParcelState.DELIVERED, ParcelState.AT_PICKUP_POINT, ParcelState.FAILED}


def parcel_steps(sales_order: SalesOrder, *, is_public: bool) -> Iterator[Step]:
    """Every scan of every parcel that has left, oldest first.

    `is_public`: without the carrier's own words, which may name people, and without places near the customer's door.
    """
    for shipment in sales_order.shipments:
        if shipment.shipped_at is None or shipment.status is ShipmentStatus.CANCELLED:
            continue
        for event in shipment.events:
            if ParcelState(event.status) not in _NOT_TOLD:
                yield _step(event, is_public=is_public)


def _step(event: ShipmentEvent, *, is_public: bool) -> Step:
    state = ParcelState(event.status)
    hides_place = is_public and state in _AT_THE_DOOR
    parts = ("" if is_public else event.message, "" if hides_place else event.place)
    note = " · ".join(part for part in parts if part)
    label = status_label(state, "parcel")
    return Step(label, "failed" if state in _BAD else "done", event.happened_at, note or None)
