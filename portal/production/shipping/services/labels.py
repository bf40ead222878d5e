"""A bought label: kept as a file of ours, and given back when the parcel does not leave."""

from contextlib import suppress
from datetime import datetime, timedelta

from portal.core import audit, files
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.state import transition
from portal.production.models import LabelRefund, Shipment, ShipmentStatus
from portal.production.shipping.carriers.base import CarrierRefused, RefundAnswer
from portal.production.shipping.errors import CarrierIsAsked, NoLabelYet, ParcelNotFound
from portal.production.shipping.extension import get_carrier
from portal.production.shipping.services.loading import locked_shipment

FIRST_LOOK = timedelta(minutes=1)
_NEXT_LOOK = timedelta(minutes=2)
# Carriers decide on refunds within weeks.
_REFUND_LOOK, _REFUND_WATCHED = timedelta(days=1), timedelta(days=45)
_BECAME = {
    RefundAnswer.SUBMITTED: LabelRefund.SUBMITTED,
    RefundAnswer.REFUNDED: LabelRefund.REFUNDED,
    RefundAnswer.REJECTED: LabelRefund.REJECTED,
}


def store_label(shipment_id: int) -> None:
    """Fetch a bought label and keep it. Call it outside any transaction; doing it again changes nothing.

    Raises CarrierUnavailable, CarrierRefused or NoCarrier.
    """
    shipment = db.session.get_one(Shipment, shipment_id)
    if shipment.label_name is not None or shipment.label_url is None:
        return
    source, url, name = shipment.source, shipment.label_url, f"labels/{shipment.public_id}.pdf"
    stop_reading()
    content = get_carrier(source).fetch_label(url)
    # An earlier try may have got this far; a label never changes.
    with suppress(FileExistsError):
        files.put(name, content)
    with unit_of_work():
        _sales_order, shipment = locked_shipment(shipment_id)
        shipment.label_name = name


def read_label(shipment: Shipment) -> bytes:
    """The stored label as PDF. Raises ParcelNotFound before it is there."""
    if shipment.label_name is None:
        raise ParcelNotFound
    try:
        return files.get(shipment.label_name)
    except FileNotFoundError:
        raise ParcelNotFound from None


def return_label(shipment_id: int, *, by: str, at: datetime) -> None:
    """Give a label back and ask for its money. Call it outside any transaction; a second click finds it done.

    Raises NoLabelYet unless it is bought and unused, CarrierIsAsked, NoCarrier, CarrierUnavailable (it is asked again
    by itself) or CarrierRefused (the carrier keeps the money, and the label stays valid).
    """
    with unit_of_work():
        reference = _begin(shipment_id, by=by, at=at)
    _ask(shipment_id, reference, at=at)


def look_for_refund(shipment_id: int, *, at: datetime) -> None:
    """Ask again for an answer that did not come, or how a refund stands that takes its time.

    Call it outside any transaction. Raises CarrierUnavailable or CarrierRefused.
    """
    with unit_of_work():
        _sales_order, shipment = locked_shipment(shipment_id)
        reference, source, state = shipment.provider_reference, shipment.source, shipment.refund_status
        if reference is None or state not in (LabelRefund.ASKING, LabelRefund.SUBMITTED):
            shipment.check_at = None
            return
        shipment.check_at = _next_look(shipment, at)
    if state is LabelRefund.ASKING:
        _ask(shipment_id, reference, at=at)
        return
    answer = get_carrier(source).find_refund(reference)
    if answer in (RefundAnswer.REFUNDED, RefundAnswer.REJECTED):
        with unit_of_work():
            _record(shipment_id, answer, at=at)


def _next_look(shipment: Shipment, at: datetime) -> datetime | None:
    if shipment.refund_status is LabelRefund.ASKING:
        return at + _NEXT_LOOK
    is_watched = shipment.asked_at is not None and at - shipment.asked_at < _REFUND_WATCHED
    return at + _REFUND_LOOK if is_watched else None


def _begin(shipment_id: int, *, by: str, at: datetime) -> str:
    _sales_order, shipment = locked_shipment(shipment_id)
    if shipment.refund_status is LabelRefund.ASKING:
        raise CarrierIsAsked
    if shipment.status is not ShipmentStatus.READY or shipment.provider_reference is None:
        raise NoLabelYet
    values = {"asked_at": at, "check_at": at + FIRST_LOOK, "trouble": None}
    transition(shipment, LabelRefund.ASKING, by=by, at=at, column="refund_status", values=values)
    audit.record("shipment.refund_asked", actor=by, subject=f"shipments:{shipment.id}")
    return shipment.provider_reference


def _ask(shipment_id: int, reference: str, *, at: datetime) -> None:
    source = db.session.get_one(Shipment, shipment_id).source
    stop_reading()
    try:
        answer = get_carrier(source).refund(reference)
    except CarrierRefused as refusal:
        with unit_of_work():
            _record(shipment_id, RefundAnswer.REJECTED, at=at, why=refusal.said)
        raise
    with unit_of_work():
        _record(shipment_id, answer, at=at)
    if answer is RefundAnswer.REJECTED:
        raise CarrierRefused(reason="refund_rejected")


def _record(shipment_id: int, answer: RefundAnswer, *, at: datetime, why: str | None = None) -> None:
    """Keep what the carrier says: a label whose money is on its way back is not to be used any more."""
    _sales_order, shipment = locked_shipment(shipment_id)
    by, became = f"carrier:{shipment.source}", _BECAME[answer]
    if shipment.refund_status not in (LabelRefund.ASKING, LabelRefund.SUBMITTED) or shipment.refund_status is became:
        return
    is_open = became is LabelRefund.SUBMITTED
    values = {
        "check_at": at + _REFUND_LOOK if is_open else None,
        "asked_at": shipment.asked_at if is_open else None,
        "trouble": why,
    }
    transition(shipment, became, by=by, at=at, reason=why, column="refund_status", values=values)
    is_given_back = became in (LabelRefund.SUBMITTED, LabelRefund.REFUNDED)
    if is_given_back and shipment.status is ShipmentStatus.READY:
        transition(shipment, ShipmentStatus.CANCELLED, by=by, at=at, reason="its label was given back")
