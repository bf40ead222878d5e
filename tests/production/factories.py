"""Rows of the parts domain for tests: accepted quotes, and sales orders that came to a state by the services."""

import io
import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Flask
from PIL import Image
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, files
from portal.core.db import db, unit_of_work
from portal.core.state import transition
from portal.orders.models import Order
from portal.orders.services.placing import session_to_pay
from portal.payments.models import PaymentSession
from portal.payments.services.starting import start_attempt
from portal.production.models import ProductionPhoto, SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.services import cancelling, lifecycle
from portal.production.services.converting import convert_quote
from portal.quotes.models import ModelFile, ModelFileStatus, Quote, QuoteItem, QuoteStatus
from tests import sandbox

_numbers = itertools.count(1)
BY = "staff@example.com"
ADDRESS = {
    "name": "Alice Nowak", "company": "", "line1": "ul. Prosta 1", "line2": "m. 2", "city": "Warszawa", "state": "",
    "zip": "00-850", "country": "PL", "phone": "+48600100200", "email": "alice@example.com",
}  # fmt: skip
_S = SalesOrderStatus


@dataclass(frozen=True)
class Item:
    """A part of a quote; without a unit price nobody could compute one."""

    name: str = "bracket.stl"
    quantity: int = 2
    unit_minor: int | None = 2500


def make_model_file(user: User, name: str = "bracket.stl") -> ModelFile:
    """A measured model."""
    at = clock.now()
    public_id = str(uuid.uuid4())
    file = ModelFile(
        public_id=public_id, user_id=user.id, name=name, format=name[-3:].lower(), size_bytes=684,
        sha256=uuid.uuid4().hex * 2, storage_name=f"models/{public_id}", status=ModelFileStatus.UPLOADED,
        outcome="accept", measures={"volume_mm3": 8000.0, "bbox_mm": [20, 20, 20]}, uploaded_at=at,
    )  # fmt: skip
    return keep(file, (ModelFileStatus.MEASURED, {"measured_at": at}))


def make_quote(
    user: User,
    *items: Item,
    charges: Sequence[tuple[str, int]] = (("setup", 1000),),
    total_minor: int | None = None,
    status: QuoteStatus = QuoteStatus.ACCEPTED,
    expires_at: datetime | None = None,
    at: datetime | None = None,
    **values: Any,
) -> Quote:
    """An accepted quote; two brackets and a set-up, 60.00 together, unless told otherwise. `total_minor` is what staff
    have set instead."""
    at = at or clock.now()
    items = items or (Item(),)
    computed = sum((item.unit_minor or 0) * item.quantity for item in items) + sum(amount for _code, amount in charges)
    rows = [
        QuoteItem(
            position=place, model_file_id=make_model_file(user, item.name).id, material="PETG", colour="black",
            finish="standard", infill_percent=20, quantity=item.quantity, unit_price_minor=item.unit_minor,
            total_minor=item.unit_minor * item.quantity if item.unit_minor is not None else None,
        )
        for place, item in enumerate(items, start=1)
    ]  # fmt: skip
    pricing = {
        "tax_rate_basis_points": values.pop("tax_rate_basis_points", 2300), "hours": values.pop("hours", "3.5"),
        "charges": [{"code": code, "values": {}, "amount_minor": amount} for code, amount in charges], "lines": [],
    }  # fmt: skip
    defaults = {
        "locale": user.locale, "currency": "PLN", "rush": "standard", "promised_at": at + timedelta(days=5),
        "expires_at": expires_at or at + timedelta(days=30),
        "override_reason": None if total_minor is None else "Agreed on the telephone",
    }  # fmt: skip
    quote = Quote(
        number=f"Q-2026-{next(_numbers):04d}", user_id=user.id, status=QuoteStatus.DRAFT, pricing=pricing,
        computed_total_minor=computed, total_minor=computed if total_minor is None else total_minor,
        created_at=at, updated_at=at, submitted_at=at, items=rows, **{**defaults, **values},
    )  # fmt: skip
    ways: dict[QuoteStatus, list[Any]] = {
        QuoteStatus.DRAFT: [],
        QuoteStatus.REJECTED: [(QuoteStatus.PENDING, {}), (QuoteStatus.REJECTED, {})],
        QuoteStatus.ACCEPTED: [(QuoteStatus.ACCEPTED, {"accepted_at": at})],
    }
    return keep(quote, *ways.get(status, [(status, {})]))


