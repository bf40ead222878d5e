"""Recurrente through the whole portal: its page, its webhooks over HTTP, and what is found when they do not come."""

import itertools
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from flask import Flask

from portal.core import clock, outbox
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from portal.payments.models import AttemptStatus, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.base import ProviderUnavailable
from portal.payments.services import checking
from portal.payments.services.starting import start_attempt
from tests.crowd import all_at_once
from tests.fakes.recurrente import SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.fakes.standard_webhooks import headers
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.payments.serving import configured, inbox, money, served, the_session, work


@pytest.fixture
def recurrente(app: Flask) -> Iterator[FakeRecurrente]:
    """A Recurrente that the portal calls, and that posts to the portal once a test has it send webhooks."""
    with served(app) as portal, FakeRecurrente(f"{portal}/webhooks/recurrente") as fake:
        settings = {
            "recurrente_api_url": fake.api_url, "recurrente_secret_key": SECRET_KEY,
            "recurrente_webhook_secret": WEBHOOK_SECRET,
        }  # fmt: skip
        with configured(app, **settings):
            yield fake


def started() -> tuple[PaymentSession, str, str]:
    """A session on the provider's page: its id there, and its address."""
    session = signed.make_session(currency="GTQ")
    page = start_attempt(session.id, "recurrente", at=clock.now())
    reference = the_session(session).attempts[0].provider_reference
    assert reference is not None
    return session, reference, page


def press(page: str, action: str) -> httpx.Response:
    """What a buyer does on the page."""
    return httpx.post(page, data={"action": action}, trust_env=False)


def post(
    fake: FakeRecurrente, body: bytes, *, webhook_id: str, at: int | None = None, secret: str = WEBHOOK_SECRET
) -> int:
    """Post a webhook by hand, signed now with the right secret unless told otherwise."""
    given = headers([secret], webhook_id, body, at=at or int(time.time()), prefix="svix")
    return httpx.post(fake.webhooks.url, content=body, headers=given, trust_env=False, timeout=30).status_code


def told(fake: FakeRecurrente, number: int = 0) -> dict[str, Any]:
    """An event that the fake would have sent."""
    event = fake.events[number]
    return {"body": event["body"], "webhook_id": event["id"]}


def test_a_payment_goes_all_the_way(recurrente: FakeRecurrente, sold: Sold) -> None:
    recurrente.set_webhooks()
    session, _, page = started()
    assert "PRUEBA" in httpx.get(page, trust_env=False).text
    back = press(page, "card")
    assert (back.status_code, back.headers["Location"]) == (303, session.success_url)
    recurrente.webhooks.wait_idle()
    work()
    assert the_session(session).status is SessionStatus.PAID
    assert sold.settled == [session.id]
    assert sorted(inbox()) == [("intent.succeeded", "duplicate"), ("payment_intent.succeeded", "applied")]
    assert money() == [(4900, "GTQ", None)]
    assert "WEBHOOK_RECURRENTE_SUCCESS" in db.session.scalars(db.select(AuditEvent.event)).all()


@pytest.mark.parametrize("shape", ["flat", "nested"])
@pytest.mark.parametrize("names", ["old", "unified", "both"])
@pytest.mark.parametrize("order", ["sent", "reversed", "shuffled"])
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_every_shape_name_and_order_settles_once(
    recurrente: FakeRecurrente, sold: Sold, shape: str, names: str, order: str
) -> None:
    recurrente.set_webhooks(copies=3, order=order, delay=0.05)
    recurrente.world.shape, recurrente.world.names = shape, names
    session, _, page = started()
    press(page, "card")
    recurrente.webhooks.wait_idle()
    work()
    assert sold.settled == [session.id]
    assert money() == [(4900, "GTQ", None)]


def test_one_event_twenty_times_at_once_is_stored_and_settled_once(
    app: Flask, recurrente: FakeRecurrente, sold: Sold
) -> None:
    session, reference, _ = started()
    recurrente.world.pay(reference)
    answers = all_at_once(app, [lambda: post(recurrente, **told(recurrente))] * 20)
    assert answers == [200] * 20
    work()
    assert inbox() == [("payment_intent.succeeded", "applied")]
    assert sold.settled == [session.id]


