"""Events once more: what a rehearsal predicts is what happens, and until then nothing does."""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import Base, db, unit_of_work
from portal.core.queues import connection
from portal.core.rehearsal import Busy, Rehearsed
from portal.core.state import InvalidTransition, history
from portal.payments.models import EventStatus, Payment, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.sandbox import delivery
from portal.payments.services import draining
from portal.payments.services.replaying import (
    Outlook,
    ReplayFailed,
    apply_again,
    may_apply,
    read_again,
    rehearse_event,
)
from tests import factories, sandbox
from tests.admin import support
from tests.crowd import all_at_once
from tests.orders import shop
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.structure.world import everything

BY = "staff@example.com"


def _outside(app: Flask) -> tuple[Any, ...]:
    """What there is beside the database: queues, flags, letters."""
    keys = sorted(key for key in connection().keys("*") if b"LIMIT" not in key)  # type: ignore[union-attr]  # never async
    return keys, sorted(path.name for path in Path(app.config["MAILBOX_PATH"]).glob("*"))


def _event() -> ProviderEvent:
    db.session.rollback()
    return db.session.scalars(
        db.select(ProviderEvent).order_by(ProviderEvent.id.desc()).execution_options(populate_existing=True)
    ).first()  # type: ignore[return-value]  # the test has just stored one


def _rehearsed(event: ProviderEvent) -> Rehearsed[Outlook]:
    return rehearse_event(event.id, by=BY, at=clock.now())


def _bought(app: Flask, browser: FlaskClient) -> ProviderEvent:
    """A guest's payment of a bundle whose webhook has come and was not applied yet."""
    one, two = factories.make_package(price_minor=4900), factories.make_package(price_minor=6900)
    bundle = factories.make_package(price_minor=9900, children=[one, two])
    shop.ready(browser, bundle)
    page = shop.place(browser).location
    sandbox.press(app.test_client(), page, "pay_card")
    with sandbox.carried_in_process(app):
        outbox.drain(sandbox.delivery_queue())
    event = _event()
    assert (event.provider, event.status) == ("sandbox", EventStatus.PENDING)
    return event


def test_a_rehearsed_purchase_changes_nothing_and_predicts_everything(app: Flask, client: FlaskClient) -> None:
    event = _bought(app, client)
    before, outside = everything(), _outside(app)
    rehearsed = rehearse_event(event.id, by=BY, at=clock.now())
    assert rehearsed.error is None
    assert everything() == before
    assert _outside(app) == outside
    draining.drain_inbox()
    after = everything()
    # Row by row: as many new rows in each table as were foretold, and no other table touched.
    foretold = Counter(one.table for one in rehearsed.changes if one.kind == "insert")
    happened = {name: len(after[name]) - len(before[name]) for name in after}
    # A rehearsal stands in for the event itself with a row of its own, unless it may be applied.
    foretold["provider_events"] -= 1
    assert {name: count for name, count in happened.items() if count} == {n: c for n, c in foretold.items() if c > 0}
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {one.table for one in rehearsed.changes}
    for table in ("invoices", "payments", "enrolments", "mail_messages", "outbox_messages", "users", "orders"):
        assert table in changed
    numbers = [one.after("number") for one in rehearsed.changes if one.table == "invoices"]
    assert numbers == [row[1] for row in _rows("invoices", "number")]
    assert rehearsed.result is not None
    assert (rehearsed.result.status, rehearsed.result.verdict) == (EventStatus.APPLIED, "paid")


def _rows(table: str, column: str) -> list[tuple[Any, ...]]:
    found = Base.metadata.tables[table]
    return [tuple(row) for row in db.session.execute(db.select(found.c.id, found.c[column])).all()]


