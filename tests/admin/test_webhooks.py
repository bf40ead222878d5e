"""The webhook inbox: finding events, what each says and brought about, running it again, settling it by hand."""

import json
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import audit, outbox
from portal.core.audit import caused_by
from portal.core.db import db, unit_of_work
from portal.core.state import StatusChange, history
from portal.payments.models import EVENT_TRANSITIONS, EventStatus, ProviderEvent
from portal.payments.services import draining
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form

HOSTILE = '</code><script>alert("x")</script>{{7*7}}'


def _status(event: ProviderEvent) -> EventStatus:
    db.session.rollback()
    return db.session.get_one(ProviderEvent, event.id, populate_existing=True).status


def test_an_event_is_found_by_payment_and_by_delivery_key(office: FlaskClient) -> None:
    session = support.make_session()
    support.make_event(session, event_type="wanted.event", delivery_key="evt_wanted_1")
    support.make_event(event_type="other.event", delivery_key="evt_other_1")
    for query in (session.public_id, session.public_id[:8], "evt_wanted_1", "evt_wanted"):
        assert rows(office.get("/admin/webhooks", query_string={"q": query})) == ["wanted.event"]


def test_events_are_filtered(office: FlaskClient) -> None:
    support.make_event(event_type="one", provider="stripe", status=EventStatus.APPLIED)
    support.make_event(event_type="two", provider="sandbox", status=EventStatus.CONFLICT)
    assert rows(office.get("/admin/webhooks?provider=sandbox")) == ["two"]
    assert rows(office.get("/admin/webhooks?status=applied")) == ["one"]
    assert rows(office.get("/admin/webhooks?type=tw")) == ["two"]
    assert rows(office.get("/admin/webhooks?status=nonsense&provider=nobody")) == ["two", "one"]
    assert "Nothing fits these filters" in page(office, "/admin/webhooks?status=failed")


