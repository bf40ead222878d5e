"""Sending a buyer to the provider: one page a session, whatever the network does."""

import threading
from datetime import timedelta

import pytest
from flask import Flask

from portal.core import clock
from portal.core.db import db
from portal.payments.errors import SessionClosed
from portal.payments.models import AttemptStatus, PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.providers.base import ProviderRejected, ProviderUnavailable
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.checking import check_session
from portal.payments.services.starting import start_attempt
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


def test_starting_twenty_times_at_once_opens_one_page(app: Flask, fake_stripe: FakeStripe) -> None:
    session = signed.make_session()
    barrier = threading.Barrier(20)
    urls: list[str] = []

    def start() -> None:
        with app.app_context():
            barrier.wait()
            try:
                urls.append(start_attempt(session.id, "stripe", at=clock.now()))
            except ProviderUnavailable:
                # Stripe answers a key that is in use with a conflict: "ask again" is an honest answer.
                urls.append("ask again")
            finally:
                db.session.remove()

    threads = [threading.Thread(target=start) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(urls) == 20
    assert len(set(urls) - {"ask again"}) == 1
    assert opened_pages(fake_stripe) == 1
    assert len(attempts()) == 1


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