def test_a_rehearsal_talks_to_nobody(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    event = _bought(app, client)
    provider = app.extensions["payment_registry"].get("sandbox")
    for name in ("start", "fetch", "refund", "expire", "recover_events"):
        monkeypatch.setattr(provider, name, lambda *_: pytest.fail("a provider was asked in a rehearsal"), raising=True)
    monkeypatch.setattr(delivery, "post_over_http", lambda *_: pytest.fail("something was posted in a rehearsal"))
    assert _rehearsed(event).error is None


def test_a_rehearsal_of_an_applied_event_finds_it_done(app: Flask, client: FlaskClient) -> None:
    event = _bought(app, client)
    draining.drain_inbox()
    before = everything()
    rehearsed = _rehearsed(event)
    assert rehearsed.result is not None
    assert rehearsed.result.status is EventStatus.DUPLICATE
    assert {one.table for one in rehearsed.changes} == {"provider_events", "status_changes"}
    assert everything() == before
    assert not may_apply(_event())
    with pytest.raises(InvalidTransition), unit_of_work():
        apply_again(event.id, by=BY, at=clock.now())
    assert everything() == before


def test_an_unmatched_event_is_rehearsed_then_applied(app: Flask, client: FlaskClient) -> None:
    body = signed.checkout_event("7d3d0e57-6c1c-4d1e-9a2d-000000000001", amount_minor=4900)
    assert signed.post(client, body).status_code == 404
    event = _event()
    assert event.status is EventStatus.UNMATCHED
    assert _rehearsed(event).result == Outlook(event.id, EventStatus.UNMATCHED, _still_unmatched(event))
    session = signed.make_session()
    with unit_of_work():
        db.session.get_one(PaymentSession, session.id).public_id = "7d3d0e57-6c1c-4d1e-9a2d-000000000001"
    before = everything()
    rehearsed = _rehearsed(event)
    assert everything() == before
    assert rehearsed.result == Outlook(event.id, EventStatus.APPLIED, "paid")
    with unit_of_work():
        outlook = apply_again(event.id, by=BY, at=clock.now())
    assert outlook == rehearsed.result
    event = _event()
    assert event.status is EventStatus.APPLIED
    assert [change.actor for change in history(event)] == [BY, f"event:{event.id}"]
    after = everything()
    assert {name for name in after if after[name] != before[name]} == {one.table for one in rehearsed.changes}


def _still_unmatched(event: ProviderEvent) -> str:
    return f"no payment session {event.session_public_id}"


def test_a_failed_event_says_why_and_stays_failed(app: Flask, client: FlaskClient, sold: Sold) -> None:
    session = signed.make_session()
    sold.trouble = KeyError("no such shelf")
    event = support.make_event(session, status=EventStatus.FAILED, amount_minor=4900, attempts=8)
    before = everything()
    rehearsed = _rehearsed(event)
    assert str(rehearsed.error) == "'no such shelf'"
    with pytest.raises(ReplayFailed, match="no such shelf"), unit_of_work():
        apply_again(event.id, by=BY, at=clock.now())
    assert everything() == before
    sold.trouble = None
    assert _rehearsed(event).error is None
    assert sold.settled == [session.id], "the hook ran in the rehearsal"
    with unit_of_work():
        apply_again(event.id, by=BY, at=clock.now())
    db.session.rollback()
    assert db.session.get_one(PaymentSession, session.id, populate_existing=True).status is SessionStatus.PAID
    assert db.session.scalars(db.select(Payment.event_id)).all() == [event.id]


@pytest.mark.parametrize("status", list(EventStatus))
def test_every_state_can_be_rehearsed_and_only_some_applied(app: Flask, status: EventStatus) -> None:
    session = signed.make_session()
    event = support.make_event(session, status=status, amount_minor=4900)
    before = everything()
    rehearsed = _rehearsed(event)
    assert rehearsed.result is not None
    assert rehearsed.result.verdict == "paid"
    assert everything() == before
    allowed = status in (EventStatus.UNMATCHED, EventStatus.FAILED, EventStatus.IGNORED)
    assert may_apply(event) is allowed
    if not allowed:
        with pytest.raises(InvalidTransition), unit_of_work():
            apply_again(event.id, by=BY, at=clock.now())
        assert everything() == before


def test_an_event_that_was_of_no_use_is_read_anew(app: Flask) -> None:
    """An adapter that has learned to read a type: the stored facts are old, the body is not."""
    session = signed.make_session()
    body = json.dumps(signed.checkout_event(session))
    event = support.make_event(status=EventStatus.IGNORED, body=body, normalised=[], verdict="a type that is not used")
    reading = read_again(event)
    assert (reading.is_fresh, reading.differs) == (True, True)
    assert _rehearsed(event).result == Outlook(event.id, EventStatus.APPLIED, "paid")
    with unit_of_work():
        apply_again(event.id, by=BY, at=clock.now())
    event = _event()
    assert (event.status, event.session_public_id) == (EventStatus.APPLIED, session.public_id)
    assert event.normalised[0]["outcome"] == "paid"
    assert not read_again(event).differs


@pytest.mark.parametrize(
    ("source", "provider", "body", "problem"),
    [
        ("poll", "stripe", "asked: complete", "asked"),
        ("webhook", "stripe", "no JSON any more", "not JSON"),
        ("webhook", "gone", "{}", "switched_off"),
        ("webhook", "stripe", '{"id": "evt_1", "object": "event", "type": "a.type.we.forgot"}', "says_less"),
    ],
)
def test_what_cannot_be_read_again_is_taken_as_it_was_read(
    app: Flask, source: str, provider: str, body: str, problem: str
) -> None:
    session = signed.make_session()
    event = support.make_event(session, provider=provider, body=body, status=EventStatus.FAILED, amount_minor=4900)
    with unit_of_work():
        db.session.get_one(ProviderEvent, event.id).source = source
    reading = read_again(_event())
    assert (reading.is_fresh, reading.problem, reading.differs) == (False, problem, False)
    assert [fact.amount_minor for fact in reading.facts] == [4900]
    rehearsed = _rehearsed(event)
    assert rehearsed.result is not None
    assert rehearsed.result.status is EventStatus.APPLIED


def test_a_stored_signature_is_not_asked_for(app: Flask, client: FlaskClient) -> None:
    """Its time has run out long ago; it was right when the event was stored."""
    session = signed.make_session()
    assert signed.post(client, signed.checkout_event(session)).status_code == 200
    with clock.shifted(timedelta(days=40)):
        assert read_again(_event()).is_fresh


def test_money_that_does_not_fit_is_foretold_as_kept_apart(app: Flask, client: FlaskClient, alice: User) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session, amount_minor=100))
    rehearsed = _rehearsed(_event())
    assert rehearsed.result is not None
    assert (rehearsed.result.status, rehearsed.result.verdict) == (EventStatus.CONFLICT, "wrong_amount")
    [payment] = [one for one in rehearsed.changes if one.table == "payments"]
    assert (payment.after("standing"), payment.after("amount_minor")) == ("surplus", "100")
    assert "invoices" not in {one.table for one in rehearsed.changes}


def test_two_apply_one_event_at_once(app: Flask) -> None:
    session = signed.make_session()
    event = support.make_event(session, status=EventStatus.FAILED, amount_minor=4900)

    def work() -> str:
        with unit_of_work():
            apply_again(event.id, by=BY, at=clock.now())
        return "applied"

    results = all_at_once(app, [work] * 4)
    assert sorted(str(one) for one in results if one == "applied") == ["applied"]
    assert all(one == "applied" or isinstance(one, InvalidTransition) for one in results), results
    db.session.rollback()
    assert db.session.scalar(db.select(db.func.count(Payment.id))) == 1


def test_many_rehearsals_at_once_leave_nothing(app: Flask) -> None:
    session = signed.make_session()
    event = support.make_event(session, status=EventStatus.FAILED, amount_minor=4900)
    before = everything()
    results = all_at_once(app, [lambda: _rehearsed(event)] * 4)
    assert all(isinstance(one, Rehearsed | Busy) for one in results), results
    assert any(isinstance(one, Rehearsed) and one.error is None for one in results)
    assert everything() == before
