"""Sending a buyer to the provider: one page a session, whatever the network does."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from portal.core import clock
from portal.core.db import db
from portal.payments.errors import SessionClosed
from portal.payments.models import AttemptStatus, PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.providers.base import ProviderRejected, ProviderUnavailable, StartRequest
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services import starting
from portal.payments.services.checking import check_session
from portal.payments.services.starting import start_attempt
from tests.crowd import all_at_once
from tests.fakes.stripe import FakeStripe
from tests.payments import signed


def attempts() -> list[PaymentAttempt]:
    db.session.expire_all()
    return list(db.session.scalars(db.select(PaymentAttempt).order_by(PaymentAttempt.id)))


def opened_pages(fake: FakeStripe) -> int:
    return len(fake.world.all("checkout.session"))


def test_a_started_attempt_has_a_page_and_the_session_is_pending(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    url = start_attempt(session.id, "stripe", at=clock.now())
    assert url.startswith(fake_stripe.url)
    (attempt,) = attempts()
    assert (attempt.status, attempt.redirect_url) == (AttemptStatus.OPEN, url)
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.PENDING
    (page,) = fake_stripe.world.all("checkout.session")
    assert (page["amount_total"], page["currency"]) == (4900, "pln")
    assert page["metadata"]["session_id"] == session.public_id


def test_starting_again_gives_the_page_that_is_open(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    first = start_attempt(session.id, "stripe", at=clock.now())
    assert start_attempt(session.id, "stripe", at=clock.now()) == first
    assert opened_pages(fake_stripe) == 1


def start_at_once(app: Flask, count: int) -> list[Any]:
    """One session is started so many times at once: the address that each got, or what it was told."""
    number = signed.make_session().id
    db.session.rollback()
    return all_at_once(app, [lambda: start_attempt(number, "stripe", at=clock.now())] * count)


def test_starting_twenty_times_at_once_opens_one_page(app: Flask, fake_stripe: FakeStripe) -> None:
    answers = start_at_once(app, 20)
    # Stripe answers a key that is in use with a conflict: "ask again" is an honest answer.
    urls = [one for one in answers if not isinstance(one, ProviderUnavailable)]
    assert set(urls) == {attempts()[0].redirect_url}, answers
    assert opened_pages(fake_stripe) == 1
    assert len(attempts()) == 1


def without_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who start look at the session before either has written: neither sees the other's try."""
    both_have_looked, looked, lock = threading.Barrier(2, timeout=20), set[threading.Thread](), starting._locked

    def careless_look(session_id: int) -> PaymentSession:
        if threading.current_thread() in looked:
            return lock(session_id)
        looked.add(threading.current_thread())
        found = db.session.get_one(PaymentSession, session_id)
        assert found.attempts == []
        both_have_looked.wait()
        return found

    monkeypatch.setattr(starting, "_locked", careless_look)


@contextmanager
def without_unique_tries() -> Iterator[None]:
    """The database keeps two tries of one number, and of one key."""
    keys = {"session_id_number": "session_id, number", "idempotency_key": "idempotency_key"}
    with db.engine.begin() as connection:
        for name in keys:
            connection.execute(text(f"ALTER TABLE payment_attempts DROP CONSTRAINT uq_payment_attempts_{name}"))
    try:
        yield
    finally:
        db.session.rollback()
        with db.engine.begin() as connection:
            connection.execute(text("DELETE FROM payment_attempts"))
            for name, columns in keys.items():
                added = f"ADD CONSTRAINT uq_payment_attempts_{name} UNIQUE ({columns})"
                connection.execute(text(f"ALTER TABLE payment_attempts {added}"))


