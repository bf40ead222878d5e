"""A lost webhook is found by asking, and nothing turns unknown into failed but an answer."""

from datetime import timedelta

import pytest

from portal.core import clock, faults, outbox
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from portal.payments.models import (
    AttemptStatus,
    Payment,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
)
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.services import checking
from portal.payments.services.accepting import Answer, store_event
from portal.payments.services.draining import drain_inbox
from portal.payments.services.starting import start_attempt
from tests.fakes.stripe import FakeStripe
from tests.payments import signed
from tests.payments.conftest import Sold


def started() -> tuple[PaymentSession, str]:
    """A session on the provider's page, and the page's id."""
    session = signed.make_session()
    start_attempt(session.id, "stripe", at=clock.now())
    db.session.expire_all()
    reference = db.session.get_one(PaymentSession, session.id).attempts[0].provider_reference
    assert reference is not None
    return session, reference


def status_of(session: PaymentSession) -> SessionStatus:
    db.session.expire_all()
    return db.session.get_one(PaymentSession, session.id).status


def test_a_lost_webhook_is_found_by_asking(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    fake_stripe.control.pay(reference, lose_webhook=True)
    checking.check_session(session.id)
    drain_inbox()
    assert status_of(session) is SessionStatus.PAID
    assert sold.settled == [session.id]


def test_the_late_webhook_after_asking_counts_nothing_twice(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    fake_stripe.control.pay(reference, lose_webhook=True)
    checking.check_session(session.id)
    checking.check_session(session.id)
    drain_inbox()
    checking.recover_events(at=clock.now())
    drain_inbox()
    types = db.session.scalars(db.select(ProviderEvent.event_type)).all()
    assert {"poll.paid", "checkout.session.completed", "payment_intent.succeeded"} <= set(types)
    assert sold.settled == [session.id]


def hinted(session: PaymentSession, reference: str | None, key: str = "hint-1") -> Answer:
    """A stored message that says only that something happened."""
    fact = NormalisedEvent(Outcome.HINT, session_id=session.public_id, attempt_reference=reference)
    return store_event("stripe", ParsedWebhook(key, "hint", (fact,)), "{}", source="webhook", at=clock.now())


@pytest.mark.parametrize("names_the_attempt", [True, False])
def test_a_hint_is_not_believed_but_followed(fake_stripe: FakeStripe, sold: Sold, names_the_attempt: bool) -> None:
    session, reference = started()
    assert hinted(session, reference if names_the_attempt else None).word == "accepted"
    drain_inbox()
    outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()
    assert sold.settled == []
    fake_stripe.control.pay(reference, lose_webhook=True)
    assert hinted(session, reference if names_the_attempt else None, key="hint-2").word == "accepted"
    drain_inbox()
    outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()
    assert sold.settled == [session.id]


def test_a_hint_that_cannot_be_followed_yet_is_tried_again(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    fake_stripe.control.pay(reference, lose_webhook=True)
    hinted(session, reference)
    drain_inbox()
    fake_stripe.control.add_fault("refused", times=100)
    outbox.drain(QueueName.WEBHOOKS)
    fake_stripe.control.clear_faults()
    with clock.shifted(timedelta(minutes=10)):
        outbox.drain(QueueName.WEBHOOKS)
        drain_inbox()
    assert sold.settled == [session.id]


def test_a_hint_about_a_paid_session_finds_the_second_payment(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    paid = NormalisedEvent(Outcome.PAID, session_id=session.public_id, payment_reference="pi_elsewhere")
    store_event("stripe", ParsedWebhook("evt_paid", "paid", (paid,)), "{}", source="webhook", at=clock.now())
    drain_inbox()
    fake_stripe.control.pay(reference, lose_webhook=True)
    assert hinted(session, reference).word == "accepted"
    outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()
    assert db.session.scalars(db.select(Payment.surplus_reason).order_by(Payment.id)).all() == [None, "second_payment"]


def test_the_ticker_asks_when_the_time_has_come(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    fake_stripe.control.pay(reference, lose_webhook=True)
    assert checking.request_due_checks(at=clock.now()) == 0
    with clock.shifted(timedelta(minutes=3)):
        assert checking.request_due_checks(at=clock.now()) == 1
        assert checking.request_due_checks(at=clock.now()) == 0
        outbox.drain("webhooks")
        drain_inbox()
    assert status_of(session) is SessionStatus.PAID


def test_asking_in_the_same_moment_asks_once(fake_stripe: FakeStripe) -> None:
    session, _ = started()
    at = clock.now()
    for _ in range(2):
        with unit_of_work():
            checking.request_check(session, at=at)
    assert outbox.drain("webhooks") == 1


def test_a_start_whose_process_died_is_looked_at_within_minutes(fake_stripe: FakeStripe) -> None:
    """Killed between recording the try and asking the provider: nobody may wait a day for it."""
    session = signed.make_session()

    class Killed(BaseException):
        pass

    def die() -> None:
        raise Killed

    with faults.arm("start-before-provider", die), pytest.raises(Killed):
        start_attempt(session.id, "stripe", at=clock.now())
    with clock.shifted(timedelta(minutes=3)):
        assert checking.request_due_checks(at=clock.now()) == 1
        outbox.drain("webhooks")
    db.session.expire_all()
    attempt = db.session.get_one(PaymentSession, session.id).attempts[0]
    assert attempt.status is AttemptStatus.OPEN


def test_a_provider_that_is_silent_decides_nothing_even_after_the_deadline(fake_stripe: FakeStripe) -> None:
    session, _ = started()
    fake_stripe.stop()
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
    assert status_of(session) is SessionStatus.PENDING


def test_an_unpaid_page_is_closed_after_the_deadline_and_the_session_fails(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
        drain_inbox()
    assert fake_stripe.world.session(reference)["status"] == "expired"
    assert status_of(session) is SessionStatus.FAILED
    assert sold.failed == [session.id]


def test_a_session_nobody_started_fails_after_its_deadline(fake_stripe: FakeStripe, sold: Sold) -> None:
    session = signed.make_session()
    checking.check_session(session.id)
    assert status_of(session) is SessionStatus.CREATED
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
        checking.check_session(session.id)
    assert status_of(session) is SessionStatus.FAILED
    assert sold.failed == [session.id]


def test_undelivered_events_are_fetched_once(fake_stripe: FakeStripe, sold: Sold) -> None:
    session, reference = started()
    fake_stripe.control.pay(reference, lose_webhook=True)
    first = checking.recover_events(at=clock.now())
    assert first > 0
    assert checking.recover_events(at=clock.now()) == 0
    drain_inbox()
    assert sold.settled == [session.id]
    assert {event.source for event in db.session.scalars(db.select(ProviderEvent))} == {"poll"}


def test_recovering_from_a_provider_that_is_down_is_no_error(fake_stripe: FakeStripe) -> None:
    fake_stripe.stop()
    assert checking.recover_events(at=clock.now()) == 0