def test_two_names_twenty_times_each_at_once_settle_once(app: Flask, recurrente: FakeRecurrente, sold: Sold) -> None:
    session, reference, _ = started()
    recurrente.world.pay(reference)
    posts = [partial(post, recurrente, **told(recurrente, number)) for number in (0, 1)]
    answers = all_at_once(app, posts * 20)
    assert answers == [200] * 40
    work()
    assert [status for _, status in sorted(inbox())] in (["applied", "duplicate"], ["duplicate", "applied"])
    assert sold.settled == [session.id]
    assert money() == [(4900, "GTQ", None)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_any_order_of_a_transfers_events_ends_the_same(
    recurrente: FakeRecurrente, sold: Sold, order: tuple[int, ...]
) -> None:
    session, reference, _ = started()
    recurrente.world.begin_transfer(reference)
    recurrente.world.arrive(reference)
    for number in order:  # bank_transfer_intent.pending, intent.pending, and the same for succeeded.
        assert post(recurrente, **told(recurrente, number)) == 200
    work()
    assert the_session(session).status is SessionStatus.PAID
    assert sold.settled == [session.id]
    assert money() == [(4900, "GTQ", None)]


def test_a_portal_that_fails_is_told_again(recurrente: FakeRecurrente, sold: Sold) -> None:
    """Svix's rhythm, faster: the first address refuses connections."""
    right, recurrente.webhooks.url = recurrente.webhooks.url, "http://127.0.0.1:9/webhooks/recurrente"
    recurrente.set_webhooks(gaps=(0.1,) * 7)
    session, reference, _ = started()
    recurrente.world.pay(reference)
    while not recurrente.webhooks.deliveries:
        time.sleep(0.01)
    recurrente.webhooks.url = right
    recurrente.webhooks.wait_idle()
    assert recurrente.webhooks.deliveries[0].status is None
    work()
    assert sold.settled == [session.id]


def test_in_test_mode_the_returning_buyer_makes_it_known(recurrente: FakeRecurrente, sold: Sold) -> None:
    """No webhook comes, and yet a page that asks for it knows within its five seconds."""
    session, _, page = started()
    press(page, "card")
    assert recurrente.webhooks.deliveries == []
    with unit_of_work():
        checking.request_check(the_session(session), at=clock.now())
    work()
    assert sold.settled == [session.id]
    assert [kind for kind, _ in inbox()] == ["poll.paid"]


def test_a_lost_webhook_is_found_by_the_schedule_and_counts_once_when_it_comes(
    recurrente: FakeRecurrente, sold: Sold
) -> None:
    session, reference, _ = started()
    recurrente.world.pay(reference, lose_webhook=True)
    with clock.shifted(timedelta(minutes=3)):
        assert checking.request_due_checks(at=clock.now()) == 1
        work()
    assert sold.settled == [session.id]
    assert post(recurrente, **told(recurrente)) == 200
    assert post(recurrente, **told(recurrente, 1)) == 200
    assert checking.recover_events(at=clock.now()) == 0
    work()
    assert money() == [(4900, "GTQ", None)]


def test_a_paid_page_that_no_attempt_names_is_found(recurrente: FakeRecurrente, sold: Sold) -> None:
    """The answer to the start was lost for good, and the buyer paid there all the same."""
    session, reference, _ = started()
    stray = recurrente.world.create_checkout({**recurrente.world.checkouts[reference]})
    recurrente.world.pay(stray["id"])
    assert checking.recover_events(at=clock.now()) == 1
    work()
    assert sold.settled == [session.id]
    recurrente.world.pay(reference)
    assert checking.recover_events(at=clock.now()) == 1
    work()
    assert money() == [(4900, "GTQ", None), (4900, "GTQ", "second_payment")]


def test_a_start_without_an_answer_is_unknown_and_found_again(recurrente: FakeRecurrente, sold: Sold) -> None:
    session = signed.make_session(currency="GTQ")
    recurrente.faults.add("lost_answer", method="POST", path="/checkouts")
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "recurrente", at=clock.now())
    assert the_session(session).attempts[0].status is AttemptStatus.UNKNOWN
    page = start_attempt(session.id, "recurrente", at=clock.now())
    [checkout] = recurrente.world.checkouts.values()
    assert page == checkout["checkout_url"]
    [attempt] = the_session(session).attempts
    assert (attempt.status, attempt.provider_reference) == (AttemptStatus.OPEN, checkout["id"])


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_twenty_clicks_at_once_lead_to_one_page(app: Flask, recurrente: FakeRecurrente, sold: Sold) -> None:
    session = signed.make_session(currency="GTQ")
    number = session.id
    db.session.rollback()

    pages = set(all_at_once(app, [lambda: start_attempt(number, "recurrente", at=clock.now())] * 20))
    assert len(pages) == 1
    [attempt] = the_session(session).attempts
    assert pages == {attempt.redirect_url}
    recurrente.world.pay(attempt.provider_reference or "")
    checking.check_session(number)
    work()
    assert money() == [(4900, "GTQ", None)]


