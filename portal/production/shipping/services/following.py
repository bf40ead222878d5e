"""What a carrier says about a parcel on its way: each scan once, and what follows from all of them together.

Webhooks come twice, late and in any order, and each tells the whole story so far. So nothing follows from a single
message: the scans are a set, and the state is what the set says, whichever came first.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, func

from portal.core.db import db, read_alone
from portal.core.state import transition
from portal.orders.models import Order
from portal.payments.listening import Subject
from portal.payments.models import EventStatus, ProviderEvent
from portal.payments.providers.base import NormalisedEvent
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentEvent, ShipmentStatus
from portal.production.services import lifecycle
from portal.production.shipping.carriers.base import Carrier, ParcelState, Scan, Track
from portal.production.shipping.queries import find_by_tracker
from portal.production.shipping.services.handing_over import TRACK_EVERY
from portal.production.shipping.services.loading import find_live, locked_shipment

MOVING = frozenset({ParcelState.MOVING, ParcelState.OUT_FOR_DELIVERY, ParcelState.AT_PICKUP_POINT, ParcelState.FAILED})
_S = ShipmentStatus


class ParcelNews:
    """The listener for a carrier's webhooks: see portal/payments/listening.py."""

    def __init__(self, carrier: Carrier) -> None:
        self.name = carrier.name
        self.title = carrier.title
        self.parse_webhook = carrier.parse_webhook
        self.reread = carrier.reread
        self.sample_headers = carrier.sample_headers
        self._carrier = carrier

    def standing_of(self, reference: str) -> Subject | None:
        """Whether a parcel of ours has this tracker; one that was called off is not expected to move any more."""
        # An aggregate has one row, whether there is a parcel or not.
        found = db.select(func.count(), func.max(Shipment.status)).where(*self._is_tracked_by([reference]))
        count, status = read_alone(found)
        if not count:
            return None
        return Subject.OVER if status == _S.CANCELLED else Subject.OPEN

    def known_among(self, references: Sequence[str]) -> Collection[str]:
        """The trackers among these that belong to parcels of ours."""
        found = db.select(Shipment.tracker_reference).where(*self._is_tracked_by(references))
        return {reference for reference in db.session.scalars(found) if reference is not None}

    def lock(self, references: Sequence[str]) -> None:
        """Orders, then sales orders, then parcels, each by id."""
        if not references:
            return
        found = db.session.execute(
            db.select(Shipment.id, SalesOrder.id, SalesOrder.order_id)
            .join(SalesOrder, SalesOrder.id == Shipment.sales_order_id)
            .where(*self._is_tracked_by(references))
        ).all()
        for table, column in ((Order, 2), (SalesOrder, 1), (Shipment, 0)):
            ids = {row[column] for row in found}
            db.session.scalars(
                db.select(table)
                .where(table.id.in_(ids))
                .order_by(table.id)
                .with_for_update()
                .execution_options(populate_existing=True)
            ).all()

    def _is_tracked_by(self, references: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
        return Shipment.source == self.name, Shipment.tracker_reference.in_(references)

    def apply(self, event: ProviderEvent, fact: NormalisedEvent, *, at: datetime) -> tuple[EventStatus, str]:
        """Keep what is new in an event, in the caller's transaction."""
        track = self._carrier.read_track(event.body.encode("utf-8", "replace"))
        shipment = find_by_tracker(self.name, fact.subject_reference or "")
        if shipment is None or track is None:
            return EventStatus.UNMATCHED, f"no parcel has the tracker {fact.subject_reference}"
        if track.is_test not in (None, self._carrier.is_test):
            return EventStatus.CONFLICT, "of test mode, or of real mode, where ours is the other"
        status, verdict = note_track(shipment.id, track, by=f"event:{event.id}", at=at)
        if not track.is_understood:
            return EventStatus.CONFLICT, f"says {track.word!r}, which is new to us; {verdict}"
        return status, verdict


def note_track(shipment_id: int, track: Track, *, by: str, at: datetime) -> tuple[EventStatus, str]:
    """Keep the scans that are new, and move the parcel and its order as far as all scans say.

    In the caller's transaction. Returns what became of it and why, for the inbox.
    """
    sales_order, shipment = locked_shipment(shipment_id)
    fresh = _keep_scans(shipment, track.scans)
    events = _events_of(shipment)
    _keep_rest(shipment, track, events, at)
    if shipment.status is _S.CANCELLED:
        moves = any(_state_of(event) in MOVING or _state_of(event) is ParcelState.DELIVERED for event in events)
        if fresh and moves:
            return EventStatus.CONFLICT, "this label was given back, but its parcel moves"
        return EventStatus.IGNORED, "this label was given back"
    target = _target(events)
    if target is not None and _may_move(sales_order, shipment, target):
        _move(sales_order, shipment, target, _time_of(events, target, at), by=by, at=at)
        return EventStatus.APPLIED, f"the parcel is {target.value}"
    if not fresh:
        return EventStatus.DUPLICATE, "everything in it was known"
    return EventStatus.APPLIED, f"{len(fresh)} new; the parcel stays {shipment.status.value}"


def _keep_scans(shipment: Shipment, scans: Iterable[Scan]) -> list[Scan]:
    known = set(db.session.scalars(db.select(ShipmentEvent.key).where(ShipmentEvent.shipment_id == shipment.id)))
    fresh = list({scan.key: scan for scan in scans if scan.key not in known}.values())
    db.session.add_all(
        ShipmentEvent(
            shipment_id=shipment.id,
            key=scan.key,
            status=scan.state.value,
            message=scan.message,
            place=scan.place,
            happened_at=scan.happened_at,
        )
        for scan in fresh
    )
    db.session.flush()
    return fresh


def _events_of(shipment: Shipment) -> Sequence[ShipmentEvent]:
    return db.session.scalars(
        db.select(ShipmentEvent)
        .where(ShipmentEvent.shipment_id == shipment.id)
        .order_by(ShipmentEvent.happened_at, ShipmentEvent.id)
    ).all()


def _keep_rest(shipment: Shipment, track: Track, events: Sequence[ShipmentEvent], at: datetime) -> None:
    newest = events[-1] if events else None
    shipment.carrier_state = newest.status if newest is not None else track.state.value
    shipment.expected_at = track.expected_at or shipment.expected_at
    if track.tracking_url and track.tracking_url.startswith("https://"):
        shipment.tracking_url = track.tracking_url
    if shipment.shipped_at is not None and shipment.status in (_S.READY, _S.IN_TRANSIT):
        shipment.check_at = at + TRACK_EVERY


def _state_of(event: ShipmentEvent) -> ParcelState:
    return ParcelState(event.status)


def _target(events: Sequence[ShipmentEvent]) -> ShipmentStatus | None:
    """Where all scans together put the parcel. One that was sent back arrives at our door, not at the customer's, so
    whatever comes first in time of "delivered" and "returned" is the end."""
    for event in events:
        if _state_of(event) is ParcelState.DELIVERED:
            return _S.DELIVERED
        if _state_of(event) is ParcelState.RETURNED:
            return _S.RETURNED
    return _S.IN_TRANSIT if any(_state_of(event) in MOVING for event in events) else None


def _may_move(sales_order: SalesOrder, shipment: Shipment, target: ShipmentStatus) -> bool:
    if target is shipment.status or target not in Shipment.MACHINES["status"].get(shipment.status, frozenset()):
        return False
    if shipment.status is not _S.RETURNED:
        return True
    # It came back and another parcel was sent; only one of an order's parcels counts.
    return find_live(sales_order) is None


def _time_of(events: Sequence[ShipmentEvent], target: ShipmentStatus, at: datetime) -> datetime:
    """When the carrier says it arrived; our own clock, should the carrier's be ahead."""
    times = [
        event.happened_at for event in events if target is _S.DELIVERED and _state_of(event) is ParcelState.DELIVERED
    ]
    return min([*times, at])


def _move(
    sales_order: SalesOrder, shipment: Shipment, target: ShipmentStatus, happened_at: datetime, *, by: str, at: datetime
) -> None:
    values: dict[str, object] = {}
    if target is _S.DELIVERED:
        values["delivered_at"] = happened_at
    if target in (_S.DELIVERED, _S.RETURNED):
        values["check_at"] = None
    transition(shipment, target, by=by, at=at, values=values)
    # An order at the quality check waits for the shipping action, however far its parcel has come.
    if target is _S.DELIVERED and sales_order.status is SalesOrderStatus.SHIPPED:
        lifecycle.mark_delivered(sales_order, by=by, at=at)
