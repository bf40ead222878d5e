"""Sales orders that are about to leave, and a carrier that answers on a socket."""

import itertools
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.core import clock, sealed
from portal.core.db import db, unit_of_work
from portal.orders.models import LineKind, Order, OrderLine, PaymentStatus
from portal.payments.models import EventStatus, ProviderEvent
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentEvent, ShipmentStatus
from portal.production.shipping import extension
from portal.production.shipping.carriers.base import Parcel
from portal.production.shipping.carriers.easypost import EasyPostCarrier
from portal.production.shipping.services import buying, handing_over, packing
from portal.production.shipping.services.following import ParcelNews
from portal.quotes.models import Quote, QuoteStatus
from tests.fakes.easypost import API_KEY, WEBHOOK_SECRET, FakeEasyPost, delivery

STAFF = "staff@example.com"
BOX = Parcel(grams=800, length_mm=300, width_mm=200, height_mm=150)
ADDRESS = {
    "name": "Alice Nowak", "company": "", "line1": "ul. Tajna 7", "line2": "m. 3", "city": "Kraków", "state": "",
    "zip": "31-001", "country": "PL", "phone": "+48123456789", "email": "alice@example.com",
}  # fmt: skip
ORIGIN = {"line1": "ul. Prosta 20", "city": "Warszawa", "zip": "00-850", "country": "PL", "phone": "+48221234567"}
# Far from those that the product itself draws in the same database.
_numbers = itertools.count(901)


def make_sales_order(
    user: User, *, status: SalesOrderStatus = SalesOrderStatus.QUALITY_CHECK, **values: Any
) -> SalesOrder:
    """A paid order of printed parts in some state; nothing has been sent."""
    at = clock.now() - timedelta(days=2)
    number = next(_numbers)
    quote = Quote(
        number=f"Q-2026-9{number:03d}", user_id=user.id, status=QuoteStatus.ACCEPTED, locale=user.locale,
        currency="PLN", total_minor=12_300, computed_total_minor=12_300, created_at=at, updated_at=at,
    )  # fmt: skip
    order = Order(
        number=f"SO-2026-9{number:03d}", idempotency_key=str(uuid.uuid4()), user_id=user.id, email=user.email,
        name=user.name, locale=user.locale, currency="PLN", total_minor=12_300, tax_minor=2_300, paid_minor=12_300,
        payment_status=PaymentStatus.PAID, placed_at=at, paid_at=at,
        lines=[
            OrderLine(
                position=1, kind=LineKind.PRINT, description="bracket.stl", unit_price_minor=12_300, quantity=1,
                tax_rate_basis_points=2_300, tax_minor=2_300, total_minor=12_300,
            )
        ],
    )  # fmt: skip
    with unit_of_work():
        db.session.add_all([quote, order])
        db.session.flush()
        made = SalesOrder(
            order_id=order.id, quote_id=quote.id, user_id=user.id, status=status, rush="standard",
            held_from=values.pop("held_from", "confirmed" if status is SalesOrderStatus.ON_HOLD else None),
            frozen=values.pop("frozen", {}), shipping_address=values.pop("shipping_address", ADDRESS), created_at=at,
            confirmed_at=at, tracking_key=sealed.new_token(), **values,
        )  # fmt: skip
        db.session.add(made)
    return made


@contextmanager
def carrier_of(app: Flask, fake: FakeEasyPost, **changes: Any) -> Iterator[EasyPostCarrier]:
    """The application ships by the fake, and hears its webhooks."""
    carrier = EasyPostCarrier(
        api_key=API_KEY, webhook_secrets=(WEBHOOK_SECRET,), api_base=fake.api_base, timeout=(1.0, 2.0), **changes
    )
    listeners = app.extensions["webhook_listeners"]
    extension.attach(app, carrier)
    listeners[carrier.name] = ParcelNews(carrier)
    try:
        yield carrier
    finally:
        extension.attach(app, None)
        listeners.pop(carrier.name)


def current(row: Any) -> Any:
    """The row as the database has it now."""
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(type(row), row.id)


def shipments() -> list[Shipment]:
    """Every parcel there is."""
    db.session.rollback()
    db.session.expire_all()
    return list(db.session.scalars(db.select(Shipment).order_by(Shipment.id)))


def scans(shipment: Shipment) -> list[str]:
    """What was said about a parcel, in order of time."""
    statement = db.select(ShipmentEvent.status).where(ShipmentEvent.shipment_id == shipment.id)
    return list(db.session.scalars(statement.order_by(ShipmentEvent.happened_at, ShipmentEvent.id)))


def events() -> list[tuple[EventStatus, str | None]]:
    """The inbox: how each event stands, and why."""
    db.session.rollback()
    db.session.expire_all()
    return [
        (one.status, one.verdict) for one in db.session.scalars(db.select(ProviderEvent).order_by(ProviderEvent.id))
    ]


def priced(sales_order: SalesOrder) -> Shipment:
    """A packed box with its prices."""
    packing.ask_for_rates(sales_order.id, BOX, by=STAFF, at=clock.now())
    return shipments()[-1]


def bought(sales_order: SalesOrder) -> Shipment:
    """A label that was bought: the cheapest."""
    shipment = priced(sales_order)
    buying.buy_label(shipment.id, shipment.rates[0]["reference"], by=STAFF, at=clock.now())
    found: Shipment = current(shipment)
    assert found.status is ShipmentStatus.READY
    return found


def shipped(sales_order: SalesOrder) -> Shipment:
    """A parcel that has left."""
    shipment = bought(sales_order)
    with unit_of_work():
        handing_over.hand_over(shipment.id, by=STAFF, at=clock.now())
    found: Shipment = current(shipment)
    return found


def by_hand(sales_order: SalesOrder, *, is_shipped: bool = True) -> Shipment:
    """A parcel that was entered by hand."""
    with unit_of_work():
        shipment = packing.enter_by_hand(
            sales_order.id, "InPost", "620999", "https://inpost.pl/track?number=620999", by=STAFF, at=clock.now()
        )
    if is_shipped:
        with unit_of_work():
            handing_over.hand_over(shipment.id, by=STAFF, at=clock.now())
    found: Shipment = current(shipment)
    return found


def post_event(
    client: FlaskClient, event: dict[str, Any], *, prefix: str = "", secret: str = WEBHOOK_SECRET, **signing: Any
) -> TestResponse:
    """A webhook as the company posts it."""

    body = json.dumps(event, separators=(",", ":")).encode()
    path = f"{prefix}/webhooks/easypost"
    return client.post(path, data=body, headers=delivery.headers(secret, body, path=path, **signing))
