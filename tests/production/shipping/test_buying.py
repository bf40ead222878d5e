"""Prices and labels: nothing half made, and never bought twice, whatever the carrier does."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from portal.core import clock, faults, files, outbox
from portal.core.db import db, in_unit_of_work, unit_of_work
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.shipping.carriers.base import CarrierRefused, CarrierUnavailable, Parcel
from portal.production.shipping.errors import (
    BadParcel,
    CarrierIsAsked,
    NotReadyToShip,
    ParcelUnderWay,
    RateGone,
)
from portal.production.shipping.extension import NoCarrier
from portal.production.shipping.services import asking, buying, labels, packing
from portal.production.shipping.services.buying import buy_label
from tests.crowd import all_at_once
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support
from tests.production.shipping.support import BOX, STAFF

S, P = SalesOrderStatus, ShipmentStatus


def rate_of(shipment: Shipment, place: int = 0) -> str:
    return str(shipment.rates[place]["reference"])


def buy(shipment: Shipment, place: int = 0) -> None:
    buy_label(shipment.id, rate_of(shipment, place), by=STAFF, at=clock.now())


def test_a_packed_box_gets_prices(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    assert (shipment.status, shipment.source) == (P.DRAFT, "easypost")
    assert shipment.parcel == {"grams": 800, "length_mm": 300, "width_mm": 200, "height_mm": 150}
    assert [rate["service"] for rate in shipment.rates][:2] == ["GroundAdvantage", "Priority"]
    assert shipment.provider_reference in fake.world.shipments
    sent = fake.requests[-1].body["shipment"]
    assert (sent["to_address"]["street1"], sent["from_address"]["city"]) == ("ul. Tajna 7", "Warszawa")


def test_another_box_replaces_the_prices_and_not_the_parcel(fake: FakeEasyPost, checked: SalesOrder) -> None:
    first = support.priced(checked)
    before = list(first.rates)
    packing.ask_for_rates(checked.id, Parcel(5_000, 400, 300, 250), by=STAFF, at=clock.now())
    [second] = support.shipments()
    assert second.id == first.id
    assert second.parcel["grams"] == 5_000
    assert second.rates[0]["cost_minor"] > before[0]["cost_minor"]
    with pytest.raises(RateGone):
        buy_label(second.id, before[0]["reference"], by=STAFF, at=clock.now())


@pytest.mark.parametrize("kind", ["500", "502", "429", "dropped", "garbage", "half", "slow"])
def test_a_carrier_that_is_down_leaves_the_box_without_prices(
    fake: FakeEasyPost, checked: SalesOrder, kind: str
) -> None:
    fake.set_trouble(kind, on="/shipments", seconds=2.5)
    with pytest.raises(CarrierUnavailable):
        packing.ask_for_rates(checked.id, BOX, by=STAFF, at=clock.now())
    [shipment] = support.shipments()
    assert (shipment.status, shipment.rates, shipment.provider_reference) == (P.DRAFT, [], None)
    assert support.priced(checked).rates


def test_a_refused_address_is_told(fake: FakeEasyPost, alice: Any) -> None:
    order = support.make_sales_order(alice, shipping_address={**support.ADDRESS, "zip": ""})
    with pytest.raises(CarrierRefused):
        packing.ask_for_rates(order.id, BOX, by=STAFF, at=clock.now())
    assert support.shipments()[0].trouble == "to_address is incomplete."


def test_no_offer_is_said_with_the_carriers_words(fake: FakeEasyPost, checked: SalesOrder) -> None:
    fake.world.offers_nothing = True
    shipment = support.priced(checked)
    assert (shipment.rates, shipment.trouble) == ([], "USPS: No service to this destination.")


@pytest.mark.parametrize("status", [s for s in S if s is not S.QUALITY_CHECK])
def test_only_an_order_at_the_quality_check_is_packed(fake: FakeEasyPost, alice: Any, status: S) -> None:
    order = support.make_sales_order(alice, status=status)
    with pytest.raises(NotReadyToShip):
        packing.ask_for_rates(order.id, BOX, by=STAFF, at=clock.now())
    assert support.shipments() == []
    assert fake.requests == []


@pytest.mark.parametrize(
    "box", [Parcel(0, 1, 1, 1), Parcel(70_001, 1, 1, 1), Parcel(1, 2_001, 1, 1), Parcel(1, 1, 0, 1)]
)
def test_no_box_is_impossible(fake: FakeEasyPost, checked: SalesOrder, box: Parcel) -> None:
    with pytest.raises(BadParcel):
        packing.ask_for_rates(checked.id, box, by=STAFF, at=clock.now())
    assert support.shipments() == []


def test_without_a_carrier_there_are_no_prices(app: Flask, checked: SalesOrder) -> None:
    with pytest.raises(NoCarrier):
        packing.ask_for_rates(checked.id, BOX, by=STAFF, at=clock.now())
    assert support.shipments() == []


def test_a_label_is_bought_and_its_paper_kept(app: Flask, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    buy(shipment, 1)
    found = support.current(shipment)
    assert (found.status, found.service, found.cost_minor, found.cost_currency) == (P.READY, "Priority", 855, "USD")
    assert (found.tracking_number or "").startswith("9400")
    assert (found.tracking_url or "").startswith("https://track.easypost.com/")
    assert found.asked_at is None
    assert outbox.drain("files") == 1
    found = support.current(shipment)
    assert labels.read_label(found).startswith(b"%PDF-")
    assert files.get(f"labels/{found.public_id}.pdf") == labels.read_label(found)
    labels.store_label(found.id)  # Again changes nothing.
    assert support.current(checked).status is S.QUALITY_CHECK


def test_a_paper_that_does_not_come_is_fetched_later(app: Flask, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    buy(shipment)
    kept = dict(fake.world.labels)
    fake.world.labels.clear()
    with pytest.raises(CarrierUnavailable):
        labels.store_label(shipment.id)
    assert support.current(shipment).status is P.READY
    fake.world.labels.update(kept)
    # An earlier try that stored the file and died before saying so.
    found = support.current(shipment)
    files.put(f"labels/{found.public_id}.pdf", next(iter(kept.values())))
    labels.store_label(shipment.id)
    assert support.current(shipment).label_name == f"labels/{found.public_id}.pdf"


def test_a_second_click_finds_the_label_bought(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    buy(shipment)
    buy(shipment)
    assert len(fake.world.bought) == 1
    assert fake.calls("/buy") == 1
    with pytest.raises(ParcelUnderWay):
        buy(shipment, 1)


def test_a_refusal_leads_back_to_the_prices(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    for one in fake.world.shipments.values():
        one["rates"] = []
    with pytest.raises(CarrierRefused) as refusal:
        buy(shipment)
    assert "rate not found" in str(refusal.value)
    found = support.current(shipment)
    assert (found.status, found.chosen_rate, found.cost_minor, found.carrier) == (P.DRAFT, None, None, "")
    assert found.trouble


def test_being_told_to_slow_down_buys_nothing(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    fake.set_trouble("429", on="/buy")
    with pytest.raises(CarrierUnavailable):
        buy(shipment)
    assert support.current(shipment).status is P.DRAFT
    buy(shipment)
    assert support.current(shipment).status is P.READY


def test_silence_after_buying_is_settled_by_asking_and_never_bought_twice(
    fake: FakeEasyPost, checked: SalesOrder
) -> None:
    """The worst case: it was bought, and the answer was lost."""
    shipment = support.priced(checked)
    fake.set_trouble("silent", on="/buy", seconds=2.5)
    with pytest.raises(CarrierUnavailable):
        buy(shipment)
    found = support.current(shipment)
    assert (found.status, found.tracking_number) == (P.BUYING, None)
    for again in (lambda: buy(shipment, 1), lambda: packing.ask_for_rates(checked.id, BOX, by=STAFF, at=clock.now())):
        with pytest.raises(CarrierIsAsked):
            again()
    asking.ask_carriers(at=clock.now())
    assert support.current(shipment).status is P.BUYING
    asking.ask_carriers(at=clock.now() + timedelta(minutes=2))
    found = support.current(shipment)
    assert (found.status, found.service) == (P.READY, "GroundAdvantage")
    assert found.tracking_number == fake.world.shipments[found.provider_reference or ""]["tracking_code"]
    assert len(fake.world.bought) == 1


def test_silence_without_buying_leads_back_to_the_prices_after_a_while(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    fake.set_trouble("500", on="/buy")
    with pytest.raises(CarrierUnavailable):
        buy(shipment)
    asking.ask_carriers(at=clock.now() + timedelta(minutes=2))
    assert support.current(shipment).status is P.BUYING
    asking.ask_carriers(at=clock.now() + timedelta(minutes=20))
    assert support.current(shipment).status is P.DRAFT
    buy(shipment)
    assert len(fake.world.bought) == 1


def test_a_carrier_that_stays_silent_is_asked_again(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    fake.set_trouble("silent", on="/buy", seconds=2.5)
    with pytest.raises(CarrierUnavailable):
        buy(shipment)
    at = clock.now() + timedelta(minutes=2)
    fake.set_trouble("502", calls=1)
    asking.ask_carriers(at=at)
    assert support.current(shipment).status is P.BUYING
    asking.ask_carriers(at=at + timedelta(minutes=3))
    assert support.current(shipment).status is P.READY


def test_a_crash_after_the_wish_was_kept_is_settled_too(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    for point in ("buy-before-carrier", "buy-after-carrier"):
        with faults.arm(point, "raise"), pytest.raises((faults.InjectedFault, CarrierIsAsked)):
            buy(shipment)
        assert support.current(shipment).status is P.BUYING
        if point == "buy-before-carrier":
            asking.ask_carriers(at=clock.now() + timedelta(minutes=20))
            assert support.current(shipment).status is P.DRAFT
    asking.ask_carriers(at=clock.now() + timedelta(minutes=2))
    assert support.current(shipment).status is P.READY
    assert len(fake.world.bought) == 1


def test_two_prices_bought_at_once_are_one_label(app: Flask, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    with faults.arm("buy-after-look", "sleep:0.1"):
        results = all_at_once(app, [lambda place=place: buy(shipment, place) for place in (0, 1, 2, 3)])
    assert sum(result is None for result in results) == 1
    assert len(fake.world.bought) == 1
    assert fake.calls("/buy") == 1


def test_without_the_lock_the_carrier_is_asked_twice(
    app: Flask, fake: FakeEasyPost, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the row neither locked nor compared, the carrier hears of two prices."""
    shipment = support.priced(checked)

    def careless(shipment_id: int) -> tuple[SalesOrder, Shipment]:
        found = db.session.get_one(Shipment, shipment_id)
        return db.session.get_one(SalesOrder, found.sales_order_id), found

    def uncompared(row: Any, to: Any, *, by: str, at: Any, values: Any = None, **_more: Any) -> None:
        statement = Shipment.__table__.update().where(Shipment.__table__.c.id == row.id)
        db.session.connection().execute(statement.values({**(values or {}), "status": to}))

    monkeypatch.setattr(buying, "locked_shipment", careless)
    monkeypatch.setattr(buying, "transition", uncompared)
    with faults.arm("buy-after-look", "sleep:0.3"):
        all_at_once(app, [lambda place=place: buy(shipment, place) for place in (0, 1)])
    is_postgresql = db.engine.dialect.name == "postgresql"
    # SQLite has one writer at a time by itself: there is nothing to take away.
    assert fake.calls("/buy") == (2 if is_postgresql else 1)


