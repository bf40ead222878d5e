"""Merchants for tests: made by the services, with keys, sessions and payments by the front door."""

import uuid
from datetime import datetime
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.money import Money
from portal.core.queues import QueueName
from portal.merchants.models import ApiKey, Merchant
from portal.merchants.services import keys, merchants
from portal.merchants.services.merchants import MerchantValues
from portal.merchants.services.selling import SessionWish, open_session
from portal.payments.models import PaymentSession
from portal.payments.services import draining
from tests import sandbox
from tests.browser_like import send_form

SESSIONS = "/api/v1/sessions"
WISH = {"amount_minor": 4900, "currency": "PLN", "success_url": "https://shop.example.com/thanks"}


def make_merchant(owner: User, *, name: str = "Kawiarnia Miś", **values: Any) -> Merchant:
    """An active merchant that this user looks after."""
    wanted = MerchantValues(name=name, contact_email=values.pop("contact_email", "shop@example.com"), **values)
    with unit_of_work():
        return merchants.create_merchant(owner.email, wanted, by="staff@example.com", at=clock.now())


def make_key(
    merchant: Merchant,
    *,
    mode: str = "test",
    scopes: tuple[str, ...] = keys.ALL_SCOPES,
    expires_at: datetime | None = None,
    label: str = "Till",
) -> tuple[ApiKey, str]:
    """A key and its secret."""
    with unit_of_work():
        return keys.create_key(
            merchant, mode=mode, label=label, scopes=scopes, expires_at=expires_at, by="alice@example.com",
            at=clock.now(),
        )  # fmt: skip


def make_session(merchant: Merchant, *, amount_minor: int = 4900, mode: str = "test", **values: Any) -> PaymentSession:
    """Something to be paid to a merchant."""
    wish = SessionWish(amount=Money(amount_minor, values.pop("currency", "PLN")), mode=mode, **values)
    with unit_of_work():
        return open_session(merchant, wish, by="tests", at=clock.now(), public_id=str(uuid.uuid4()))


def bearer(secret: str, **headers: str) -> dict[str, str]:
    """The headers of a program."""
    return {"Authorization": f"Bearer {secret}", **headers}


def post(client: FlaskClient, secret: str, body: Any = None, **headers: str) -> TestResponse:
    """Ask for a session as a program does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(SESSIONS, json=WISH if body is None else body, headers=bearer(secret, **named))


def get(client: FlaskClient, secret: str, address: str = SESSIONS) -> TestResponse:
    """Read as a program does."""
    return client.get(address, headers=bearer(secret))


def choose(client: FlaskClient, public_id: str, provider: str = "sandbox") -> TestResponse:
    """Choose a provider on the pay page."""
    return send_form(client, f"/pay/{public_id}", {"provider": provider})


def pay(app: Flask, client: FlaskClient, public_id: str, action: str = "pay_card") -> TestResponse:
    """Go from the pay page through the provider's page, and have the payment applied."""
    sent = choose(client, public_id)
    assert sent.status_code == 303, sent.get_data(as_text=True)
    pressed = sandbox.press(client, sent.location, action)
    sandbox.settle(app)
    look_again()
    return pressed


def send_mail() -> None:
    """Have every mail that waits sent."""
    outbox.drain(QueueName.MAIL)
    look_again()


def work(app: Flask) -> None:
    """What the worker would do, mail excepted."""
    with sandbox.carried_in_process(app):
        for _round in range(3):
            for queue in QueueName:
                if queue is not QueueName.MAIL:
                    outbox.drain(queue)
            draining.drain_inbox()
    look_again()


def look_again() -> None:
    """Forget what was read before."""
    db.session.rollback()
    db.session.expire_all()


def all_of(model: Any) -> list[Any]:
    """Every row of a table, oldest first."""
    look_again()
    return list(db.session.scalars(select(model).order_by(model.id)))


def error_of(answer: TestResponse) -> dict[str, Any]:
    """The error of an answer."""
    body: dict[str, dict[str, Any]] = answer.get_json()
    return body["error"]


def fields_of(answer: TestResponse) -> dict[str, str]:
    """The wrong fields of an answer with their codes."""
    return {field["field"]: field["code"] for field in error_of(answer)["fields"]}
