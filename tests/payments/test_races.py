"""A hundred deliveries at one moment; each race has a control twin that shows the bug with the guard off."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import attributes

from portal.core import faults
from portal.core.db import db
from portal.payments.models import Invoice, Payment, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.services import draining, settling
from tests.crowd import all_at_once
from tests.payments import signed
from tests.payments.conftest import Sold

CROWD = 100


def test_one_event_a_hundred_times_at_once_is_one_row_and_one_sale(app: Flask, sold: Sold) -> None:
    session = signed.make_session()
    event = signed.checkout_event(session)
    answers = all_at_once(app, [lambda: signed.post_from_new_context(app, event)] * CROWD)
    assert answers == [200] * CROWD
    draining.drain_inbox()
    assert db.session.scalars(db.select(ProviderEvent)).one().delivery_key == event["id"]
    assert sold.settled == [session.id]


def test_two_kinds_of_paid_fifty_times_each_settle_once(app: Flask, sold: Sold) -> None:
    session = signed.make_session()
    work: list[Callable[[], Any]] = []
    for _ in range(CROWD // 2):
        first, second = signed.checkout_event(session), signed.intent_event(session)
        work.append(lambda event=first: signed.post_from_new_context(app, event))  # type: ignore[misc]  # bound now
        work.append(lambda event=second: signed.post_from_new_context(app, event))  # type: ignore[misc]  # bound now
    drainers: list[Callable[[], Any]] = [draining.drain_inbox] * 4
    answers = all_at_once(app, work + drainers)
    assert len(answers) == CROWD + 4
    draining.drain_inbox()
    assert sold.settled == [session.id]
    assert len(db.session.scalars(db.select(Payment)).all()) == 1
    assert len(db.session.scalars(db.select(Invoice)).all()) == 1


@contextmanager
def without_guards(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settling as it would be without its locks, its compare-and-set and the unique keys of the database."""

    def careless_find(provider: str, fact: Any) -> PaymentSession | None:
        found = db.session.scalars(db.select(PaymentSession).where(PaymentSession.public_id == fact.session_id)).first()
        time.sleep(0.3)
        return found

    def careless_transition(row: Any, to: Any, **_: Any) -> None:
        attributes.set_committed_value(row, "status", to)

    monkeypatch.setattr(settling, "find_session", careless_find)
    monkeypatch.setattr(settling, "transition", careless_transition)
    monkeypatch.setattr(draining, "lock_sessions", lambda _events: {})
    with db.engine.begin() as connection:
        connection.execute(text("DROP INDEX uq_payments_counted"))
        connection.execute(text("ALTER TABLE payments DROP CONSTRAINT uq_payments_business_key"))
        connection.execute(text("ALTER TABLE invoices DROP CONSTRAINT uq_invoices_session_id"))
    yield
    with db.engine.begin() as connection:
        connection.execute(text("DELETE FROM invoice_lines"))
        connection.execute(text("DELETE FROM invoices"))
        connection.execute(text("DELETE FROM payments"))
        connection.execute(
            text("CREATE UNIQUE INDEX uq_payments_counted ON payments (session_id) WHERE standing = 'counted'")
        )
        connection.execute(text("ALTER TABLE payments ADD CONSTRAINT uq_payments_business_key UNIQUE (business_key)"))
        connection.execute(text("ALTER TABLE invoices ADD CONSTRAINT uq_invoices_session_id UNIQUE (session_id)"))


# SQLite lets one writer in at a time and cannot show this bug; its guard, BEGIN IMMEDIATE, has its own control.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_guards_one_payment_settles_twice(
    app: Flask, client: FlaskClient, sold: Sold, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = signed.make_session()
    events = [signed.checkout_event(session), signed.intent_event(session)]
    for event in events:
        signed.post(client, event)
    monkeypatch.setattr(draining, "BATCH", 1)
    with without_guards(app, monkeypatch):
        all_at_once(app, [draining._drain_batch, draining._drain_batch])
    assert sold.settled == [session.id, session.id]


def test_a_worker_killed_while_settling_loses_and_doubles_nothing(client: FlaskClient, app: Flask, sold: Sold) -> None:
    """The connection dies at the last moment, as with SIGKILL: the database rolls back, another worker does it."""
    session = signed.make_session()
    signed.post(client, signed.checkout_event(session))

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with faults.arm("settle-before-commit", die), pytest.raises(Killed):
        draining.drain_inbox()
    db.session.expire_all()
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.CREATED
    sold.settled.clear()
    draining.drain_inbox()
    db.session.expire_all()
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.PAID
    assert sold.settled == [session.id]