def test_a_webhook_for_a_page_whose_answer_is_not_there_yet_settles_it(recurrente: FakeRecurrente, sold: Sold) -> None:
    session = signed.make_session(currency="GTQ")
    recurrente.faults.add("lost_answer", method="POST", path="/checkouts")
    with pytest.raises(ProviderUnavailable):
        start_attempt(session.id, "recurrente", at=clock.now())
    [checkout] = recurrente.world.checkouts.values()
    recurrente.world.pay(checkout["id"])
    assert post(recurrente, **told(recurrente)) == 200
    work()
    assert sold.settled == [session.id]
    assert the_session(session).attempts[0].status is AttemptStatus.PAID


def test_a_declined_card_fails_nothing_and_the_second_one_pays(recurrente: FakeRecurrente, sold: Sold) -> None:
    session, _, page = started()
    assert "rechazada" in press(page, "decline").text
    for number in (0, 1):
        assert post(recurrente, **told(recurrente, number)) == 200
    work()
    assert the_session(session).status is SessionStatus.PENDING
    press(page, "card")
    assert post(recurrente, **told(recurrente, 2)) == 200
    work()
    assert sold.settled == [session.id]
    assert money() == [(4900, "GTQ", None)]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount_in_cents": 4899}, "wrong_amount"), ({"amount_in_cents": 4901}, "wrong_amount"),
        ({"currency": "USD"}, "wrong_currency"), ({"live_mode": True}, "wrong_mode"),
    ],
)  # fmt: skip
def test_money_that_does_not_fit_is_kept_apart(
    recurrente: FakeRecurrente, sold: Sold, changes: dict[str, Any], reason: str
) -> None:
    session, reference, _ = started()
    recurrente.world.pay(reference)
    body = json.dumps({**json.loads(recurrente.events[0]["body"]), **changes}).encode()
    assert post(recurrente, body, webhook_id="msg_other") == 200
    work()
    assert the_session(session).status is SessionStatus.PENDING
    assert sold.settled == []
    assert [row[2] for row in money()] == [reason]
    assert inbox() == [("payment_intent.succeeded", "conflict")]


def test_forged_stale_and_future_webhooks_leave_no_row(recurrente: FakeRecurrente) -> None:
    _, reference, _ = started()
    recurrente.world.pay(reference)
    event, now = told(recurrente), int(time.time())
    forged = "whsec_YW5vdGhlci1zZWNyZXQtb2YtMjQtYnl0ZXM="
    assert post(recurrente, **event, secret=forged) == 400
    assert post(recurrente, **event, at=now - 302) == 400
    assert post(recurrente, **event, at=now + 310) == 400
    given = headers([WEBHOOK_SECRET], event["webhook_id"], event["body"], at=now, prefix="svix")
    for changed in (event["body"] + b"\n", event["body"].replace(b"4900", b"4901"), b""):
        answer = httpx.post(recurrente.webhooks.url, content=changed, headers=given, trust_env=False)
        assert answer.status_code == 400
    assert inbox() == []
    of_refusals = db.select(AuditEvent).where(AuditEvent.event == "WEBHOOK_RECURRENTE_REFUSED")
    refusals = db.session.scalars(of_refusals.order_by(AuditEvent.id)).all()
    assert [line.after["reason"] for line in refusals if line.after] == [
        "no_match", "too_old", "in_future", "no_match", "no_match", "no_match",
    ]  # fmt: skip
    assert post(recurrente, **event, at=now - 295) == 200


def test_a_page_that_cannot_be_closed_stays_open_until_its_time_is_up(recurrente: FakeRecurrente, sold: Sold) -> None:
    """An order was cancelled: its page may still be paid, so nothing is failed before that is over."""
    session, _, _ = started()
    with unit_of_work():
        checking.end_session(the_session(session), at=clock.now())
    work()
    assert the_session(session).status is SessionStatus.PENDING
    with clock.shifted(timedelta(hours=24, minutes=10)):
        checking.check_session(session.id)
        work()
    assert the_session(session).status is SessionStatus.FAILED
    assert sold.failed == [session.id]


