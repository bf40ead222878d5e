"""Payments at the fake Stripe that can be given back: paid by its page, told by its signed webhooks."""

import uuid
from typing import Any

from flask.testing import FlaskClient

from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.money import Money
from portal.core.queues import QueueName
from portal.payments.models import EventStatus, Payment, PaymentSession, ProviderEvent
from portal.payments.refund_models import CreditNote, Dispute, Refund
from portal.payments.services.draining import drain_inbox
from portal.payments.services.refunding import Wish, request_refund
from portal.payments.services.starting import start_attempt
from tests.fakes.stripe import FakeStripe
from tests.payments import signed

BY = "admin@example.com"


def paid(browser: FlaskClient, fake: FakeStripe, *, times: int = 1, **values: Any) -> PaymentSession:
    """A session whose buyer has paid, once or twice, and whose webhooks were applied."""
    session = signed.make_session(**values)
    start_attempt(session.id, "stripe", at=clock.now())
    db.session.expire_all()
    reference = db.session.get_one(PaymentSession, session.id).attempts[0].provider_reference
    assert reference is not None
    (fake.control.pay_twice if times == 2 else fake.control.pay)(reference)
    deliver(browser, fake)
    look_again()
    return db.session.get_one(PaymentSession, session.id)


def deliver(browser: FlaskClient, fake: FakeStripe, *kinds: str) -> None:
    """Post every event the fake has told so far (of some kinds), really signed, and apply what arrived."""
    for event in reversed(fake.world.all("event")):
        if not kinds or event["type"] in kinds:
            assert signed.post(browser, event).status_code in (200, 404)
    drain_inbox()
    drain_inbox()
    look_again()


def wish(session: PaymentSession, amount_minor: int | None = None, **values: Any) -> Wish:
    """What staff ask for; all that is left unless an amount is given."""
    amount = Money(amount_minor, values.pop("currency", session.currency)) if amount_minor is not None else None
    return Wish((session.id,), key=values.pop("key", uuid.uuid4().hex), amount=amount, **values)


def ask(session: PaymentSession, amount_minor: int | None = None, **values: Any) -> Refund:
    """Record a refund of one payment."""
    with unit_of_work():
        [refund] = request_refund(wish(session, amount_minor, **values), by=BY, at=clock.now())
    return refund


def work() -> None:
    """What the worker does: ask the provider."""
    outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()
    look_again()


def given(session: PaymentSession, amount_minor: int | None = None, **values: Any) -> Refund:
    """A refund that the provider was asked for."""
    refund = ask(session, amount_minor, **values)
    work()
    return fresh(refund)


def look_again() -> None:
    """Forget what was read before."""
    db.session.rollback()
    db.session.expire_all()


def fresh(refund: Refund) -> Refund:
    """A refund as the database has it now."""
    look_again()
    return db.session.get_one(Refund, refund.id)


def refunds() -> list[Refund]:
    """All refunds, oldest first."""
    look_again()
    return list(db.session.scalars(db.select(Refund).order_by(Refund.id)))


def notes() -> list[CreditNote]:
    """All credit notes, oldest first."""
    look_again()
    return list(db.session.scalars(db.select(CreditNote).order_by(CreditNote.id)))


def disputes() -> list[Dispute]:
    """All disputes, oldest first."""
    look_again()
    return list(db.session.scalars(db.select(Dispute).order_by(Dispute.id)))


def payments() -> list[Payment]:
    """All payments, oldest first."""
    look_again()
    return list(db.session.scalars(db.select(Payment).order_by(Payment.id)))


def verdicts(event_type: str) -> list[tuple[EventStatus, str | None]]:
    """What was made of the events of a type, oldest first."""
    look_again()
    found = db.session.scalars(
        db.select(ProviderEvent).where(ProviderEvent.event_type == event_type).order_by(ProviderEvent.id)
    )
    return [(event.status, event.verdict) for event in found]


def at_stripe(fake: FakeStripe) -> list[int]:
    """The refunds the company made, by amount, oldest first; those that failed do not count."""
    return [refund["amount"] for refund in reversed(fake.world.all("refund")) if refund["status"] != "failed"]
