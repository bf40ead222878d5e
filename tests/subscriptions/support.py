"""Subscriptions in tests: a site of alice's, the clock at a chosen day, paying at the sandbox, and what came of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.queues import QueueName
from portal.payments.models import Invoice
from portal.payments.providers.base import Capabilities
from portal.payments.providers.sandbox import books
from portal.payments.services import draining
from portal.sites.models import Site
from portal.subscriptions import jobs
from portal.subscriptions.models import BillingPeriod, Subscription
from tests import factories, sandbox
from tests.browser_like import send_form
from tests.sites.support import make_site


def day(month: int, number: int, hour: int = 10, year: int = 2027) -> datetime:
    """An instant in UTC."""
    return datetime(year, month, number, hour, tzinfo=UTC)


@contextmanager
def standing_at(instant: datetime) -> Iterator[None]:
    """Everything inside happens at this time."""
    with clock.shifted(instant - clock.now()):
        yield


@contextmanager
def without_recurring(app: Flask) -> Iterator[None]:
    """A provider that charges once only, as PayU and the chains do."""
    provider = app.extensions["payment_registry"].get("sandbox")
    before: Capabilities = provider.capabilities
    provider.capabilities = replace(before, recurring=False)
    try:
        yield
    finally:
        provider.capabilities = before


def own_site(owner: User, slug: str = "bakery") -> Site:
    """A site that was bought."""
    return make_site(slug, owner=owner)


def browser_of(app: Flask, user: User) -> FlaskClient:
    """Somebody signed in at this time."""
    browser = app.test_client()
    factories.sign_in(browser, user)
    return browser


def start(app: Flask, user: User, slug: str = "bakery", provider: str = "sandbox") -> TestResponse:
    """Press the button on the site's page that leads to the provider."""
    return send_form(browser_of(app, user), f"/my/sites/{slug}/subscription/pay", {"provider": provider})


def activate(app: Flask, user: User, slug: str = "bakery", action: str = "pay_card") -> str:
    """Go to the provider and pay there; returns the provider's page."""
    sent = start(app, user, slug)
    assert sent.status_code == 303, sent.get_data(as_text=True)
    page = sent.headers["Location"]
    press(app, page, action)
    return page


def press(app: Flask, page: str, action: str) -> None:
    """Press a button of the provider's page, and let everything follow from it."""
    assert sandbox.press(app.test_client(), page, action).status_code == 303
    work(app)


def charge_anyway(app: Flask, page: str) -> None:
    """Have the sandbox charge once more, which it does not for what it was told to end."""
    with unit_of_work():
        books.renew(page.rpartition("/")[2], at=clock.now())
    work(app)


def work(app: Flask) -> None:
    """What the workers would do, mail aside."""
    with sandbox.carried_in_process(app):
        for _round in range(2):
            for queue in (QueueName.WEBHOOKS, QueueName.DEFAULT):
                outbox.drain(queue)
            draining.drain_inbox()
    look_again()


def keep_up(app: Flask) -> None:
    """The periodic work, twice: the second time has nothing to do."""
    for _again in range(2):
        jobs.keep_up()
        work(app)


def look_again() -> None:
    """Forget what was read before."""
    db.session.rollback()
    db.session.expire_all()


def the_subscription() -> Subscription:
    """The one there is, as the database has it."""
    look_again()
    return db.session.scalars(select(Subscription)).one()


def periods() -> list[tuple[str, str]]:
    """What was paid for: from and to, as days in UTC."""
    look_again()
    found = db.session.scalars(select(BillingPeriod).order_by(BillingPeriod.id))
    return [(f"{one.starts_at:%m-%d}", f"{one.ends_at:%m-%d}") for one in found]


def mails(to: str = "alice@example.com") -> list[str]:
    """The mails about subscriptions, oldest first, with the day of the grace where they have one."""
    look_again()
    found = db.session.scalars(select(MailMessage).where(MailMessage.to == to).order_by(MailMessage.id))
    names = [(one.template.removeprefix("subscription_"), one.params.get("day")) for one in found]
    return [name if number is None else f"{name}:{number}" for name, number in names]


def invoices() -> list[Invoice]:
    """Every invoice, oldest first."""
    look_again()
    return list(db.session.scalars(select(Invoice).order_by(Invoice.id)))


def site_status(slug: str = "bakery") -> str:
    """Whether changes and a domain are open: owned or active."""
    look_again()
    return db.session.scalars(select(Site).where(Site.slug == slug)).one().status.value
