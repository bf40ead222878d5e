"""Delivering the sandbox company's webhooks: signed, over HTTP, and again until the portal says yes."""

from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import cast
from urllib.parse import urlsplit

import structlog
from flask import current_app

from portal.core import clock, outbox, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.queues import QueueName
from portal.payments.providers import standard_webhooks
from portal.payments.providers.sandbox import books
from portal.payments.providers.sandbox.keys import keys_of
from portal.payments.providers.sandbox.models import SandboxEvent

log = structlog.get_logger(__name__)

PATH = "/webhooks/sandbox"
_SECONDS = 10
# Where tests put another way to post; see `tests/sandbox.py`.
POST = "sandbox_post"
Post = Callable[[str, bytes, Mapping[str, str]], int]


class NotDelivered(Exception):
    """The portal did not say yes, so the event will be sent again."""


# Not the queue of the inbox and of the checks: a portal that hangs must not hold up what would find the money anyway.
@outbox.handles(books.EVENT_CREATED, queue=QueueName.DEFAULT)
def deliver(event_id: int) -> None:
    """Post one event. Each try has the same id and body, and a fresh time and signature. Raises NotDelivered."""
    event = db.session.get_one(SandboxEvent, event_id, populate_existing=True)
    if event.delivered_at is not None:
        return
    webhook_id, body = event.webhook_id, event.body.encode()
    stop_reading()
    conditions = settings.current()
    headers = {
        "Content-Type": "application/json",
        **standard_webhooks.sign(webhook_id, body, keys_of(conditions)[0], at=clock.now()),
    }
    post = cast("Post", current_app.extensions.get(POST, post_over_http))
    try:
        status = post(conditions.portal_url.rstrip("/") + PATH, body, headers)
    except (OSError, HTTPException) as error:
        raise NotDelivered(f"{type(error).__name__}: {error}") from error
    log.info("sandbox_webhook", webhook_id=webhook_id, status=status)
    if not 200 <= status < 300:
        raise NotDelivered(f"the portal answered {status}")
    with unit_of_work():
        db.session.get_one(SandboxEvent, event_id, populate_existing=True).delivered_at = clock.now()


def post_over_http(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Post and return the status; redirects are not followed, as a provider does not. Raises OSError, HTTPException."""
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = connect(parts.hostname or "localhost", parts.port, timeout=_SECONDS)
    try:
        connection.request("POST", parts.path, body=body, headers=dict(headers))
        response = connection.getresponse()
        response.read(64 * 1024)
        return response.status
    finally:
        connection.close()
