"""The shipping action: the only way to shipped, once, and the customer is told once."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from portal.core import clock, faults, outbox
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.core.mail import MailMessage, MailStatus
from portal.core.state import InvalidTransition, StatusChange
from portal.payments.services.draining import drain_inbox
from portal.production.models import LabelRefund, SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.services import lifecycle
from portal.production.shipping.carriers.base import CarrierUnavailable
from portal.production.shipping.carriers.by_hand import BadParcelDetail, check_details
from portal.production.shipping.errors import AlreadyShipped, CarrierIsAsked, NoLabelYet, NotReadyToShip, ParcelUnderWay
from portal.production.shipping.services import handing_over, packing
from portal.production.shipping.services.asking import look_where
from portal.production.shipping.services.handing_over import hand_over
from portal.production.shipping.services.labels import return_label
from tests.crowd import all_at_once
from tests.factories import make_user
from tests.fakes.easypost import FakeEasyPost
from tests.production.shipping import support
from tests.production.shipping.support import STAFF

S, P = SalesOrderStatus, ShipmentStatus


def ship(shipment: Shipment) -> None:
    with unit_of_work():
        hand_over(shipment.id, by=STAFF, at=clock.now())


def mails() -> list[MailMessage]:
    db.session.rollback()
    return list(db.session.scalars(db.select(MailMessage).where(MailMessage.template == "sales_order_shipped")))


def test_a_parcel_with_a_label_leaves(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    ship(shipment)
    found = support.current(shipment)
    assert found.status is P.IN_TRANSIT
    assert found.shipped_at is not None
    assert found.check_at > found.shipped_at
    order = support.current(checked)
    assert (order.status, order.shipped_at) == (S.SHIPPED, found.shipped_at)


def test_a_parcel_by_hand_leaves_and_nobody_is_asked_about_it(app: Flask, checked: SalesOrder) -> None:
    shipment = support.by_hand(checked)
    assert (shipment.status, shipment.source, shipment.check_at) == (P.IN_TRANSIT, "by_hand", None)
    assert support.current(checked).status is S.SHIPPED


def test_the_customer_is_mailed_once_with_a_link_that_the_log_does_not_keep(app: Flask, checked: SalesOrder) -> None:
    support.by_hand(checked)
    outbox.drain("mail")
    [mail] = mails()
    assert (mail.status, mail.to) == (MailStatus.SENT, "alice@example.com")
    assert checked.order.number in (mail.subject or "")
    assert "620999" in (mail.text_body or "")
    assert "/track/" not in (mail.text_body or "")
    assert "ul. Tajna" not in (mail.text_body or "")


@pytest.mark.parametrize(("locale", "words"), [("en", "on its way"), ("pl", "w drodze"), ("es", "en camino")])
def test_the_mail_is_in_the_customers_language(app: Flask, locale: str, words: str) -> None:
    order = support.make_sales_order(make_user(locale=locale))
    support.by_hand(order)
    outbox.drain("mail")
    assert words in (mails()[0].subject or "")


def test_shipping_twice_is_refused(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    with pytest.raises(AlreadyShipped):
        ship(shipment)
    assert len(mails()) == 1


@pytest.mark.parametrize("status", [s for s in S if s is not S.QUALITY_CHECK])
def test_only_an_order_at_the_quality_check_ships(app: Flask, alice: Any, status: S) -> None:
    order = support.make_sales_order(alice)
    shipment = support.by_hand(order, is_shipped=False)
    with unit_of_work():
        held = "quality_check" if status is S.ON_HOLD else None
        table = SalesOrder.__table__
        db.session.execute(table.update().where(table.c.id == order.id).values(status=status, held_from=held))
    if status is S.SHIPPED:
        ship(shipment)  # Sent again after another parcel came back.
        assert support.current(order).status is S.SHIPPED
        return
    with pytest.raises(InvalidTransition):
        ship(shipment)
    assert support.current(shipment).shipped_at is None
    assert mails() == []


def test_a_parcel_without_a_label_does_not_leave(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.priced(checked)
    with pytest.raises(NoLabelYet):
        ship(shipment)
    with unit_of_work():
        packing.discard_draft(shipment.id, by=STAFF, at=clock.now())
    with pytest.raises(NoLabelYet):
        ship(shipment)
    assert support.current(checked).status is S.QUALITY_CHECK


def test_a_label_that_is_asked_back_does_not_leave(fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.bought(checked)
    fake.set_trouble("silent", on="/refund", seconds=2.5)
    with pytest.raises(CarrierUnavailable):
        return_label(shipment.id, by=STAFF, at=clock.now())
    assert support.current(shipment).refund_status is LabelRefund.ASKING
    with pytest.raises(CarrierIsAsked):
        ship(shipment)


def shipped_changes(order: SalesOrder) -> int:
    db.session.rollback()
    statement = db.select(StatusChange).where(
        StatusChange.entity == "sales_orders", StatusChange.entity_id == order.id, StatusChange.became == "shipped"
    )
    return len(db.session.scalars(statement).all())


def test_twenty_clicks_at_once_ship_once(app: Flask, checked: SalesOrder) -> None:
    shipment = support.by_hand(checked, is_shipped=False)
    with faults.arm("ship-after-look", "sleep:0.05"):
        results = all_at_once(app, [lambda: ship(shipment)] * 20)
    assert sum(result is None for result in results) == 1
    assert all(isinstance(result, Conflict) for result in results if result is not None)
    assert (shipped_changes(checked), len(mails())) == (1, 1)


def test_without_lock_and_comparison_it_ships_several_times(
    app: Flask, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: rows neither locked nor compared, everybody ships."""
    shipment = support.by_hand(checked, is_shipped=False)

    def careless(shipment_id: int) -> tuple[SalesOrder, Shipment]:
        found = db.session.get_one(Shipment, shipment_id)
        return db.session.get_one(SalesOrder, found.sales_order_id), found

    left: list[int] = []

    def uncompared(_order: SalesOrder, parcel: Shipment, **_more: Any) -> None:
        left.append(parcel.id)

    monkeypatch.setattr(handing_over, "locked_shipment", careless)
    monkeypatch.setattr(handing_over, "transition", lambda *_args, **_more: None)
    monkeypatch.setattr(handing_over, "_tell", lambda *_args: None)
    monkeypatch.setattr(lifecycle, "mark_shipped", uncompared)
    with faults.arm("ship-after-look", "sleep:0.3"):
        all_at_once(app, [lambda: ship(shipment)] * 4)
    is_postgresql = db.engine.dialect.name == "postgresql"
    # SQLite has one writer at a time by itself, but nobody looks again either: `transition` is what would.
    assert len(left) > 1 or not is_postgresql


