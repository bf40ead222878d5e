"""The sandbox company's books, and the webhooks by which it tells the portal of them."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.config import ConfigurationError
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.money import Money
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.payments.models import (
    PaymentSession,
    ProviderEvent,
    SessionStatus,
)
from portal.payments.providers.base import (
    InvalidSignature,
    Outcome,
    ProviderRejected,
    RecoversEvents,
    RefundRequest,
)
from portal.payments.providers.registry import Registry
from portal.payments.providers.sandbox import books
from portal.payments.providers.sandbox.keys import keys_of
from portal.payments.providers.sandbox.models import SandboxEvent, SandboxPayment
from portal.payments.providers.sandbox.provider import SandboxProvider
from portal.payments.services import draining
from portal.payments.services.starting import start_attempt
from tests import sandbox
from tests.payments.providers.harness import request
from tests.payments.providers.sandbox_pages import count, page_of, reference_of, status_of
from tests.payments.signed import make_session


@pytest.fixture
def session(app: Flask) -> PaymentSession:
    return make_session()


@pytest.fixture
def page_url(session: PaymentSession) -> str:
    return start_attempt(session.id, "sandbox", at=clock.now())


@pytest.fixture
def provider(app: Flask) -> SandboxProvider:
    found = app.extensions["payment_registry"].get("sandbox")
    assert isinstance(found, SandboxProvider)
    return found


def test_every_retry_has_the_same_id_and_body_and_a_fresh_signature(app: Flask, page_url: str) -> None:
    sandbox.press(app.test_client(), page_url, "pay_card")
    tried: list[tuple[dict[str, str], bytes]] = []

    def refuse(_url: str, body: bytes, headers: dict[str, str]) -> int:
        tried.append((dict(headers), body))
        return 503

    app.extensions["sandbox_post"] = refuse
    try:
        for minutes in (0, 10, 60):
            with clock.shifted(timedelta(minutes=minutes)):
                outbox.drain(sandbox.delivery_queue())
    finally:
        app.extensions.pop("sandbox_post")
    assert len(tried) == 3
    assert len({(headers["webhook-id"], body) for headers, body in tried}) == 1
    assert len({headers["webhook-timestamp"] for headers, _body in tried}) == 3
    assert len({headers["webhook-signature"] for headers, _body in tried}) == 3
    with clock.shifted(timedelta(hours=5)):
        assert sandbox.settle(app).statuses == [200]
        assert sandbox.settle(app).made == []
    assert [event.delivered_at is not None for event in sandbox.events(app)] == [True]


def test_a_portal_that_is_away_is_tried_again(app: Flask, page_url: str) -> None:
    # PORTAL_URL of the tests is http://localhost, where nobody listens on port 80.
    sandbox.press(app.test_client(), page_url, "pay_card")
    outbox.drain(sandbox.delivery_queue())
    message = db.session.scalars(select(OutboxMessage).where(OutboxMessage.topic == books.EVENT_CREATED)).one()
    assert message.status is MessageStatus.PENDING
    assert message.last_error is not None
    assert message.last_error.startswith("NotDelivered")
    with clock.shifted(timedelta(minutes=1)):
        assert sandbox.settle(app).statuses == [200]


def test_a_delivered_event_is_not_posted_again(app: Flask, page_url: str) -> None:
    sandbox.pay(app, page_url)
    event_id = sandbox.events(app)[0].id
    with unit_of_work():
        outbox.publish(books.EVENT_CREATED, event_id=event_id)
    assert sandbox.settle(app).made == []


@pytest.mark.parametrize("path", ["/webhooks/sandbox", "/api/v1/webhooks/sandbox"])
def test_a_forged_event_is_refused_and_stores_nothing(
    app: Flask, client: FlaskClient, session: PaymentSession, page_url: str, path: str
) -> None:
    data = {"page": reference_of(page_url), "session_id": session.public_id, "payment": "sbxpay_1", "amount": 4900}
    body = json.dumps({"type": "payment.paid", "created": 1, "data": {**data, "currency": "PLN"}}).encode()
    honest = sandbox.signed(app, body)
    forgeries: list[tuple[dict[str, str], bytes]] = [
        ({}, body),
        ({**honest, "webhook-signature": ""}, body),
        ({**honest, "webhook-signature": honest["webhook-signature"].removeprefix("v1,")}, body),
        ({**honest, "webhook-signature": honest["webhook-signature"].replace("v1,", "v0,")}, body),
        ({**honest, "webhook-signature": " ".join(["v1," + "A" * 43 + "="] * 10_000)}, body),
        ({**honest, "webhook-id": "evt_2"}, body),
        ({**honest, "webhook-timestamp": str(int(honest["webhook-timestamp"]) + 1)}, body),
        (honest, body.replace(b"4900", b"4901")),
        (honest, body + b"\n"),
        (sandbox.signed(app, body, at=clock.now() - timedelta(seconds=310)), body),
        (sandbox.signed(app, body, at=clock.now() + timedelta(seconds=310)), body),
    ]
    for headers, sent in forgeries:
        assert client.post(path, data=sent, headers=headers).status_code == 400, headers
    assert count(ProviderEvent) == 0
    draining.drain_inbox()
    assert status_of(session) is SessionStatus.PENDING
    assert client.post(path, data=body, headers=honest).status_code == 200


def test_an_old_secret_is_believed_until_it_is_retired(app: Flask) -> None:
    settings = app.config["SETTINGS"]
    old, new = "whsec_" + "b2xk" * 8, "whsec_" + "bmV3" * 8
    body = b'{"type":"account.updated","created":1,"data":{}}'
    at = clock.now()

    def registry(secret: str) -> Registry:
        return Registry(replace(settings, sandbox_webhook_secret=secret))

    def signed_with(secret: str) -> dict[str, str]:
        app.config["SETTINGS"] = replace(settings, sandbox_webhook_secret=secret)
        try:
            return sandbox.signed(app, body, at=at)
        finally:
            app.config["SETTINGS"] = settings

    rotating = registry(f"{new}, {old}").get("sandbox")
    for secret in (old, new):
        assert rotating.parse_webhook(signed_with(secret), body, at=at).delivery_key == "evt_1"
    # The new one signs as soon as it stands first.
    assert signed_with(f"{new},{old}") == signed_with(new)
    with pytest.raises(InvalidSignature):
        registry(new).get("sandbox").parse_webhook(signed_with(old), body, at=at)


def test_without_a_secret_each_installation_has_its_own(app: Flask) -> None:
    bare = replace(app.config["SETTINGS"], sandbox_webhook_secret="")
    assert keys_of(bare) == keys_of(bare)
    assert keys_of(bare) != keys_of(replace(bare, secret_key="another-secret-key-0123456789abcdef"))
    assert bare.secret_key.encode() not in keys_of(bare)[0]


@pytest.mark.parametrize("secret", ["whsec_", "whsec_???", "whsec_c2hvcnQ=", "plain text", ",whsec_c2hvcnQ="])
def test_a_secret_that_protects_nothing_stops_the_start(app: Flask, secret: str) -> None:
    with pytest.raises(ConfigurationError, match="SANDBOX_WEBHOOK_SECRET"):
        Registry(replace(app.config["SETTINGS"], sandbox_webhook_secret=secret))


def test_it_does_not_exist_in_production_or_when_switched_off(app: Flask) -> None:
    settings = app.config["SETTINGS"]
    for off in (replace(settings, portal_env="production"), replace(settings, sandbox_enabled=False)):
        assert "sandbox" not in [provider.name for provider in Registry(off).enabled()]
    names = [provider.name for provider in app.extensions["payment_registry"].for_checkout("PLN")]
    assert names[-1] == "sandbox"


def test_a_refund_is_told_and_leaves_a_rest(app: Flask, provider: SandboxProvider, page_url: str) -> None:
    sandbox.pay(app, page_url)
    charge = page_of(page_url).charges[0].reference
    part = provider.refund(RefundRequest(charge, Money(1900, "PLN"), "refund:1", "changed my mind"))
    assert part.status == "succeeded"
    rest = provider.refund(RefundRequest(charge, None, "refund:2", ""))
    assert page_of(page_url).charges[0].refunded_minor == 4900
    assert provider.refund(RefundRequest(charge, None, "refund:2", "")) == rest
    bodies = [json.loads(event.body) for event in sandbox.events(app)]
    refunds = [body["data"] for body in bodies if body["type"] == "payment.refunded"]
    assert [(data["refund"], data["amount"]) for data in refunds] == [(part.reference, 1900), (rest.reference, 3000)]


@pytest.mark.parametrize(
    ("amount", "key", "reason"),
    [
        (Money(4901, "PLN"), "refund:2", "refund_too_large"),
        (Money(0, "PLN"), "refund:2", "refund_too_large"),
        (Money(-1, "PLN"), "refund:2", "refund_too_large"),
        (Money(100, "USD"), "refund:2", "currency_mismatch"),
        (Money(200, "PLN"), "refund:1", "idempotency_conflict"),
    ],
)
def test_a_refund_that_cannot_be_is_refused(
    app: Flask, provider: SandboxProvider, page_url: str, amount: Money, key: str, reason: str
) -> None:
    sandbox.pay(app, page_url)
    charge = page_of(page_url).charges[0].reference
    provider.refund(RefundRequest(charge, Money(100, "PLN"), "refund:1", ""))
    with pytest.raises(ProviderRejected) as refusal:
        provider.refund(RefundRequest(charge, amount, key, ""))
    assert refusal.value.reason == reason
    assert page_of(page_url).charges[0].refunded_minor == 100


def test_one_attempt_started_many_times_at_once_has_one_page(app: Flask, provider: SandboxProvider) -> None:
    wanted = request()
    start = Barrier(8)

    def begin(_number: int) -> str:
        with app.app_context():
            start.wait()
            return provider.start(wanted).reference

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(begin, range(8)))) == 1
    assert count(SandboxPayment) == 1


def test_lost_events_can_be_listed(app: Flask, provider: SandboxProvider, page_url: str) -> None:
    assert isinstance(provider, RecoversEvents)
    at = clock.now()
    sandbox.pay(app, page_url, "pay_untold")
    assert list(provider.recover_events(at - timedelta(hours=1))) == []  # It may be on its way.
    with clock.shifted(timedelta(minutes=2)):
        found = list(provider.recover_events(at - timedelta(hours=1)))
        assert list(provider.recover_events(clock.now())) == []
    assert [event.parsed.events[0].outcome for event in found] == [Outcome.PAID]
    event = sandbox.events(app)[0]
    assert (found[0].parsed.delivery_key, found[0].body) == (event.webhook_id, event.body.encode())


def test_delivered_events_are_not_lost(app: Flask, provider: SandboxProvider, page_url: str) -> None:
    at = clock.now()
    sandbox.pay(app, page_url)
    with clock.shifted(timedelta(minutes=2)):
        assert list(provider.recover_events(at - timedelta(hours=1))) == []


def test_the_webhook_says_exactly_what_the_books_say(app: Flask, provider: SandboxProvider, page_url: str) -> None:
    with sandbox.carried_in_process(app) as deliveries:
        sandbox.press(app.test_client(), page_url, "pay_card")
        outbox.drain(sandbox.delivery_queue())
    _status, headers, body = deliveries.made[0]
    fact = provider.parse_webhook(headers, body, at=clock.now()).events[0]
    assert fact == provider.fetch(reference_of(page_url)).event


def test_a_cancelled_page_says_so_the_same_way_when_asked(app: Flask, provider: SandboxProvider, page_url: str) -> None:
    with sandbox.carried_in_process(app) as deliveries:
        sandbox.press(app.test_client(), page_url, "cancel")
        outbox.drain(sandbox.delivery_queue())
    _status, headers, body = deliveries.made[0]
    fact = provider.parse_webhook(headers, body, at=clock.now()).events[0]
    found = provider.fetch(reference_of(page_url)).event
    assert found is not None
    assert replace(fact, occurred_at=None) == found


_MALFORMED: dict[str, Callable[[dict[str, object]], object]] = {
    "no page": lambda data: data.pop("page"),
    "no session": lambda data: data.pop("session_id"),
    "no payment": lambda data: data.pop("payment"),
    "no amount": lambda data: data.pop("amount"),
    "amount is text": lambda data: data.update(amount="4900"),
    "amount is broken": lambda data: data.update(amount=49.5),
    "currency in lower case": lambda data: data.update(currency="pln"),
    "currency is a number": lambda data: data.update(currency=985),
}


@pytest.mark.parametrize("change", _MALFORMED.values(), ids=_MALFORMED.keys())
def test_a_signed_event_that_lacks_something_is_refused(
    app: Flask, client: FlaskClient, change: Callable[[dict[str, object]], object]
) -> None:
    data: dict[str, object] = {
        "page": "sbx_1", "session_id": "s", "payment": "sbxpay_1", "amount": 4900, "currency": "PLN", "test": True,
    }  # fmt: skip
    change(data)
    body = json.dumps({"type": "payment.paid", "created": 1, "data": data}).encode()
    assert client.post("/webhooks/sandbox", data=body, headers=sandbox.signed(app, body)).status_code == 400
    assert count(ProviderEvent) == 0


def test_its_events_have_a_place_in_the_page(app: Flask, client: FlaskClient, page_url: str) -> None:
    sandbox.pay(app, page_url)
    text = client.get(page_url).get_data(as_text=True)
    assert "payment.paid" in text
    assert "delivered" in text
    assert count(SandboxEvent) == 1
