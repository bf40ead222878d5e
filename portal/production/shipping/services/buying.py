"""Buying a label once: the wish is committed, then the carrier is asked, then its answer is recorded.

Silence leaves the parcel in `buying`, where nobody can ask for anything else, until the carrier has said whether the
label exists. An offer has one label at most, so asking again cannot buy a second one.
"""

from datetime import datetime, timedelta

import structlog

from portal.core import audit, outbox
from portal.core.db import unit_of_work
from portal.core.faults import fault
from portal.core.state import transition
from portal.production.models import Shipment, ShipmentStatus
from portal.production.shipping.carriers.base import CarrierRefused, CarrierUnavailable, Label
from portal.production.shipping.errors import CarrierIsAsked, ParcelUnderWay, RateGone
from portal.production.shipping.extension import get_carrier
from portal.production.shipping.services.loading import check_packable, locked_shipment
from portal.production.shipping.services.packing import rates_of

log = structlog.get_logger(__name__)

# A call takes half a minute at most; whoever asks after that meets no call of ours any more.
FIRST_LOOK = timedelta(minutes=1)
_NEXT_LOOK = timedelta(minutes=2)
# By then a carrier that has not bought the label is not about to.
_GIVEN_UP_AFTER = timedelta(minutes=15)


def buy_label(shipment_id: int, rate_reference: str, *, by: str, at: datetime) -> None:
    """Buy the label of a chosen price. Call it outside any transaction; buying what is bought changes nothing.

    Raises NotReadyToShip, RateGone, CarrierIsAsked, NoCarrier, CarrierUnavailable (it is asked again by itself) or
    CarrierRefused (nothing was bought, and another price can be chosen).
    """
    with unit_of_work():
        reference = _begin(shipment_id, rate_reference, by=by, at=at)
    if reference is None:
        return
    fault("buy-before-carrier")
    try:
        label = get_carrier().buy(reference, rate_reference)
    except CarrierUnavailable as error:
        _note_silence(shipment_id, error, at=at)
        raise
    except CarrierRefused as refusal:
        with unit_of_work():
            _give_up(shipment_id, refusal.said, at=at)
        raise
    fault("buy-after-carrier")
    with unit_of_work():
        record_label(shipment_id, label, at=at)


def look_for_label(shipment_id: int, *, at: datetime) -> None:
    """Ask whether a label was bought after all. Call it outside any transaction. Raises CarrierUnavailable."""
    with unit_of_work():
        _sales_order, shipment = locked_shipment(shipment_id)
        if shipment.status is not ShipmentStatus.BUYING or shipment.provider_reference is None:
            return
        reference, since, source = shipment.provider_reference, shipment.asked_at or at, shipment.source
        # Another worker leaves it alone meanwhile, and so does this one if the carrier is still silent.
        shipment.check_at = at + _NEXT_LOOK
    label = get_carrier(source).find_label(reference)
    with unit_of_work():
        if label is not None:
            record_label(shipment_id, label, at=at)
        elif at - since >= _GIVEN_UP_AFTER:
            _give_up(shipment_id, "the carrier has not bought it", at=at)


def record_label(shipment_id: int, label: Label, *, at: datetime) -> None:
    """Keep a label that was bought, whoever learned of it first, in the caller's transaction."""
    sales_order, shipment = locked_shipment(shipment_id)
    if shipment.status not in (ShipmentStatus.BUYING, ShipmentStatus.DRAFT):
        return
    values = {
        "carrier": label.carrier,
        "service": label.service,
        "tracking_number": label.tracking_number,
        "tracking_url": label.tracking_url,
        "tracker_reference": label.tracker_reference,
        "cost_minor": label.cost.amount_minor if label.cost else shipment.cost_minor,
        "cost_currency": label.cost.currency if label.cost else shipment.cost_currency,
        "label_url": label.url,
        "trouble": None,
        "asked_at": None,
        "check_at": None,
    }
    transition(shipment, ShipmentStatus.READY, by=f"carrier:{shipment.source}", at=at, values=values)
    outbox.publish("shipment.label_bought", key=f"label:{shipment.id}", shipment_id=shipment.id)
    audit.record(
        "shipment.label_bought",
        actor=f"carrier:{shipment.source}",
        subject=f"shipments:{shipment.id}",
        after={"order": sales_order.order.number, "tracking_number": label.tracking_number},
    )


def _begin(shipment_id: int, rate_reference: str, *, by: str, at: datetime) -> str | None:
    """Commit to one price; the carrier's name for the offer, or None when the label is there already."""
    sales_order, shipment = locked_shipment(shipment_id)
    if shipment.status is ShipmentStatus.BUYING:
        raise CarrierIsAsked
    if shipment.status is ShipmentStatus.READY and shipment.chosen_rate == rate_reference:
        return None  # A double click, not an error.
    if shipment.status is not ShipmentStatus.DRAFT:
        raise ParcelUnderWay
    check_packable(sales_order)
    get_carrier(shipment.source)
    rate = next((one for one in rates_of(shipment) if one.reference == rate_reference), None)
    if rate is None or shipment.provider_reference is None:
        raise RateGone
    fault("buy-after-look")
    values = {
        "chosen_rate": rate.reference,
        "carrier": rate.carrier,
        "service": rate.service,
        "cost_minor": rate.cost.amount_minor,
        "cost_currency": rate.cost.currency,
        "trouble": None,
        "asked_at": at,
        "check_at": at + FIRST_LOOK,
    }
    transition(shipment, ShipmentStatus.BUYING, by=by, at=at, values=values)
    return shipment.provider_reference


def _note_silence(shipment_id: int, error: CarrierUnavailable, *, at: datetime) -> None:
    """A carrier that says that it is too busy has bought nothing; one that says nothing may have."""
    log.warning("label_unknown", shipment_id=shipment_id, detail=error.detail, is_answered=error.is_answered)
    if error.is_answered:
        with unit_of_work():
            _give_up(shipment_id, error.said, at=at)


def _give_up(shipment_id: int, why: str | None, *, at: datetime) -> None:
    """Nothing was bought: back to choosing a price."""
    _sales_order, shipment = locked_shipment(shipment_id)
    if shipment.status is ShipmentStatus.BUYING:
        values: dict[str, object] = {"trouble": why, "asked_at": None, "check_at": None, **_UNCHOSEN}
        transition(shipment, ShipmentStatus.DRAFT, by=f"carrier:{shipment.source}", at=at, reason=why, values=values)


_UNCHOSEN: dict[str, object] = {
    "chosen_rate": None, "carrier": "", "service": "", "cost_minor": None, "cost_currency": None,
}  # fmt: skip


def is_asked(shipment: Shipment) -> bool:
    """Whether an answer of the carrier is waited for."""
    return shipment.asked_at is not None
