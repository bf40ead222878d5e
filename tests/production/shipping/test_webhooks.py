"""What the carrier is answered, what is in the inbox afterwards, and what became of the parcel."""

import itertools
import json
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.state import StatusChange
from portal.payments.models import EventStatus, ProviderEvent
from portal.payments.services.draining import drain_inbox, rematch_unmatched
from portal.payments.services.replaying import rehearse_event
from portal.production.models import SalesOrder, SalesOrderStatus, Shipment, ShipmentStatus
from portal.production.shipping.services.handing_over import hand_over
from portal.production.shipping.services.labels import return_label
from tests.crowd import all_at_once
from tests.fakes.easypost import WEBHOOK_SECRET, FakeEasyPost, delivery
from tests.fakes.receiver import Receiver
from tests.production.shipping import support
from tests.production.shipping.support import post_event

S, P = SalesOrderStatus, ShipmentStatus


def told(fake: FakeEasyPost, shipment: Shipment, status: str, **values: Any) -> dict[str, Any]:
    """The event of a scan; nothing is posted."""
    return fake.world.scan(shipment.tracker_reference or "", status, **values)


def answered(answer: Any) -> tuple[int, Any]:
    return answer.status_code, answer.get_json()


def deliveries_of(sales_order: SalesOrder) -> int:
    """How often the order became delivered."""
    return len(
        db.session.scalars(
            db.select(StatusChange).where(
                StatusChange.entity == "sales_orders",
                StatusChange.entity_id == sales_order.id,
                StatusChange.became == "delivered",
            )
        ).all()
    )


