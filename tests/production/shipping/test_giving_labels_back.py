"""A label that is not used: its money is asked back once, and its paper is no good any more."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.production.models import LabelRefund, SalesOrder, Shipment, ShipmentStatus
from portal.production.shipping.carriers.base import CarrierRefused, CarrierUnavailable
from portal.production.shipping.errors import CarrierIsAsked, NoLabelYet
from portal.production.shipping.services import asking, labels
from portal.production.shipping.services.labels import return_label
from tests.crowd import all_at_once
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support
from tests.production.shipping.support import STAFF

P, R = ShipmentStatus, LabelRefund


def give_back(shipment: Shipment) -> None:
    return_label(shipment.id, by=STAFF, at=clock.now())


def standing(shipment: Shipment) -> tuple[P, R]:
    found = support.current(shipment)
    return found.status, found.refund_status


def test_a_label_is_given_back_and_its_money_comes_later(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    give_back(shipment)
    assert standing(shipment) == (P.CANCELLED, R.SUBMITTED)
    asking.ask_carriers(at=clock.now() + timedelta(days=2))
    assert standing(shipment) == (P.CANCELLED, R.SUBMITTED)
    fake.world.settle_refund(shipment.provider_reference or "")
    asking.ask_carriers(at=clock.now() + timedelta(days=4))
    assert standing(shipment) == (P.CANCELLED, R.REFUNDED)
    assert support.current(shipment).check_at is None
    assert "shipment.refund_asked" in db.session.scalars(db.select(AuditEvent.event)).all()


def test_another_parcel_can_be_packed_then(fake: FakeEasyPost, checked: SalesOrder) -> None:
    give_back(support.bought(checked))
    second = support.shipped(checked)
    assert second.status is P.IN_TRANSIT
    assert len(support.shipments()) == 2


def test_a_refund_at_once_needs_no_more_asking(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    fake.world.refunds_at_once = True
    give_back(shipment)
    assert standing(shipment) == (P.CANCELLED, R.REFUNDED)
    assert support.current(shipment).check_at is None


def test_a_refused_refund_leaves_the_label_valid(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    fake.world.refuses_refunds = True
    with pytest.raises(CarrierRefused):
        give_back(shipment)
    assert standing(shipment) == (P.READY, R.REJECTED)
    # The company documents that a rejected one may be asked for again.
    fake.world.refuses_refunds = False
    give_back(shipment)
    assert standing(shipment) == (P.CANCELLED, R.SUBMITTED)


def test_a_submitted_refund_can_be_refused_in_the_end(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    give_back(shipment)
    fake.world.settle_refund(shipment.provider_reference or "", "rejected")
    asking.ask_carriers(at=clock.now() + timedelta(days=2))
    assert standing(shipment) == (P.CANCELLED, R.REJECTED)


def test_silence_is_asked_again_until_it_is_known(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    fake.set_trouble("silent", on="/refund", seconds=2.5)
    with pytest.raises(CarrierUnavailable):
        give_back(shipment)
    assert standing(shipment) == (P.READY, R.ASKING)
    with pytest.raises(CarrierIsAsked):
        give_back(shipment)
    asking.ask_carriers(at=clock.now() + timedelta(minutes=2))
    assert standing(shipment) == (P.CANCELLED, R.SUBMITTED)


def test_giving_back_twice_is_refused(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    give_back(shipment)
    with pytest.raises(NoLabelYet):
        give_back(shipment)
    assert fake.calls("/refund") == 1


def test_what_has_left_is_not_given_back(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    with pytest.raises(NoLabelYet):
        give_back(shipment)
    assert fake.calls("/refund") == 0


def test_a_parcel_by_hand_has_no_label_to_give_back(app: Flask, checked: SalesOrder) -> None:
    with pytest.raises(NoLabelYet):
        give_back(support.by_hand(checked, is_shipped=False))


def test_many_at_once_ask_the_carrier_once(app: Flask, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    all_at_once(app, [lambda: give_back(shipment)] * 8)
    assert fake.calls("/refund") == 1
    assert standing(shipment) == (P.CANCELLED, R.SUBMITTED)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_without_the_lock_the_carrier_is_asked_for_the_money_twice(
    app: Flask, fake: FakeEasyPost, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the row neither locked nor compared, both presses find a label that nobody has given back."""
    shipment = support.bought(checked)
    both_have_looked = threading.Barrier(2)

    def unlocked(shipment_id: int) -> tuple[SalesOrder, Shipment]:
        found = db.session.get_one(Shipment, shipment_id, populate_existing=True)
        if found.refund_status is R.NONE:
            both_have_looked.wait(10)
        return db.session.get_one(SalesOrder, found.sales_order_id), found

    def uncompared(row: Shipment, to: Any, *, column: str = "status", values: Any = None, **_more: Any) -> None:
        table = Shipment.__table__
        changes = {**(values or {}), column: to}
        db.session.connection().execute(table.update().where(table.c.id == row.id).values(changes))

    monkeypatch.setattr(labels, "locked_shipment", unlocked)
    monkeypatch.setattr(labels, "transition", uncompared)
    all_at_once(app, [lambda: give_back(shipment)] * 2)
    assert fake.calls("/refund") == 2