def test_a_parcel_that_came_back_is_sent_again(fake: FakeEasyPost, checked: SalesOrder) -> None:
    first = support.shipped(checked)
    fake.world.scan(first.tracker_reference or "", "return_to_sender")
    look_where(first.id, at=clock.now())
    drain_inbox()
    assert support.current(first).status is P.RETURNED
    again = support.by_hand(support.current(checked))
    assert (again.status, support.current(checked).status) == (P.IN_TRANSIT, S.SHIPPED)
    assert shipped_changes(checked) == 1
    assert len(mails()) == 2


def test_entering_by_hand_gives_up_a_draft(fake: FakeEasyPost, checked: SalesOrder) -> None:
    support.priced(checked)
    support.by_hand(checked, is_shipped=False)
    assert [one.status for one in support.shipments()] == [P.CANCELLED, P.READY]


def test_entering_by_hand_beside_a_label_is_refused(fake: FakeEasyPost, checked: SalesOrder) -> None:
    support.bought(checked)
    with pytest.raises(ParcelUnderWay):
        support.by_hand(checked, is_shipped=False)


def test_entering_by_hand_needs_the_quality_check(app: Flask, alice: Any) -> None:
    order = support.make_sales_order(alice, status=S.IN_PRODUCTION)
    with pytest.raises(NotReadyToShip):
        support.by_hand(order)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("carrier", ("", "12345", "")), ("carrier", ("x" * 65, "12345", "")), ("carrier", ("In\x00Post", "12345", "")),
        ("tracking_number", ("InPost", "12", "")), ("tracking_number", ("InPost", "<script>", "")),
        ("tracking_number", ("InPost", "1" * 65, "")), ("tracking_number", ("InPost", "12\u202e345", "")),
        ("tracking_url", ("InPost", "12345", "http://inpost.pl/")),
        ("tracking_url", ("InPost", "12345", "javascript:alert(1)")),
        ("tracking_url", ("InPost", "12345", "https:evil.example")),
        ("tracking_url", ("InPost", "12345", "https://user@evil.example/")),
        ("tracking_url", ("InPost", "12345", "https://inpost.pl/\r\nX: y")),
        ("tracking_url", ("InPost", "12345", "https://inpost.pl/\"onclick=")),
        ("tracking_url", ("InPost", "12345", "https://localhost/")),
        ("tracking_url", ("InPost", "12345", "https://[broken/")),
        ("tracking_url", ("InPost", "12345", "https://inpost.pl:99999/")),
        ("tracking_url", ("InPost", "12345", "//inpost.pl/")),
        ("tracking_url", ("InPost", "12345", "https://inpost.pl\\@evil.example")),
        ("tracking_url", ("InPost", "12345", f"https://inpost.pl/{'x' * 2048}")),
    ],
)  # fmt: skip
def test_what_is_typed_by_hand_is_checked(field: str, values: tuple[str, str, str]) -> None:
    with pytest.raises(BadParcelDetail) as refusal:
        check_details(*values)
    assert refusal.value.field == field


def test_what_is_typed_by_hand_is_tidied_up() -> None:
    details = check_details("  DPD   Polska ", " 1234 5678 ", " https://tracktrace.dpd.com.pl/x?p=1 ")
    assert (details.carrier, details.tracking_number) == ("DPD Polska", "1234 5678")
    assert check_details("DPD", "1234", "").tracking_url is None


def test_a_parcel_by_hand_can_be_discarded_until_it_leaves(app: Flask, checked: SalesOrder) -> None:
    shipment = support.by_hand(checked, is_shipped=False)
    with unit_of_work():
        packing.discard_draft(shipment.id, by=STAFF, at=clock.now())
    assert support.current(shipment).status is P.CANCELLED
    gone = support.by_hand(checked)
    with pytest.raises(InvalidTransition), unit_of_work():
        packing.discard_draft(gone.id, by=STAFF, at=clock.now())


def discarding(shipment: Shipment) -> Callable[[], Any]:
    def work() -> None:
        with unit_of_work():
            packing.discard_draft(shipment.id, by=STAFF, at=clock.now())

    return work


def test_shipped_and_discarded_at_once_is_one_of_both(app: Flask, checked: SalesOrder) -> None:
    shipment = support.by_hand(checked, is_shipped=False)
    results = all_at_once(app, [lambda: ship(shipment), discarding(shipment)] * 3)
    assert sum(result is None for result in results) == 1
    pair = (support.current(shipment).status, support.current(checked).status)
    assert pair in {(P.IN_TRANSIT, S.SHIPPED), (P.CANCELLED, S.QUALITY_CHECK)}