def test_a_scan_is_stored_answered_and_applied_by_a_worker(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    answer = post_event(client, told(fake, shipment, "in_transit", city="ŁÓDŹ"))
    assert answered(answer) == (200, {"status": "accepted"})
    assert support.scans(shipment) == []
    assert drain_inbox() == 1
    assert support.scans(shipment) == ["moving"]
    found = support.current(shipment)
    assert (found.status, found.carrier_state, found.events[0].place) == (P.IN_TRANSIT, "moving", "ŁÓDŹ, PL")
    assert found.expected_at is not None
    names = db.session.scalars(db.select(AuditEvent.event)).all()
    assert "WEBHOOK_EASYPOST_APPLIED" in names


def test_the_same_event_again_is_a_duplicate(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    event = told(fake, shipment, "in_transit")
    post_event(client, event)
    drain_inbox()
    assert answered(post_event(client, event)) == (200, {"status": "duplicate"})
    assert drain_inbox() == 0
    assert support.scans(shipment) == ["moving"]


def test_the_same_scan_in_another_event_adds_nothing(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    event = told(fake, shipment, "in_transit")
    post_event(client, event)
    post_event(client, {**event, "id": "evt_another"})
    drain_inbox()
    assert [status for status, _why in support.events()] == [EventStatus.APPLIED, EventStatus.DUPLICATE]
    assert support.scans(shipment) == ["moving"]


def test_delivered_makes_the_order_delivered_once(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    for _again in range(2):
        post_event(client, told(fake, shipment, "delivered"))
        drain_inbox()
    assert support.current(shipment).status is P.DELIVERED
    found = support.current(checked)
    assert (found.status, deliveries_of(checked)) == (S.DELIVERED, 1)
    assert support.current(shipment).check_at is None


def test_delivered_before_the_click_waits_for_it(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    """Only the shipping action ships; the parcel's own state is kept meanwhile."""
    shipment = support.bought(checked)
    post_event(client, told(fake, shipment, "delivered"))
    drain_inbox()
    assert support.current(shipment).status is P.DELIVERED
    assert support.current(checked).status is S.QUALITY_CHECK
    with unit_of_work():
        hand_over(shipment.id, by=support.STAFF, at=clock.now())
    assert (support.current(checked).status, deliveries_of(checked)) == (S.DELIVERED, 1)


def test_every_order_of_a_parcels_story_ends_the_same(client: FlaskClient, fake: FakeEasyPost, alice: Any) -> None:
    ends = set()
    for order in itertools.permutations(range(4)):
        sales_order = support.make_sales_order(alice)
        shipment = support.shipped(sales_order)
        start = clock.now()
        story = [
            told(fake, shipment, status, at=start + timedelta(hours=hour))
            for hour, status in enumerate(("pre_transit", "in_transit", "out_for_delivery", "delivered"))
        ]
        for index in order:
            assert post_event(client, story[index]).status_code == 200
            drain_inbox()
        ends.add((tuple(support.scans(shipment)), support.current(shipment).status, support.current(sales_order).status,
                  deliveries_of(sales_order)))  # fmt: skip
    assert ends == {(("announced", "moving", "out_for_delivery", "delivered"), P.DELIVERED, S.DELIVERED, 1)}


def test_a_parcel_that_is_sent_back_and_arrives_here_is_not_delivered(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    start = clock.now()
    for hour, status in enumerate(("in_transit", "failure", "return_to_sender", "in_transit", "delivered")):
        post_event(client, told(fake, shipment, status, at=start + timedelta(hours=hour)))
        drain_inbox()
    assert support.current(shipment).status is P.RETURNED
    assert support.current(checked).status is S.SHIPPED


STATES = {
    "pre_transit": ("announced", P.IN_TRANSIT), "in_transit": ("moving", P.IN_TRANSIT),
    "out_for_delivery": ("out_for_delivery", P.IN_TRANSIT), "available_for_pickup": ("at_pickup_point", P.IN_TRANSIT),
    "delivered": ("delivered", P.DELIVERED), "return_to_sender": ("returned", P.RETURNED),
    "failure": ("failed", P.IN_TRANSIT), "cancelled": ("called_off", P.IN_TRANSIT), "error": ("trouble", P.IN_TRANSIT),
}  # fmt: skip


@pytest.mark.parametrize("word", STATES)
def test_every_word_has_its_meaning(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder, word: str) -> None:
    shipment = support.shipped(checked)
    post_event(client, told(fake, shipment, word))
    drain_inbox()
    meaning, became = STATES[word]
    assert (support.scans(shipment), support.current(shipment).status) == ([meaning], became)


def test_a_word_that_is_new_is_loud_and_its_scan_is_kept(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    post_event(client, told(fake, shipment, "teleported"))
    drain_inbox()
    [(status, verdict)] = support.events()
    assert status is EventStatus.CONFLICT
    assert "teleported" in (verdict or "")
    assert support.scans(shipment) == ["unknown"]


def test_a_state_without_a_scan_counts_too(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    event = told(fake, shipment, "delivered")
    event["result"]["tracking_details"] = []
    post_event(client, event)
    drain_inbox()
    assert support.current(checked).status is S.DELIVERED


def test_an_unknown_tracker_is_kept_and_matched_when_the_label_is_recorded(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    reference = shipment.tracker_reference
    with unit_of_work():
        db.session.get_one(Shipment, shipment.id).tracker_reference = None
    event = told_by(fake, reference or "")
    assert answered(post_event(client, event)) == (404, {"status": "unmatched"})
    assert answered(post_event(client, {**event, "id": "evt_2"}, prefix="/api/v1")) == (200, {"status": "unmatched"})
    assert rematch_unmatched(at=clock.now()) == 0
    with unit_of_work():
        db.session.get_one(Shipment, shipment.id).tracker_reference = reference
    assert rematch_unmatched(at=clock.now()) == 2
    drain_inbox()
    assert support.scans(shipment) == ["moving"]


def told_by(fake: FakeEasyPost, tracker: str) -> dict[str, Any]:
    return fake.world.scan(tracker, "in_transit")


def test_other_types_are_stored_and_ignored(client: FlaskClient, fake: FakeEasyPost) -> None:
    event = {"id": "evt_1", "object": "Event", "description": "batch.created", "mode": "test", "result": {}}
    assert answered(post_event(client, event)) == (200, {"status": "ignored"})
    assert [status for status, _why in support.events()] == [EventStatus.IGNORED]


def test_an_event_of_the_other_mode_moves_nothing(client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder) -> None:
    shipment = support.shipped(checked)
    event = told(fake, shipment, "delivered")
    event["result"]["mode"] = "production"
    post_event(client, event)
    drain_inbox()
    assert [status for status, _why in support.events()] == [EventStatus.CONFLICT]
    assert support.current(checked).status is S.SHIPPED


def test_a_label_that_was_given_back_and_moves_is_a_conflict(
    client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.bought(checked)
    return_label(shipment.id, by=support.STAFF, at=clock.now())
    assert answered(post_event(client, told(fake, shipment, "in_transit"))) == (409, {"status": "conflict"})
    assert support.current(shipment).status is P.CANCELLED


def test_a_switched_off_carrier_has_no_address(client: FlaskClient) -> None:
    assert post_event(client, {"id": "evt_1", "object": "Event"}).status_code == 404


FORGERIES: dict[str, dict[str, str]] = {
    "no header": {},
    "wrong secret": delivery.headers("another", b"{}", path="/webhooks/easypost"),
    "another body": delivery.headers(WEBHOOK_SECRET, b"{ }", path="/webhooks/easypost"),
    "upper-case hex": {"X-Hmac-Signature": delivery.sign(WEBHOOK_SECRET, b"{}").upper()},
    "without its prefix": {"X-Hmac-Signature": delivery.sign(WEBHOOK_SECRET, b"{}").partition("=")[2]},
    "empty header": {"X-Hmac-Signature": ""},
    "very long": {"X-Hmac-Signature": "hmac-sha256-hex=" + "a" * 10_000},
    "not ASCII": {"X-Hmac-Signature": "hmac-sha256-hex=ąę".encode().decode("latin-1")},
    "too old": delivery.headers(
        WEBHOOK_SECRET, b"{}", path="/webhooks/easypost", at=clock.now().timestamp() - 3_600, scheme="timed"
    ),
    "from the future": delivery.headers(
        WEBHOOK_SECRET, b"{}", path="/webhooks/easypost", at=clock.now().timestamp() + 3_600, scheme="timed"
    ),
    "time changed": {
        **delivery.headers(WEBHOOK_SECRET, b"{}", path="/webhooks/easypost", scheme="timed"),
        "X-Timestamp": "Sun, 29 Nov 2026 10:00:00 -0000",
    },
    "no time": {"X-Hmac-Signature-V2": delivery.sign(WEBHOOK_SECRET, b"{}")},
    "a time that is none": {
        "X-Timestamp": "yesterday", "X-Path": "",
        "X-Hmac-Signature-V2": delivery.sign(WEBHOOK_SECRET, b"yesterdayPOST{}"),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_delivery_is_refused_and_leaves_an_audit_line_only(
    client: FlaskClient, fake: FakeEasyPost, name: str
) -> None:
    answer = client.post("/webhooks/easypost", data=b"{}", headers=FORGERIES[name])
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "invalid_signature"
    assert support.events() == []
    assert db.session.scalars(db.select(AuditEvent.event)).all() == ["WEBHOOK_EASYPOST_REFUSED"]


@pytest.mark.parametrize("scheme", ["both", "body", "timed"])
def test_either_signature_is_enough(client: FlaskClient, fake: FakeEasyPost, scheme: str) -> None:
    event = {"id": "evt_1", "object": "Event", "description": "batch.created"}
    assert post_event(client, event, scheme=scheme).status_code == 200


UPDATED = b'{"id":"evt_1","object":"Event","description":"tracker.updated","result":'


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"null", b"{}", b'{"id":"evt_1"', b"[" * 100_000, b'{"id":"e","id":"f","object":"Event"}',
        b'{"id":"evt_1","object":"Event","description":"tracker.updated"}',
        b'{"id":"evt_1","object":"Event","description":"tracker.updated","result":{"object":"Shipment"}}',
        UPDATED + b'{"object":"Tracker","id":"trk_1","tracking_details":[{"status":"delivered"}]}}',
        UPDATED + b'{"object":"Tracker","id":"trk_1","tracking_details":[{"datetime":"soon"}]}}',
        b'{"id":"evt_\xff","object":"Event"}',
    ],
)  # fmt: skip
def test_a_signed_body_that_is_nonsense_is_refused(client: FlaskClient, fake: FakeEasyPost, body: bytes) -> None:
    headers = delivery.headers(WEBHOOK_SECRET, body, path="/webhooks/easypost")
    assert client.post("/webhooks/easypost", data=body, headers=headers).status_code == 400
    assert support.events() == []


def test_a_body_larger_than_anybody_sends_is_refused(client: FlaskClient, fake: FakeEasyPost) -> None:
    body = b"[" * (256 * 1024 + 1)
    headers = delivery.headers(WEBHOOK_SECRET, body, path="/webhooks/easypost")
    assert client.post("/webhooks/easypost", data=body, headers=headers).status_code == 413


def test_a_hundred_copies_at_once_have_one_effect(
    app: Flask, client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    event = told(fake, shipment, "delivered")
    body = json.dumps(event).encode()
    headers = delivery.headers(WEBHOOK_SECRET, body, path="/webhooks/easypost")

    def post() -> tuple[int, str]:
        answer = app.test_client().post("/webhooks/easypost", data=body, headers=headers)
        return answer.status_code, answer.get_json()["status"]

    answers = all_at_once(app, [post] * 100)
    assert {status for status, _word in answers} == {200}
    assert sum(word == "accepted" for _status, word in answers) == 1
    all_at_once(app, [drain_inbox] * 4)
    assert len(support.events()) == 1
    assert support.scans(shipment) == ["delivered"]
    assert (support.current(checked).status, deliveries_of(checked)) == (S.DELIVERED, 1)


def test_a_hundred_events_that_all_say_delivered_deliver_once(
    app: Flask, client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    event = told(fake, shipment, "delivered")
    for number in range(100):
        assert post_event(client, {**event, "id": f"evt_{number}"}).status_code == 200
    all_at_once(app, [drain_inbox] * 4)
    statuses = [status for status, _why in support.events()]
    assert statuses.count(EventStatus.APPLIED) == 1
    assert statuses.count(EventStatus.DUPLICATE) == 99
    assert deliveries_of(checked) == 1
    assert (
        len(db.session.scalars(db.select(MailMessage).where(MailMessage.template == "sales_order_shipped")).all()) == 1
    )


def test_real_deliveries_over_a_socket_are_repeated_until_taken(
    app: Flask, fake: FakeEasyPost, checked: SalesOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first try meets nobody; the company comes again."""
    shipment = support.shipped(checked)
    with Receiver() as receiver:
        receiver.answers = ["503", "503", "200"]
        fake.webhooks.url = receiver.url
        fake.set_webhooks(gaps=(0.01, 0.01, 0.01))
        told(fake, shipment, "in_transit")
        fake.webhooks.wait()
        assert [status for _id, status in fake.webhooks.sent] == [503, 503, 200]
        assert len({request.body for request in receiver.received}) == 1


def test_the_inbox_page_shows_news_beside_payments(
    login: Any, staff: Any, client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    post_event(client, told(fake, shipment, "in_transit"))
    drain_inbox()
    browser = login(staff)
    page = browser.get("/admin/webhooks?provider=easypost").get_data(as_text=True)
    assert "tracker.updated" in page
    event = db.session.scalars(db.select(ProviderEvent)).one()
    one = browser.get(f"/admin/webhooks/{event.id}").get_data(as_text=True)
    assert "in_transit" in one
    assert "X-Hmac-Signature: hmac-sha256-hex=SIGNATURE" in one


def test_an_event_can_be_tried_out_without_effect(
    app: Flask, client: FlaskClient, fake: FakeEasyPost, checked: SalesOrder
) -> None:
    shipment = support.shipped(checked)
    post_event(client, told(fake, shipment, "delivered"))
    db.session.rollback()
    event_id = db.session.scalars(db.select(ProviderEvent.id)).one()
    rehearsed = rehearse_event(event_id, by=support.STAFF, at=clock.now())
    assert rehearsed.result is not None
    assert rehearsed.result.status is EventStatus.APPLIED
    assert support.scans(shipment) == []
    assert support.current(checked).status is S.SHIPPED
