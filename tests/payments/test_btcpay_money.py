"""BTCPay through the money core: whatever its webhooks are answered, no coin is lost."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from portal.payments.models import EventStatus, Payment, PaymentAttempt, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.registry import Registry
from portal.payments.services import checking
from portal.payments.services.draining import drain_inbox, rematch_unmatched
from portal.payments.services.starting import start_attempt
from tests.fakes.btcpay import FakeBTCPay, sign
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.payments.providers.btcpay_support import event

HOOK = "/api/v1/webhooks/btcpay"


@pytest.fixture
def fake(app: Flask) -> Iterator[FakeBTCPay]:
    """A BTCPay Server that the application calls."""
    with FakeBTCPay() as running:
        settings = replace(
            app.config["SETTINGS"],
            btcpay_url=running.url,
            btcpay_api_key=running.api_key,
            btcpay_store_id=running.store_id,
            btcpay_webhook_secret=running.secret,
        )
        before = app.extensions["payment_registry"]
        app.extensions["payment_registry"] = Registry(settings)
        yield running
        app.extensions["payment_registry"] = before


def started() -> tuple[PaymentSession, str]:
    session = signed.make_session()
    start_attempt(session.id, "btcpay", at=clock.now())
    reference = db.session.scalars(db.select(PaymentAttempt.provider_reference)).one()
    assert reference is not None
    return session, reference


def post(client: FlaskClient, fake: FakeBTCPay, body: bytes, path: str = HOOK) -> tuple[int, str]:
    answer = client.post(path, data=body, headers={"BTCPay-Sig": sign(body, fake.secret)})
    return answer.status_code, answer.json["status"] if answer.json and "status" in answer.json else ""


def deliver(client: FlaskClient, fake: FakeBTCPay) -> None:
    """Post everything that happened, and let the workers work."""
    for happened in fake.webhooks.events:
        post(client, fake, json.dumps(happened).encode())
    work()


def work() -> None:
    drain_inbox()
    outbox.drain(QueueName.WEBHOOKS)
    drain_inbox()
    db.session.expire_all()


def money() -> list[tuple[int, str, str | None]]:
    payments = db.session.scalars(db.select(Payment).order_by(Payment.id))
    return [(one.amount_minor, one.standing.value, one.surplus_reason) for one in payments]


def session_status(session: PaymentSession) -> SessionStatus:
    db.session.expire_all()
    return db.session.get_one(PaymentSession, session.id).status


@pytest.mark.parametrize(
    ("actions", "status", "expected"),
    [
        (["pay"], SessionStatus.PAID, [(4900, "counted", None)]),
        (["unconfirmed"], SessionStatus.PENDING, []),
        (["half", "half"], SessionStatus.PAID, [(4900, "counted", None)]),
        (["double"], SessionStatus.PAID, [(4900, "counted", None), (4900, "surplus", "second_payment")]),
        (["expire"], SessionStatus.FAILED, []),
        (["half", "expire"], SessionStatus.FAILED, [(2450, "surplus", "wrong_amount")]),
        (["late"], SessionStatus.FAILED, [(4900, "surplus", "after_failure")]),
    ],
    ids=["paid", "unconfirmed", "two halves", "double", "expired", "half, expired", "late"],
)
def test_every_coin_ends_where_staff_see_it(
    client: FlaskClient,
    fake: FakeBTCPay,
    sold: Sold,
    actions: list[str],
    status: SessionStatus,
    expected: list[tuple[int, str, str | None]],
) -> None:
    session, reference = started()
    for action in actions:
        fake.act(reference, action)
    deliver(client, fake)
    assert (session_status(session), money()) == (status, expected)
    deliver(client, fake)
    assert money() == expected
    assert sold.settled == ([session.id] if status is SessionStatus.PAID else [])
    conflicts = db.session.scalars(db.select(ProviderEvent.status).where(ProviderEvent.status == EventStatus.CONFLICT))
    assert bool(conflicts.all()) is any(standing == "surplus" for _, standing, _ in expected)


@pytest.mark.parametrize("action", ["pay", "late", "double"])
def test_lost_webhooks_lose_nothing(client: FlaskClient, fake: FakeBTCPay, sold: Sold, action: str) -> None:
    session, reference = started()
    if action == "late":
        fake.world.expire(reference)
        checking.check_session(session.id)
        work()
        assert session_status(session) is SessionStatus.FAILED
        fake.world.pay(reference)
    else:
        fake.act(reference, action)
        checking.check_session(session.id)
    checking.recover_events(at=clock.now())
    work()
    assert sum(amount for amount, _, _ in money()) == (9800 if action == "double" else 4900)
    before = db.session.scalar(db.select(db.func.count(ProviderEvent.id)))
    checking.recover_events(at=clock.now())
    assert db.session.scalar(db.select(db.func.count(ProviderEvent.id))) == before


def test_a_webhook_is_believed_as_far_as_the_server_agrees(client: FlaskClient, fake: FakeBTCPay, sold: Sold) -> None:
    session, reference = started()
    metadata = {"sessionId": session.public_id, "attempt": "1"}
    assert post(client, fake, event("InvoiceSettled", invoiceId=reference, metadata=metadata)) == (200, "accepted")
    work()
    assert (session_status(session), money(), sold.settled) == (SessionStatus.PENDING, [], [])


@pytest.mark.parametrize(("path", "status"), [(HOOK, 200), ("/webhooks/btcpay", 404)])
def test_a_webhook_that_overtook_its_session_waits_for_it(
    client: FlaskClient, fake: FakeBTCPay, sold: Sold, path: str, status: int
) -> None:
    public_id = "0c7f0e5f-8f0e-4a55-9a9c-0f6f2a3f1b11"
    body = event("InvoiceSettled", metadata={"sessionId": public_id, "attempt": "1"})
    assert post(client, fake, body, path) == (status, "unmatched")
    session = signed.make_session()
    with unit_of_work():
        db.session.get_one(PaymentSession, session.id).public_id = public_id
    start_attempt(session.id, "btcpay", at=clock.now())
    fake.world.pay(next(iter(fake.world.invoices)))
    with unit_of_work():
        event_row = db.session.scalars(db.select(ProviderEvent)).one()
        reference = next(iter(fake.world.invoices))
        event_row.normalised = [{**event_row.normalised[0], "attempt_reference": reference}]
    assert rematch_unmatched(at=clock.now()) == 1
    work()
    assert session_status(session) is SessionStatus.PAID


@pytest.mark.parametrize("path", [HOOK, "/webhooks/btcpay"])
def test_a_refused_signature_stores_nothing_and_asking_finds_the_money(
    client: FlaskClient, fake: FakeBTCPay, sold: Sold, path: str
) -> None:
    session, reference = started()
    fake.act(reference, "pay")
    body = event("InvoiceSettled", invoiceId=reference)
    assert client.post(path, data=body, headers={"BTCPay-Sig": sign(body, "wrong")}).status_code == 400
    assert db.session.scalars(db.select(ProviderEvent)).all() == []
    with clock.shifted(timedelta(minutes=5)):
        assert checking.request_due_checks(at=clock.now()) == 1
        work()
    assert session_status(session) is SessionStatus.PAID


def test_a_server_that_is_away_leaves_the_hint_waiting(client: FlaskClient, fake: FakeBTCPay, sold: Sold) -> None:
    session, reference = started()
    fake.act(reference, "pay")
    fake.faults.add("refused", times=100)
    deliver(client, fake)
    assert session_status(session) is SessionStatus.PENDING
    fake.faults.clear()
    with clock.shifted(timedelta(minutes=10)):
        work()
    assert session_status(session) is SessionStatus.PAID
    assert money() == [(4900, "counted", None)]


def test_two_tries_have_two_invoices_and_the_second_payment_is_kept_apart(
    client: FlaskClient, fake: FakeBTCPay, sold: Sold
) -> None:
    session, _first = started()
    with clock.shifted(timedelta(hours=2)):
        start_attempt(session.id, "btcpay", at=clock.now())
    assert len(fake.world.invoices) == 2
    for reference in fake.world.invoices:
        fake.world.pay(reference)
    deliver(client, fake)
    assert money() == [(4900, "counted", None), (4900, "surplus", "second_payment")]
    assert sold.settled == [session.id]