def packing_at_once(order: SalesOrder) -> list[Callable[[], Any]]:
    return [lambda: packing.ask_for_rates(order.id, BOX, by=STAFF, at=clock.now())] * 4


def test_one_order_packed_by_four_at_once_is_one_parcel(app: Flask, fake: FakeEasyPost, checked: SalesOrder) -> None:
    with faults.arm("parcel-after-look", "sleep:0.1"):
        all_at_once(app, packing_at_once(checked))
    [shipment] = support.shipments()
    assert shipment.rates


def test_without_the_lock_the_index_still_keeps_one_parcel(
    app: Flask, fake: FakeEasyPost, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two guards: with the order's lock off, the database itself refuses the second parcel."""
    monkeypatch.setattr(packing, "locked_order", lambda order_id: db.session.get_one(SalesOrder, order_id))
    with faults.arm("parcel-after-look", "sleep:0.3"):
        results = all_at_once(app, packing_at_once(checked))
    assert len(support.shipments()) == 1
    if db.engine.dialect.name == "postgresql":
        assert any(isinstance(result, ParcelUnderWay) for result in results)


def test_without_lock_and_index_there_are_several(
    app: Flask, fake: FakeEasyPost, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of both guards."""
    monkeypatch.setattr(packing, "locked_order", lambda order_id: db.session.get_one(SalesOrder, order_id))
    monkeypatch.setattr(packing, "find_live", lambda _order: None)
    index = next(one for one in Shipment.__table__.indexes if one.name == "ix_shipments_live")
    with db.engine.begin() as connection:
        index.drop(connection)
    try:
        all_at_once(app, packing_at_once(checked))
        assert len(support.shipments()) > 1
        with db.engine.begin() as connection:
            connection.execute(Shipment.__table__.delete())
    finally:
        db.session.rollback()
        with db.engine.begin() as connection:
            index.create(connection)


def test_nothing_is_asked_inside_a_transaction(
    app: Flask, fake: FakeEasyPost, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    carrier = app.extensions["carrier"]

    def spied(call: Callable[..., Any]) -> Callable[..., Any]:
        def spy(*args: Any, **more: Any) -> Any:
            seen.append(in_unit_of_work())
            return call(*args, **more)

        return spy

    for name in ("offer", "buy", "fetch_label", "track"):
        monkeypatch.setattr(carrier, name, spied(getattr(carrier, name)))
    shipment = support.shipped(checked)
    labels.store_label(shipment.id)
    asking.look_where(shipment.id, at=clock.now())
    assert seen == [False] * 4


def test_a_draft_can_be_discarded_and_packed_again(fake: FakeEasyPost, checked: SalesOrder) -> None:
    first = support.priced(checked)
    with unit_of_work():
        packing.discard_draft(first.id, by=STAFF, at=clock.now())
    second = support.priced(checked)
    assert [one.status for one in support.shipments()] == [P.CANCELLED, P.DRAFT]
    assert second.id != first.id