def test_the_list_costs_the_same_with_one_row_and_with_a_hundred(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    support.make_event()
    count_queries()
    office.get("/admin/webhooks")
    with_one = count_queries()
    for _ in range(99):
        support.make_event()
    count_queries()
    office.get("/admin/webhooks")
    assert count_queries() == with_one <= 3


def test_an_event_shows_its_payload_and_facts_as_text(office: FlaskClient) -> None:
    body = json.dumps({"id": "evt_1", "name": HOSTILE})
    event = support.make_event(support.make_session(), body=body, event_type=HOSTILE[:100], verdict=HOSTILE)
    answer = office.get(f"/admin/webhooks/{event.id}")
    raw = answer.get_data(as_text=True)
    assert "<script>alert" not in raw
    assert "&lt;script&gt;alert" in raw
    assert "49 " not in words(answer).split("Payload")[1]
    for part in ("Paid", "PLN 49.00", "cs_1", "pi_1", event.delivery_key):
        assert part in words(answer)


@pytest.mark.parametrize("body", ["", "not json <b>", "[" * 500, '{"a": 1e999}', "\ufffd"])
def test_any_payload_can_be_looked_at(office: FlaskClient, body: str) -> None:
    event = support.make_event(body=body, normalised=[])
    assert "Nothing that we use." in page(office, f"/admin/webhooks/{event.id}")


def test_an_event_shows_what_it_brought_about(office: FlaskClient, alice: User) -> None:
    session = support.make_session()
    event = support.make_event(session, status=EventStatus.APPLIED, verdict="paid")
    other = support.make_event(session)
    with unit_of_work(), caused_by(f"event:{event.id}"):
        outbox.publish("payment_session.check_requested", session_id=session.id)
        audit.record("WEBHOOK_STRIPE_SUCCESS", actor=f"event:{event.id}", subject=f"payment_sessions:{session.id}")
        db.session.add(
            StatusChange(entity="payment_sessions", entity_id=session.id, column="status", was="pending",
                         became="paid", actor=f"event:{event.id}", cause=f"event:{event.id}", at=session.created_at)
        )  # fmt: skip
    text = page(office, f"/admin/webhooks/{event.id}")
    for part in (
        "The payment is settled.",
        "payment_session.check_requested",
        "WEBHOOK_STRIPE_SUCCESS",
        "Payment Paid",
    ):
        assert part in text
    assert "WEBHOOK_STRIPE_SUCCESS" not in page(office, f"/admin/webhooks/{other.id}")


def test_an_event_costs_the_same_however_much_it_brought_about(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    event = support.make_event(support.make_session())
    count_queries()
    office.get(f"/admin/webhooks/{event.id}")
    with_little = count_queries()
    for _ in range(20):
        support.make_message(cause=f"event:{event.id}")
    count_queries()
    office.get(f"/admin/webhooks/{event.id}")
    assert count_queries() == with_little <= 10


@pytest.mark.parametrize("status", [EventStatus.FAILED, EventStatus.UNMATCHED])
def test_a_stuck_event_is_run_again(app: Flask, office: FlaskClient, staff: User, status: EventStatus) -> None:
    event = support.make_event(status=status, session_public_id="nobody", attempts=8, last_error="Traceback: it broke")
    address = f"/admin/webhooks/{event.id}"
    assert "Traceback: it broke" in page(office, address)
    assert post_form(office, f"{address}/run-again", page=address).location == address
    db.session.rollback()
    again = db.session.get_one(ProviderEvent, event.id, populate_existing=True)
    assert (again.status, again.attempts, again.last_error) == (EventStatus.PENDING, 0, None)
    assert [change.actor for change in history(again)] == [staff.email]
    assert [line.subject for line in audited("event.run_again")] == [f"provider_events:{event.id}"]
    draining.drain_inbox()
    assert _status(event) is EventStatus.UNMATCHED


def test_running_again_twice_is_told_how_it_stands(office: FlaskClient) -> None:
    event = support.make_event(status=EventStatus.FAILED)
    address = f"/admin/webhooks/{event.id}"
    post_form(office, f"{address}/run-again", page=address)
    second = post_form(office, f"{address}/run-again", page=address)
    assert second.status_code == 409
    assert "Waiting to be applied" in words(second)
    assert len(audited("event.run_again")) == 1


@pytest.mark.parametrize("status", [EventStatus.CONFLICT, EventStatus.UNMATCHED])
def test_an_event_is_settled_by_hand_with_a_note(office: FlaskClient, staff: User, status: EventStatus) -> None:
    event = support.make_event(status=status, session_public_id="nobody")
    address = f"/admin/webhooks/{event.id}"
    answer = post_form(office, f"{address}/resolve", {"note": "Given back at Stripe <re_1>"}, page=address)
    assert answer.status_code == 303
    assert _status(event) is EventStatus.RESOLVED
    [line] = audited("event.resolved")
    assert (line.actor, line.detail) == (staff.email, "Given back at Stripe <re_1>")
    assert "All is well" in page(office, "/admin")
    assert "Given back at Stripe <re_1>" in page(office, address)
    second = post_form(office, f"{address}/resolve", {"note": "Once more"}, page=address)
    assert second.status_code == 409
    assert "Resolved" in words(second)
    assert len(audited("event.resolved")) == 1


@pytest.mark.parametrize("note", ["", "  ", "ok", "x" * 1001])
@pytest.mark.parametrize("htmx", [False, True])
def test_a_note_is_needed(office: FlaskClient, note: str, htmx: bool) -> None:
    event = support.make_conflict()
    address = f"/admin/webhooks/{event.id}"
    answer = post_form(office, f"{address}/resolve", {"note": note}, page=address, htmx=htmx)
    assert answer.status_code == 422
    assert 'class="form-error"' in answer.get_data(as_text=True)
    assert answer.get_data(as_text=True).lstrip().startswith("<article") is htmx
    assert _status(event) is EventStatus.CONFLICT


@pytest.mark.parametrize("status", list(EventStatus))
@pytest.mark.parametrize("action", ["run-again", "resolve"])
def test_each_action_in_each_state(office: FlaskClient, status: EventStatus, action: str) -> None:
    target = {"run-again": EventStatus.PENDING, "resolve": EventStatus.RESOLVED}[action]
    is_allowed = target in EVENT_TRANSITIONS.get(status, frozenset())
    event = support.make_event(status=status, session_public_id="nobody")
    address = f"/admin/webhooks/{event.id}"
    offered = f"{address}/{action}" in office.get(address).get_data(as_text=True)
    answer = post_form(office, f"{address}/{action}", {"note": "dealt with"}, page="/admin/catalogue/new")
    assert offered is is_allowed
    assert answer.status_code == (303 if is_allowed else 409)
    assert _status(event) is (target if is_allowed else status)


def test_settling_in_the_side_panel_shows_the_panel_afresh(office: FlaskClient) -> None:
    event = support.make_conflict()
    address = f"/admin/webhooks/{event.id}"
    assert f'hx-post="{address}/resolve"' in office.get(address, headers=FRAGMENT).get_data(as_text=True)
    answer = post_form(office, f"{address}/resolve", {"note": "given back"}, page=address, htmx=True)
    assert answer.status_code == 200
    assert "Resolved" in words(answer)
    assert "off the work list" in words(answer)


def test_an_unknown_event_is_not_found(office: FlaskClient) -> None:
    for number in ("999999", "9" * 30, "-1", "x"):
        assert office.get(f"/admin/webhooks/{number}").status_code == 404
    assert post_form(office, "/admin/webhooks/999/resolve", {"note": "abc"}, page="/admin").status_code == 404