def test_money_for_a_cancelled_page_before_it_closed_is_not_lost(recurrente: FakeRecurrente, sold: Sold) -> None:
    session, reference, _ = started()
    with unit_of_work():
        checking.end_session(the_session(session), at=clock.now())
    work()
    recurrente.world.pay(reference, lose_webhook=True)
    checking.check_session(session.id)
    work()
    assert sold.settled == [session.id]


@pytest.mark.parametrize("way", ["webhook", "list"])
def test_money_after_the_page_closed_is_kept_apart(recurrente: FakeRecurrente, sold: Sold, way: str) -> None:
    session, reference, _ = started()
    with clock.shifted(timedelta(hours=24, minutes=10)):
        checking.check_session(session.id)
        work()
    assert the_session(session).status is SessionStatus.FAILED
    recurrente.world.pay(reference, is_late=True)
    if way == "webhook":
        assert post(recurrente, **told(recurrente)) == 409
        assert post(recurrente, **told(recurrente, 1)) == 200
    else:
        assert checking.recover_events(at=clock.now()) == 1
    assert sold.settled == []
    assert money() == [(4900, "GTQ", "after_failure")]


def test_a_silent_provider_decides_nothing(recurrente: FakeRecurrente) -> None:
    session, _, _ = started()
    recurrente.faults.add("refused", times=100)
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
    assert checking.recover_events(at=clock.now()) == 0
    assert the_session(session).status is SessionStatus.PENDING


def test_a_second_payment_is_kept_apart(recurrente: FakeRecurrente, sold: Sold) -> None:
    session, reference, _ = started()
    recurrente.world.pay(reference)
    recurrente.world.pay_again(reference)
    assert [post(recurrente, **told(recurrente, number)) for number in range(2)] == [200, 200]
    work()
    assert [post(recurrente, **told(recurrente, number)) for number in (2, 3)] == [409, 200]
    assert sold.settled == [session.id]
    assert money() == [(4900, "GTQ", None), (4900, "GTQ", "second_payment")]


def test_a_unified_event_in_a_shape_we_do_not_know_is_followed_by_asking(
    recurrente: FakeRecurrente, sold: Sold
) -> None:
    session, reference, _ = started()
    recurrente.world.pay(reference)
    body = json.dumps(
        {"event_type": "intent.succeeded", "data": {"id": "in_1", "checkout": {"id": reference}}}
    ).encode()
    assert post(recurrente, body, webhook_id="msg_unknown") == 200
    assert sold.settled == []
    work()
    assert sold.settled == [session.id]
    assert post(recurrente, **told(recurrente)) == 200
    assert money() == [(4900, "GTQ", None)]


def test_events_of_subscriptions_that_are_not_ours_change_nothing(recurrente: FakeRecurrente, sold: Sold) -> None:
    for number, event_type in enumerate(("subscription.create", "subscription.cancelled", "setup_intent.succeeded")):
        body = json.dumps({"event_type": event_type, "id": "su_1", "suscription": {"id": "su_1"}}).encode()
        assert post(recurrente, body, webhook_id=f"msg_{number}") == 200
    work()
    assert [status for _, status in inbox()] == ["ignored"] * 3


def test_refund_and_dispute_reach_the_payments_file(recurrente: FakeRecurrente, sold: Sold) -> None:
    session, reference, _ = started()
    checkout = recurrente.world.pay(reference)
    assert post(recurrente, **told(recurrente)) == 200
    work()
    payment = checkout["payment"]["id"]
    recurrente.world.refund({"payment_intent_id": payment})
    recurrente.world.dispute(payment)
    for number in (2, 3):
        assert post(recurrente, **told(recurrente, number)) == 200
    work()
    known = {event.event_type: event.session_public_id for event in db.session.scalars(db.select(ProviderEvent))}
    assert known["refund.create"] == known["dispute.create"] == session.public_id


def test_asking_in_one_moment_asks_once(recurrente: FakeRecurrente) -> None:
    session, _, _ = started()
    at = clock.now()
    for _ in range(3):
        with unit_of_work():
            checking.request_check(the_session(session), at=at)
    assert outbox.drain(QueueName.WEBHOOKS) == 1
