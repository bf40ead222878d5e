"""Asking carriers by itself: for answers that did not come, and about parcels nobody has told us of for long."""

from datetime import datetime, timedelta

import structlog

from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.services.accepting import store_event
from portal.production.models import LabelRefund, ShipmentStatus
from portal.production.shipping.extension import get_carrier
from portal.production.shipping.queries import due_ids
from portal.production.shipping.services.buying import look_for_label
from portal.production.shipping.services.handing_over import TRACK_EVERY
from portal.production.shipping.services.labels import look_for_refund
from portal.production.shipping.services.loading import locked_shipment

log = structlog.get_logger(__name__)

# Carriers forget a parcel after a while, and so do we.
_TRACKED_FOR = timedelta(days=60)
_MOVING = (ShipmentStatus.READY, ShipmentStatus.IN_TRANSIT)


def ask_carriers(*, at: datetime) -> int:
    """Ask about every parcel whose time has come; returns how many. One that fails does not stop the others."""
    ids = due_ids(at=at)
    for shipment_id in ids:
        try:
            ask_about(shipment_id, at=at)
        except PortalError as error:
            log.warning("carrier_not_asked", shipment_id=shipment_id, error=type(error).__name__, detail=str(error))
    return len(ids)


def ask_about(shipment_id: int, *, at: datetime) -> None:
    """Ask a parcel's carrier what is to be asked. Call it outside any transaction.

    Raises CarrierUnavailable, CarrierRefused or NoCarrier.
    """
    with unit_of_work():
        _sales_order, shipment = locked_shipment(shipment_id)
        status, refund = shipment.status, shipment.refund_status
        if refund not in (LabelRefund.ASKING, LabelRefund.SUBMITTED) and status not in (
            *_MOVING,
            ShipmentStatus.BUYING,
        ):
            shipment.check_at = None
            return
    if status is ShipmentStatus.BUYING:
        look_for_label(shipment_id, at=at)
    elif refund in (LabelRefund.ASKING, LabelRefund.SUBMITTED):
        look_for_refund(shipment_id, at=at)
    else:
        look_where(shipment_id, at=at)


def look_where(shipment_id: int, *, at: datetime) -> None:
    """Ask where a parcel is; the answer goes through the inbox like any webhook, so it counts once.

    Call it outside any transaction. Raises CarrierUnavailable, CarrierRefused or NoCarrier.
    """
    with unit_of_work():
        _sales_order, shipment = locked_shipment(shipment_id)
        reference, source = shipment.tracker_reference, shipment.source
        is_old = shipment.shipped_at is not None and at - shipment.shipped_at > _TRACKED_FOR
        if reference is None or shipment.status not in _MOVING or is_old:
            shipment.check_at = None
            return
        shipment.check_at = at + TRACK_EVERY
    track, body = get_carrier(source).track(reference)
    newest = max((scan.happened_at for scan in track.scans), default=None)
    # The same answer has the same key, so that a parcel that stands still fills no inbox.
    seen = f"{track.word}:{len(track.scans)}:{newest.isoformat() if newest else ''}"
    fact = NormalisedEvent(Outcome.NEWS, subject_reference=reference, occurred_at=newest, detail=track.word)
    told = ParsedWebhook(f"poll:{reference}:{seen}"[:255], f"poll.{track.word}"[:128], (fact,))
    store_event(source, told, body.decode("utf-8"), source="poll", at=at)