# SQLite lets one writer in at a time and cannot show this bug; its guard, BEGIN IMMEDIATE, has its own control.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_lock_one_of_two_gets_no_page(
    app: Flask, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database's own keys still keep it at one try; only the lock lets the other have its page."""
    without_the_lock(monkeypatch)
    answers = start_at_once(app, 2)
    assert [type(one).__name__ for one in answers if not isinstance(one, str)] == ["IntegrityError"]
    assert (len(attempts()), opened_pages(fake_stripe)) == (1, 1)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_guards_two_pages_can_be_paid(
    app: Flask, fake_stripe: FakeStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the lock, the database's keys and the key that makes Stripe give the same page again."""
    ask = starting.request_for

    def ask_anew(session: PaymentSession, attempt: PaymentAttempt, **named: Any) -> StartRequest:
        return replace(ask(session, attempt, **named), idempotency_key=uuid.uuid4().hex)

    without_the_lock(monkeypatch)
    monkeypatch.setattr(starting, "request_for", ask_anew)
    with without_unique_tries():
        answers = start_at_once(app, 2)
        assert len(set(answers)) == 2
        assert {one.redirect_url for one in attempts()} == set(answers)
        assert [one.status for one in attempts()] == [AttemptStatus.OPEN] * 2
    assert opened_pages(fake_stripe) == 2
    assert [page["status"] for page in fake_stripe.world.all("checkout.session")] == ["open"] * 2


def test_a_lost_answer_is_unknown_and_asking_again_finds_the_same_page(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    fake_stripe.control.add_fault("lost_answer", method="POST", times=5)
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "stripe", at=clock.now())
    assert attempts()[0].status is AttemptStatus.UNKNOWN
    assert opened_pages(fake_stripe) == 1
    fake_stripe.control.clear_faults()
    start_attempt(session.id, "stripe", at=clock.now())
    assert opened_pages(fake_stripe) == 1
    assert [one.status for one in attempts()] == [AttemptStatus.OPEN]


def test_a_check_finds_the_page_whose_answer_was_lost(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    fake_stripe.control.add_fault("lost_answer", method="POST", times=5)
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "stripe", at=clock.now())
    fake_stripe.control.clear_faults()
    with clock.shifted(timedelta(minutes=2)):
        check_session(session.id)
    assert [one.status for one in attempts()] == [AttemptStatus.OPEN]
    assert opened_pages(fake_stripe) == 1


def test_an_answered_failure_ends_the_attempt_and_the_next_has_its_own_key(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    fake_stripe.control.add_fault("status", method="POST", status=500, times=1, is_stored=True)
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "stripe", at=clock.now())
    assert attempts()[0].status in (AttemptStatus.FAILED, AttemptStatus.UNKNOWN)
    fake_stripe.control.clear_faults()
    start_attempt(session.id, "stripe", at=clock.now())
    assert attempts()[-1].status is AttemptStatus.OPEN
    assert opened_pages(fake_stripe) == 1


def test_a_provider_that_is_down_leaves_the_session_payable(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    fake_stripe.stop()
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "stripe", at=clock.now())
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.CREATED
    assert attempts()[0].status is AttemptStatus.UNKNOWN


def test_a_refusal_is_told_and_the_attempt_is_over(fake_stripe: FakeStripe) -> None:
    session = signed.make_session(currency="UGX", amount_minor=1)
    fake_stripe.control.add_fault("status", method="POST", status=400)
    with pytest.raises(ProviderRejected):
        start_attempt(session.id, "stripe", at=clock.now())
    assert attempts()[0].status is AttemptStatus.FAILED


def test_a_paid_session_cannot_be_started(fake_stripe: FakeStripe, app: Flask) -> None:
    from portal.payments.services.draining import drain_inbox

    session = signed.make_session()
    signed.post(app.test_client(), signed.checkout_event(session))
    drain_inbox()
    with pytest.raises(SessionClosed):
        start_attempt(session.id, "stripe", at=clock.now())


def test_a_session_past_its_time_cannot_be_started(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    with pytest.raises(SessionClosed):
        start_attempt(session.id, "stripe", at=clock.now() + timedelta(hours=25))


def test_an_unknown_provider_starts_nothing(fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    with pytest.raises(UnknownProvider):
        start_attempt(session.id, "nobody", at=clock.now())
    assert attempts() == []
