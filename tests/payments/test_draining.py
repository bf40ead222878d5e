"""The inbox is worked off in batches; one event's trouble is its own."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock, faults
from portal.core.db import db, unit_of_work
from portal.core.state import InvalidTransition
from portal.payments import hooks
from portal.payments.models import EventStatus, Invoice, Payment, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.services import draining, finding
from tests.crowd import all_at_once, somebody_waits, wait_until
from tests.payments import signed
from tests.payments.conftest import Sold


def statuses() -> list[EventStatus]:
    db.session.expire_all()
    return [event.status for event in db.session.scalars(db.select(ProviderEvent).order_by(ProviderEvent.id))]


def test_a_poison_event_parks_itself_and_the_others_go_on(client: FlaskClient, sold: Sold) -> None:
    sessions = [signed.make_session() for _ in range(5)]
    for session in sessions:
        signed.post(client, signed.checkout_event(session))
    poison = sessions[2].id
    ordinary = sold.on_settled

    def settle(session: PaymentSession, *, at: object) -> None:
        if session.id == poison:
            raise ValueError("this order cannot be fulfilled")
        ordinary(session, at=clock.now())

    hooks.on_settled("test", settle)
    for attempt in range(draining.MAX_ATTEMPTS):
        with clock.shifted(timedelta(days=attempt)):
            draining.drain_inbox()
    assert statuses() == [EventStatus.APPLIED] * 2 + [EventStatus.FAILED] + [EventStatus.APPLIED] * 2
    db.session.expire_all()
    assert db.session.get_one(PaymentSession, poison).status is SessionStatus.CREATED
    numbers = db.session.scalars(db.select(Invoice.number).order_by(Invoice.id)).all()
    assert [number[-5:] for number in numbers] == ["00001", "00002", "00003", "00004"]
    parked = db.session.scalars(db.select(ProviderEvent).where(ProviderEvent.status == EventStatus.FAILED)).one()
    assert "this order cannot be fulfilled" in (parked.last_error or "")
    hooks.on_settled("test", ordinary)
    with unit_of_work():
        draining.run_again(parked.id, by="staff@example.com", at=clock.now())
    draining.drain_inbox()
    # A batch with a poison event is done twice, so the hook may be called twice; what counts is what was committed.
    assert set(sold.settled) == {session.id for session in sessions}
    assert len(db.session.scalars(db.select(Payment)).all()) == 5


def test_only_a_parked_event_can_run_again(client: FlaskClient) -> None:
    signed.post(client, signed.checkout_event(signed.make_session()))
    draining.drain_inbox()
    event = db.session.scalars(db.select(ProviderEvent)).one()
    with pytest.raises(InvalidTransition), unit_of_work():
        draining.run_again(event.id, by="staff@example.com", at=clock.now())


def test_a_conflict_can_be_resolved_once(client: FlaskClient) -> None:
    session = signed.make_session()
    for payment in ("pi_1", "pi_2"):
        signed.post(client, signed.checkout_event(session, payment=payment))
    draining.drain_inbox()
    event = db.session.scalars(db.select(ProviderEvent).where(ProviderEvent.status == EventStatus.CONFLICT)).one()
    with unit_of_work():
        draining.resolve(event.id, by="staff@example.com", at=clock.now(), note="refunded by hand")
    with pytest.raises(InvalidTransition), unit_of_work():
        draining.resolve(event.id, by="staff@example.com", at=clock.now(), note="again")


@pytest.mark.parametrize("point", ["settle-after-session", "settle-after-invoice", "settle-before-commit"])
def test_a_failure_at_any_point_of_settling_leaves_nothing_half_done(
    client: FlaskClient, sold: Sold, point: str
) -> None:
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session))
    with faults.arm(point, "raise"):
        draining.drain_inbox()
    db.session.expire_all()
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.CREATED
    assert db.session.scalars(db.select(Payment)).all() == []
    assert db.session.scalars(db.select(Invoice)).all() == []
    with clock.shifted(timedelta(minutes=1)):
        draining.drain_inbox()
    db.session.expire_all()
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.PAID
    assert db.session.scalars(db.select(Invoice)).one().number.endswith("00001")


def test_four_drainers_at_once_do_each_event_once(app: Flask, client: FlaskClient, sold: Sold) -> None:
    sessions = [signed.make_session() for _ in range(120)]
    for session in sessions:
        signed.post(client, signed.checkout_event(session))
    barrier = threading.Barrier(4)

    def drain() -> None:
        with app.app_context():
            barrier.wait()
            draining.drain_inbox()
            db.session.remove()

    threads = [threading.Thread(target=drain) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    draining.drain_inbox()
    assert sorted(sold.settled) == sorted(session.id for session in sessions)
    assert set(statuses()) == {EventStatus.APPLIED}


def refund_event(session: PaymentSession) -> dict[str, Any]:
    """A refund made elsewhere: it names the payment only."""
    event = signed.checkout_event(session, event_type="refund.created")
    event["data"]["object"] = {
        "id": f"re_{session.public_id}", "object": "refund", "status": "succeeded", "amount": 1000, "currency": "pln",
        "payment_intent": f"pi_{session.public_id}",
    }  # fmt: skip
    return event


def drain_two_batches_that_cross(app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each batch names a session that the other knows by its payment only: refunds that overtook their payments, of a
    wrong amount, and then the right amounts. Returns what was applied one by one after all."""
    sessions = [signed.make_session() for _ in range(2)]
    for session in sessions:
        signed.post(client, refund_event(session))
    draining.drain_inbox()
    for session in sessions:
        signed.post(client, signed.checkout_event(session, amount_minor=session.amount_minor - 1))
    monkeypatch.setattr(draining, "BATCH", 2)
    draining._drain_batch()
    for session in sessions:
        signed.post(client, signed.checkout_event(session, payment=f"pi_again_{session.public_id}"))
    assert statuses() == [EventStatus.PENDING] * 2 + [EventStatus.CONFLICT] * 2 + [EventStatus.PENDING] * 2
    refund_of_one, refund_of_other, _, _, money_of_one, money_of_other = db.session.scalars(
        db.select(ProviderEvent).order_by(ProviderEvent.id)
    )
    with unit_of_work():
        for number, event in enumerate((money_of_one, refund_of_other, money_of_other, refund_of_one)):
            event.available_at = clock.now() - timedelta(minutes=10 - number)
    alone: list[int] = []
    apply_alone = draining._apply_alone

    def applied_alone(event_id: int, at: datetime) -> None:
        alone.append(event_id)
        apply_alone(event_id, at)

    monkeypatch.setattr(draining, "_apply_alone", applied_alone)
    in_the_middle: set[int] = set()

    def linger() -> None:
        in_the_middle.add(threading.get_ident())
        wait_until(lambda: len(in_the_middle) == 2 or somebody_waits())

    with faults.arm("settle-before-commit", linger):
        all_at_once(app, [draining._drain_batch] * 2)
    assert statuses() == [EventStatus.APPLIED] * 2 + [EventStatus.CONFLICT] * 2 + [EventStatus.APPLIED] * 2
    db.session.expire_all()
    assert sorted(db.session.scalars(db.select(Payment.returned_minor))) == [0, 0, 1000, 1000]
    return alone


# SQLite lets one writer in at a time and cannot show this.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_batches_that_know_a_session_by_other_names_do_not_wait_for_each_other(
    app: Flask, client: FlaskClient, sold: Sold, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert drain_two_batches_that_cross(app, client, monkeypatch) == []


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_batch_that_lost_to_another_is_applied_one_by_one(
    app: Flask, client: FlaskClient, sold: Sold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the control of the test above: found when its turn comes, a session is one that the other batch holds."""
    monkeypatch.setattr(finding, "_ids_of", lambda _events: [])
    assert len(drain_two_batches_that_cross(app, client, monkeypatch)) == 2
