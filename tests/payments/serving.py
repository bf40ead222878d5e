"""The application behind a real server on loopback, for companies that post to it."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

from portal.core import outbox
from portal.core.db import db
from portal.core.queues import QueueName
from portal.payments.models import Payment, PaymentSession, ProviderEvent
from portal.payments.providers.registry import Registry
from portal.payments.services.draining import drain_inbox
from tests.fakes.serving import serving


def served(app: Flask) -> AbstractContextManager[str]:
    """The portal's address while the block lasts."""
    return serving(make_server("127.0.0.1", 0, app, threaded=True))


@contextmanager
def configured(app: Flask, **settings: Any) -> Iterator[None]:
    """The application with other providers while the block lasts."""
    before, config = app.extensions["payment_registry"], dict(app.config)
    changed = replace(app.config["SETTINGS"], **settings)
    app.extensions["payment_registry"] = Registry(changed)
    app.config.update({name.upper(): value for name, value in settings.items()})
    try:
        yield
    finally:
        app.extensions["payment_registry"] = before
        app.config.update({name.upper(): config[name.upper()] for name in settings})


def work() -> None:
    """What the workers would do with what waits."""
    for _round in range(2):
        outbox.drain(QueueName.WEBHOOKS)
        drain_inbox()
    look_again()


def look_again() -> None:
    """Forget what was read before."""
    db.session.rollback()
    db.session.expire_all()


def the_session(session: PaymentSession) -> PaymentSession:
    """A session as the database has it now."""
    look_again()
    return db.session.get_one(PaymentSession, session.id)


def money() -> list[tuple[int, str, str | None]]:
    """Every payment: amount, currency, and why it does not count if so."""
    look_again()
    found = db.session.scalars(db.select(Payment).order_by(Payment.id))
    return [(one.amount_minor, one.currency, one.surplus_reason) for one in found]


def inbox() -> list[tuple[str, str]]:
    """Every event: its type, and what became of it."""
    look_again()
    found = db.session.scalars(db.select(ProviderEvent).order_by(ProviderEvent.id))
    return [(one.event_type, one.status.value) for one in found]
