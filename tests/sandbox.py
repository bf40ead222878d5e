"""The sandbox provider in tests: pressing its buttons, and carrying its webhooks without a socket."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from portal.core import clock, outbox
from portal.core.db import db
from portal.payments.providers import standard_webhooks
from portal.payments.providers.sandbox import books, delivery
from portal.payments.providers.sandbox.keys import keys_of
from portal.payments.providers.sandbox.models import SandboxEvent
from portal.payments.services import draining
from tests.browser_like import send_form


@dataclass
class Deliveries:
    """What was posted to the portal: status, headers, body."""

    made: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def statuses(self) -> list[int]:
        """How the portal answered, in order."""
        return [status for status, _headers, _body in self.made]

    @property
    def types(self) -> list[str]:
        """Which events were posted, in order."""
        return [json.loads(body)["type"] for _status, _headers, body in self.made]


@contextmanager
def carried_in_process(app: Flask) -> Iterator[Deliveries]:
    """Inside, the company's webhooks reach the portal through its test client: signed and read as over HTTP."""
    deliveries = Deliveries()

    def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
        path = "/" + url.split("/", 3)[3]
        status = app.test_client().post(path, data=body, headers=dict(headers)).status_code
        deliveries.made.append((status, dict(headers), body))
        return status

    before = app.extensions.get(delivery.POST)
    app.extensions[delivery.POST] = post
    try:
        yield deliveries
    finally:
        app.extensions.pop(delivery.POST)
        if before is not None:
            app.extensions[delivery.POST] = before


def press(browser: FlaskClient, page_url: str, action: str, **fields: Any) -> TestResponse:
    """Press a button of a hosted page, which stands at the address that `start_attempt` gave."""
    path = "/" + page_url.split("/", 3)[3] if "://" in page_url else page_url
    return send_form(browser, path, {"action": action, **fields})


def settle(app: Flask) -> Deliveries:
    """Deliver every webhook that is due, and apply what arrived: what the worker does in a second."""
    with carried_in_process(app) as deliveries:
        outbox.drain(delivery_queue())
    draining.drain_inbox()
    return deliveries


def delivery_queue() -> str:
    """The queue that the company's webhooks wait in."""
    return outbox.subscriptions()[books.EVENT_CREATED].queue


def pay(app: Flask, page_url: str, action: str = "pay_card") -> TestResponse:
    """Go through the hosted page and wait until the payment is applied; returns the redirect back to the shop."""
    response = press(app.test_client(), page_url, action)
    settle(app)
    return response


def events(app: Flask) -> list[SandboxEvent]:
    """Everything the company told or meant to tell, oldest first."""
    return list(
        db.session.scalars(select(SandboxEvent).order_by(SandboxEvent.id).execution_options(populate_existing=True))
    )


def signed(app: Flask, body: bytes, *, webhook_id: str = "evt_1", at: datetime | None = None) -> dict[str, str]:
    """The headers of a delivery that the company could have made."""
    key = keys_of(app.config["SETTINGS"])[0]
    return standard_webhooks.sign(webhook_id, body, key, at=at or clock.now())
