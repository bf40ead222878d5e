"""The sandbox's postman on a real connection: what it posts, and which answers it takes for a yes."""

import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask import Flask

from portal.core import clock, outbox
from portal.core.db import db
from portal.payments.providers import standard_webhooks
from portal.payments.providers.sandbox import books, delivery
from portal.payments.providers.sandbox.keys import keys_of
from portal.payments.services.starting import start_attempt
from tests import sandbox
from tests.fakes.serving import serving
from tests.payments.signed import make_session


class Portal(ThreadingHTTPServer):
    """A stand-in for the portal that notes what it gets and answers as it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = 200
        self.delay = 0.0
        self.got: list[tuple[str, dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Portal

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        time.sleep(self.server.delay)
        self.send_response(self.server.answer)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
        """Say nothing."""


@pytest.fixture
def portal(app: Flask) -> Iterator[Portal]:
    server = Portal()
    before = app.config["SETTINGS"]
    with serving(server) as address:
        app.config["SETTINGS"] = replace(before, portal_url=f"{address}/")
        yield server
    app.config["SETTINGS"] = before


@pytest.fixture
def event_id(app: Flask) -> int:
    """An event that waits to be delivered."""
    url = start_attempt(make_session().id, "sandbox", at=clock.now())
    sandbox.press(app.test_client(), url, "pay_card")
    return sandbox.events(app)[0].id


def is_delivered(app: Flask) -> bool:
    return sandbox.events(app)[0].delivered_at is not None


def test_it_posts_a_signed_body_to_the_portals_address(app: Flask, portal: Portal, event_id: int) -> None:
    delivery.deliver(event_id=event_id)
    event = sandbox.events(app)[0]
    path, headers, body = portal.got[0]
    assert (path, headers["content-type"], body) == ("/webhooks/sandbox", "application/json", event.body.encode())
    keys = keys_of(app.config["SETTINGS"])
    assert standard_webhooks.verify(headers, body, keys, at=clock.now()) == event.webhook_id
    assert is_delivered(app)
    delivery.deliver(event_id=event_id)
    assert len(portal.got) == 1


@pytest.mark.parametrize("answer", [200, 201, 204])
def test_a_yes_is_any_2xx(app: Flask, portal: Portal, event_id: int, answer: int) -> None:
    portal.answer = answer
    delivery.deliver(event_id=event_id)
    assert is_delivered(app)


@pytest.mark.parametrize("answer", [301, 302, 307, 400, 404, 409, 413, 500, 503])
def test_everything_else_is_tried_again(app: Flask, portal: Portal, event_id: int, answer: int) -> None:
    portal.answer = answer
    with pytest.raises(delivery.NotDelivered, match=str(answer)):
        delivery.deliver(event_id=event_id)
    # A redirect is not followed: it would carry the event to somebody else.
    assert [path for path, _headers, _body in portal.got] == ["/webhooks/sandbox"]
    assert not is_delivered(app)


def test_a_portal_that_hangs_is_left(
    app: Flask, portal: Portal, event_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "_SECONDS", 0.2)
    portal.delay = 1.0
    began = time.monotonic()
    with pytest.raises(delivery.NotDelivered, match="TimeoutError"):
        delivery.deliver(event_id=event_id)
    assert time.monotonic() - began < 0.9
    assert not is_delivered(app)


def test_no_connection_of_the_database_is_held_meanwhile(app: Flask, event_id: int) -> None:
    held: list[bool] = []

    def look(_url: str, _body: bytes, _headers: object) -> int:
        held.append(db.session().in_transaction())
        return 200

    app.extensions[delivery.POST] = look
    try:
        delivery.deliver(event_id=event_id)
    finally:
        app.extensions.pop(delivery.POST)
    assert held == [False]


def test_a_hanging_portal_does_not_hold_up_what_would_find_the_money() -> None:
    queues = {topic: found.queue for topic, found in outbox.subscriptions().items()}
    assert queues[books.EVENT_CREATED] != queues["payment_session.check_requested"]
