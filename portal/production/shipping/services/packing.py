"""From a packed box to prices: the parcel is recorded, then the carrier is asked, then its answer is kept."""

import uuid
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from portal.core import audit
from portal.core.db import db, unit_of_work
from portal.core.faults import fault
from portal.core.money import Money
from portal.core.state import transition
from portal.production.models import SalesOrder, Shipment, ShipmentStatus
from portal.production.shipping import customs
from portal.production.shipping.boxes import check_parcel
from portal.production.shipping.carriers import by_hand
from portal.production.shipping.carriers.base import (
    Address,
    Carrier,
    CarrierRefused,
    CarrierUnavailable,
    Customs,
    Parcel,
    Rate,
)
from portal.production.shipping.errors import CarrierIsAsked, ParcelUnderWay
from portal.production.shipping.extension import get_carrier, ship_from
from portal.production.shipping.services.loading import check_packable, find_live, locked_order, locked_shipment


def ask_for_rates(sales_order_id: int, parcel: Parcel, *, by: str, at: datetime) -> None:
    """Record the parcel and fetch its prices. Call it outside any transaction.

    A draft is changed rather than doubled. Raises BadParcel, NotReadyToShip, ParcelUnderWay, CarrierIsAsked, NoCarrier,
    CarrierUnavailable or CarrierRefused; after the last two the parcel is there, without prices and with the reason.
    """
    check_parcel(parcel)
    carrier = get_carrier()
    try:
        with unit_of_work():
            shipment = _draft(locked_order(sales_order_id), carrier, parcel, at=at)
            origin, destination = ship_from(), Address.of(shipment.sales_order.shipping_address)
            papers = customs.papers_for(shipment.sales_order, parcel, origin)
            _note_packed(shipment, papers, by=by)
    except IntegrityError:
        # Somebody else packed the order in this very moment.
        raise ParcelUnderWay from None
    try:
        offer = carrier.offer(parcel, origin, destination, reference=shipment.public_id, customs=papers)
    except (CarrierUnavailable, CarrierRefused) as error:
        with unit_of_work():
            _sales_order, shipment = locked_shipment(shipment.id)
            shipment.trouble = error.said
        raise
    with unit_of_work():
        _sales_order, shipment = locked_shipment(shipment.id)
        # The form was sent twice with different boxes: prices are kept for the box that was entered last.
        if shipment.status is ShipmentStatus.DRAFT and shipment.parcel == asdict(parcel):
            shipment.provider_reference = offer.reference
            shipment.rates = [to_mapping(rate) for rate in offer.rates]
            shipment.trouble = None if offer.rates else "; ".join(offer.remarks) or None


def enter_by_hand(
    sales_order_id: int, carrier: str, tracking_number: str, tracking_url: str, *, by: str, at: datetime
) -> Shipment:
    """Record a parcel that staff take to a carrier themselves; a draft with prices is given up for it.

    Raises BadParcelDetail, NotReadyToShip, ParcelUnderWay or CarrierIsAsked.
    """
    details = by_hand.check_details(carrier, tracking_number, tracking_url)
    sales_order = locked_order(sales_order_id)
    check_packable(sales_order)
    live = find_live(sales_order)
    if live is not None:
        _check_draft(live)
        transition(live, ShipmentStatus.CANCELLED, by=by, at=at, reason="entered by hand instead")
        db.session.flush()
    shipment = Shipment(
        public_id=str(uuid.uuid4()),
        sales_order_id=sales_order.id,
        status=ShipmentStatus.READY,
        source=by_hand.NAME,
        carrier=details.carrier,
        tracking_number=details.tracking_number,
        tracking_url=details.tracking_url,
        created_at=at,
    )
    db.session.add(shipment)
    db.session.flush()
    audit.record("shipment.entered", actor=by, subject=f"shipments:{shipment.id}", after=asdict(details))
    return shipment


def discard_draft(shipment_id: int, *, by: str, at: datetime) -> None:
    """Give up a parcel that has not been paid for: a draft, or one entered by hand that has not left.

    Raises InvalidTransition, or CarrierIsAsked.
    """
    _sales_order, shipment = locked_shipment(shipment_id)
    if shipment.status is ShipmentStatus.BUYING:
        raise CarrierIsAsked
    if shipment.status is ShipmentStatus.READY and shipment.source != by_hand.NAME:
        raise ParcelUnderWay
    transition(shipment, ShipmentStatus.CANCELLED, by=by, at=at, values={"check_at": None})


def to_mapping(rate: Rate) -> dict[str, Any]:
    """A price as the parcel's row keeps it."""
    return {
        "reference": rate.reference,
        "carrier": rate.carrier,
        "service": rate.service,
        "cost_minor": rate.cost.amount_minor,
        "currency": rate.cost.currency,
        "days": rate.days,
    }


def rates_of(shipment: Shipment) -> list[Rate]:
    """The prices of a parcel, cheapest first."""
    return [
        Rate(
            reference=row["reference"],
            carrier=row["carrier"],
            service=row["service"],
            cost=Money(row["cost_minor"], row["currency"]),
            days=row["days"],
        )
        for row in shipment.rates
    ]


def _draft(sales_order: SalesOrder, carrier: Carrier, parcel: Parcel, *, at: datetime) -> Shipment:
    check_packable(sales_order)
    shipment = find_live(sales_order)
    fault("parcel-after-look")
    if shipment is None:
        shipment = Shipment(
            public_id=str(uuid.uuid4()), sales_order_id=sales_order.id, status=ShipmentStatus.DRAFT,
            source=carrier.name, created_at=at,
        )  # fmt: skip
        db.session.add(shipment)
    else:
        _check_draft(shipment)
    # Prices of another box would be wrong for this one.
    shipment.parcel, shipment.rates, shipment.trouble = asdict(parcel), [], None
    db.session.flush()
    return shipment


def _note_packed(shipment: Shipment, papers: Customs | None, *, by: str) -> None:
    """Keep in the audit log what was packed, and what was declared of it."""
    declared = {"customs": asdict(papers)} if papers is not None else {}
    audit.record("shipment.packed", actor=by, subject=f"shipments:{shipment.id}", after={**shipment.parcel, **declared})


def _check_draft(shipment: Shipment) -> None:
    if shipment.status is ShipmentStatus.BUYING:
        raise CarrierIsAsked
    if shipment.status is not ShipmentStatus.DRAFT:
        raise ParcelUnderWay