def make_sales_order(
    user: User,
    *items: Item,
    status: SalesOrderStatus = _S.PENDING,
    pays_deposit: bool = False,
    app: Flask | None = None,
    paid: int = 0,
    at: datetime | None = None,
    **quote: Any,
) -> SalesOrder:
    """A sales order in a state, brought there by the services. `paid` is how many of its payments came, which needs
    the `app`; what cannot be reached without money is paid for as far as it must be."""
    at = at or clock.now()
    number = make_quote(user, *items, at=at, **quote).number
    assert number is not None
    with unit_of_work():
        made = convert_quote(number, user=user, address=ADDRESS, pays_deposit=pays_deposit, at=at)
    for _payment in range(paid):
        assert app is not None
        pay_next(app, made)
    bring_to(made, status, at=at)
    return reloaded(made)


def bring_to(sales_order: SalesOrder, status: SalesOrderStatus, *, at: datetime | None = None) -> None:
    """Walk a sales order along its arrows. Its money is taken for granted: paying is not what these tests are about."""
    at = at or clock.now()
    if status in (_S.ON_HOLD, _S.CANCELLED):
        with unit_of_work():
            if status is _S.ON_HOLD:
                lifecycle.hold(sales_order, reason="Waiting for filament", by=BY, at=at)
            else:
                cancelling.cancel(sales_order, reason="Changed my mind", by=BY, at=at, may_give_back=True)
        return
    way = [_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.SHIPPED, _S.DELIVERED, _S.COMPLETED]
    for step in way[way.index(reloaded(sales_order).status) + 1 : way.index(status) + 1]:
        with unit_of_work():
            _STEPS[step](sales_order, at)


def ship(sales_order: SalesOrder, at: datetime) -> None:
    """Hand a parcel over, in the caller's unit of work."""
    shipment = db.session.scalar(select(Shipment).where(Shipment.sales_order_id == sales_order.id)) or Shipment(
        public_id=str(uuid.uuid4()), sales_order_id=sales_order.id, status=ShipmentStatus.DRAFT, source="by_hand",
        created_at=at,
    )  # fmt: skip
    db.session.add(shipment)
    db.session.flush()
    if shipment.status is ShipmentStatus.DRAFT:
        transition(shipment, ShipmentStatus.READY, by=BY, at=at)
    lifecycle.mark_shipped(sales_order, shipment, by=BY, at=at)


_STEPS = {
    _S.CONFIRMED: lambda one, at: lifecycle.confirm_order(one, by=BY, at=at),
    _S.IN_PRODUCTION: lambda one, at: lifecycle.start_production(one, by=BY, at=at),
    _S.QUALITY_CHECK: lambda one, at: lifecycle.finish_printing(one, by=BY, at=at),
    _S.SHIPPED: ship,
    _S.DELIVERED: lambda one, at: lifecycle.mark_delivered(one, by=BY, at=at),
    _S.COMPLETED: lambda one, at: lifecycle.complete(one, by=BY, at=at),
}


def make_photo(sales_order: SalesOrder, caption: str = "") -> ProductionPhoto:
    """A stored picture of an order's parts."""
    public_id = str(uuid.uuid4())
    name = f"photos/{public_id}.jpg"
    files.put(name, picture_bytes())
    return keep(
        ProductionPhoto(
            public_id=public_id, sales_order_id=sales_order.id, storage_name=name, caption=caption, taken_by=BY,
            created_at=clock.now(),
        )
    )  # fmt: skip


def picture_bytes(size: tuple[int, int] = (40, 30), format_name: str = "JPEG", **more: Any) -> bytes:
    """A picture as a camera or a telephone would send it."""
    content = io.BytesIO()
    Image.new("RGB", size, (40, 120, 90)).save(content, format_name, **more)
    return content.getvalue()


def open_payment(sales_order: SalesOrder) -> PaymentSession:
    """What the customer would pay next."""
    with unit_of_work():
        return session_to_pay(db.session.get_one(Order, sales_order.order_id), at=clock.now())


def pay_next(app: Flask, sales_order: SalesOrder, action: str = "pay_card") -> PaymentSession:
    """Pay what is due at the sandbox, with everything that settles it."""
    session = open_payment(sales_order)
    page = start_attempt(session.id, "sandbox", at=clock.now())
    sandbox.pay(app, page, action)
    look_again()
    return db.session.get_one(PaymentSession, session.id)


def look_again() -> None:
    """Forget what was read before."""
    db.session.rollback()
    db.session.expire_all()


def reloaded(sales_order: SalesOrder) -> SalesOrder:
    """The sales order as the database has it now."""
    look_again()
    return db.session.get_one(SalesOrder, sales_order.id)


def keep(row: Any, *steps: tuple[Any, dict[str, Any]]) -> Any:
    """Write a row, and move it along its arrows, so that its history is a path."""
    with unit_of_work():
        db.session.add(row)
        db.session.flush()
        for status, values in steps:
            transition(row, status, by="test", at=clock.now(), values=values)
    return row
