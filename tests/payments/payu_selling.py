"""What the tests of payments at PayU share: a started session, the worker's rounds, notifications posted by hand."""

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.core import clock, outbox
from portal.core.db import db
from portal.core.queues import QueueName
from portal.payments.models import (
    Payment,
    PaymentSession,
    ProviderEvent,
)
from portal.payments.services.draining import drain_inbox
from portal.payments.services.starting import start_attempt
from tests.fakes.payu import SECOND_KEY, FakePayU, sign
from tests.payments import signed

PATH = "/api/v1/webhooks/payu"


def started(fake: FakePayU) -> tuple[PaymentSession, str]:
    """A session on PayU's page, and the order's id."""
    session = signed.make_session()
    start_attempt(session.id, "payu", at=clock.now())
    return session, next(reversed(fake.world.orders))


def fresh(session: PaymentSession) -> PaymentSession:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(PaymentSession, session.id)


def events() -> list[ProviderEvent]:
    db.session.rollback()
    db.session.expire_all()
    return list(db.session.scalars(db.select(ProviderEvent).order_by(ProviderEvent.id)))


def work(fake: FakePayU) -> None:
    """Until nothing is left to do: notifications, the inbox, and what follows from it."""
    for _round in range(3):
        fake.webhooks.wait_idle()
        drain_inbox()
        outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()


def surplus() -> list[str | None]:
    return list(db.session.scalars(db.select(Payment.surplus_reason).order_by(Payment.id)))


def body_of(fake: FakePayU, key: str) -> bytes:
    return next(one.body for one in fake.webhooks.sent if one.key == key)


def post(browser: FlaskClient, body: bytes, header: str | None = None) -> TestResponse:
    """Post a notification by hand, rightly signed unless a header is given."""
    value = sign(body, SECOND_KEY) if header is None else header
    return browser.post(
        PATH, data=body, content_type="application/json", headers={"OpenPayu-Signature": value} if value else {}
    )
