"""Parcels nobody has told us of for long are asked about, through the same inbox, so that each scan counts once."""

from datetime import timedelta

from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock, periodic
from portal.core.db import db, unit_of_work
from portal.payments.models import EventStatus, ProviderEvent
from portal.payments.services.draining import drain_inbox
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.shipping import jobs
from portal.production.shipping.services import asking
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support

LATER = timedelta(hours=7)


def ask(later: timedelta = LATER) -> int:
    """What the worker does some time later."""
    with clock.shifted(later):
        count = asking.ask_carriers(at=clock.now())
        drain_inbox()
    return count


S, P = SalesOrderStatus, ShipmentStatus


def test_a_lost_webhook_is_found_by_asking(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    fake.world.scan(shipment.tracker_reference or "", "delivered", is_told=False)
    assert ask(timedelta(0)) == 0
    assert ask() == 1
    assert support.current(checked).status is S.DELIVERED
    event = db.session.scalars(db.select(ProviderEvent)).one()
    assert (event.source, event.event_type) == ("poll", "poll.delivered")
    assert ask(3 * LATER) == 0


def test_what_was_asked_and_is_told_again_counts_once(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    late = fake.world.scan(shipment.tracker_reference or "", "in_transit")
    ask()
    support.post_event(client, late)
    drain_inbox()
    assert support.scans(shipment) == ["moving"]
    assert [status for status, _why in support.events()] == [EventStatus.APPLIED, EventStatus.DUPLICATE]


def test_a_parcel_that_stands_still_fills_no_inbox(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    fake.world.scan(shipment.tracker_reference or "", "in_transit", is_told=False)
    for round_number in range(1, 5):
        assert ask(round_number * LATER) == 1
    assert len(support.events()) == 1


def test_a_webhook_puts_the_next_question_off(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    before = support.current(shipment).check_at
    support.post_event(client, fake.world.scan(shipment.tracker_reference or "", "in_transit"))
    drain_inbox()
    assert support.current(shipment).check_at > before


def test_a_carrier_that_is_down_is_asked_again_and_others_are_not_forgotten(
    fake: FakeEasyPost, alice: object, checked: SalesOrder
) -> None:
    first, second = support.shipped(checked), support.shipped(support.make_sales_order(alice))  # type: ignore[arg-type]  # the fixture is a user
    for shipment in (first, second):
        fake.world.scan(shipment.tracker_reference or "", "in_transit", is_told=False)
    fake.set_trouble("500", calls=1)
    ask()
    assert [support.scans(first), support.scans(second)] == [[], ["moving"]]
    ask(2 * LATER)
    assert support.scans(first) == ["moving"]


def test_a_parcel_nobody_has_seen_for_two_months_is_let_go(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    ask(timedelta(days=61))
    assert support.current(shipment).check_at is None
    assert fake.calls(shipment.tracker_reference or "?") == 0


def test_a_carrier_that_was_switched_off_stops_nothing(app: Flask, checked: SalesOrder) -> None:
    shipment = support.by_hand(checked)
    with unit_of_work():
        row = db.session.get_one(Shipment, shipment.id)
        row.source, row.tracker_reference, row.check_at = "easypost", "trk_gone", clock.now()
    jobs.ask_carriers.__wrapped__()
    assert support.current(shipment).status is P.IN_TRANSIT


def test_asking_is_on_the_list_of_periodic_work(app: Flask) -> None:
    assert "portal.production.shipping.jobs.ask_carriers" in {entry.job for entry in periodic.jobs()}
