"""One.com through the whole portal: the link, the shop's signed messages over HTTP, and a person's word."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from flask import Flask

from portal.core import clock, faults
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.payments.errors import NotDecidedByHand, SessionClosed
from portal.payments.models import AttemptStatus, Invoice, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.base import Outcome
from portal.payments.services import by_hand, checking
from portal.payments.services.starting import start_attempt
from tests.crowd import all_at_once
from tests.fakes.onecom import WEBHOOK_SECRET, OneComShop
from tests.fakes.standard_webhooks import headers
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.payments.serving import configured, inbox, money, served, the_session, work


@pytest.fixture
def shop(app: Flask) -> Iterator[OneComShop]:
    """A shop whose program posts to the portal; a message must say the amount."""
    with served(app) as portal, OneComShop(f"{portal}/webhooks/onecom") as running:
        settings = {"onecom_checkout_url": running.link, "onecom_webhook_secret": WEBHOOK_SECRET}
        with configured(app, **settings, onecom_require_amount=True):
            yield running


@pytest.fixture
def trusting(app: Flask, shop: OneComShop) -> Iterator[OneComShop]:
    """The same, where a message with the reference alone is believed."""
    settings = {"onecom_checkout_url": shop.link, "onecom_webhook_secret": WEBHOOK_SECRET}
    with configured(app, **settings, onecom_require_amount=False):
        yield shop


def started(**values: Any) -> tuple[PaymentSession, str]:
    """A session whose buyer has the link."""
    session = signed.make_session(**values)
    return session, start_attempt(session.id, "onecom", at=clock.now())


def press(page: str, action: str = "completed") -> httpx.Response:
    """What a buyer does at the shop."""
    return httpx.post(page, data={"action": action}, trust_env=False)


def post(shop: OneComShop, event: dict[str, Any], *, at: int | None = None, secret: str = WEBHOOK_SECRET) -> int:
    """Post one of the shop's messages by hand."""
    given = headers([secret], event["id"], event["body"], at=at or int(time.time()))
    return httpx.post(shop.sender.url, content=event["body"], headers=given, trust_env=False, timeout=30).status_code


def deliver(shop: OneComShop) -> None:
    shop.sender.wait_idle()
    work()


def decide(session: PaymentSession, outcome: Outcome, transaction: str | None = None) -> None:
    with unit_of_work():
        by_hand.decide_by_hand(
            session.id, outcome, by="admin@example.com", reason="seen in the bank", transaction=transaction,
            at=clock.now(),
        )  # fmt: skip


def test_a_payment_goes_all_the_way(shop: OneComShop, sold: Sold) -> None:
    session, page = started()
    assert "49" in httpx.get(page, trust_env=False).text
    assert press(page).headers["Location"] == session.success_url
    deliver(shop)
    assert the_session(session).status is SessionStatus.PAID
    assert sold.settled == [session.id]
    assert (money(), inbox()) == ([(4900, "PLN", None)], [("payment.completed", "applied")])
    assert the_session(session).provider_reference == "oc_1"
    assert "WEBHOOK_ONECOM_SUCCESS" in db.session.scalars(db.select(AuditEvent.event)).all()


def test_the_briefs_message_is_believed_where_the_owner_said_so(trusting: OneComShop, sold: Sold) -> None:
    trusting.says_amounts = False
    session, page = started()
    press(page)
    deliver(trusting)
    assert sold.settled == [session.id]
    assert money() == [(4900, "PLN", None)]


def test_without_an_amount_it_is_pending_and_a_person_is_asked(shop: OneComShop, sold: Sold) -> None:
    shop.says_amounts = False
    session, page = started()
    press(page)
    deliver(shop)
    assert the_session(session).status is SessionStatus.PENDING
    assert sold.settled == []
    assert money() == []
    event = db.session.scalars(db.select(ProviderEvent)).one()
    assert (event.status.value, event.verdict) == ("conflict", "said to be paid")
    decide(session, Outcome.PAID)
    assert sold.settled == [session.id]


def test_a_claim_moves_a_session_that_nobody_started(shop: OneComShop) -> None:
    session = signed.make_session()
    shop.tell("payment.completed", session.public_id)
    deliver(shop)
    assert the_session(session).status is SessionStatus.PENDING


def test_a_claim_about_a_finished_session(shop: OneComShop, sold: Sold) -> None:
    session, page = started()
    press(page)
    deliver(shop)
    claim = shop.tell("payment.completed", session.public_id, transaction_id=None)
    deliver(shop)
    assert inbox()[-1] == ("payment.completed", "ignored")
    assert post(shop, claim) == 200
    failed, _ = started()
    decide(failed, Outcome.FAILED)
    shop.set_webhooks(gaps=())
    shop.tell("payment.completed", failed.public_id, transaction_id=None)
    shop.sender.wait_idle()
    assert shop.sender.deliveries[-1].status == 409
    assert inbox()[-1] == ("payment.completed", "conflict")


def test_a_changed_link_pays_too_little_and_is_noticed(shop: OneComShop, sold: Sold) -> None:
    session, page = started()
    press(page.replace("amount=4900", "amount=1"))
    deliver(shop)
    assert the_session(session).status is SessionStatus.PENDING
    assert sold.settled == []
    assert money() == [(1, "PLN", "wrong_amount")]


def test_another_currency_is_noticed(trusting: OneComShop, sold: Sold) -> None:
    _, page = started()
    press(page.replace("currency=PLN", "currency=HUF"))
    deliver(trusting)
    assert sold.settled == []
    assert money() == [(4900, "HUF", "wrong_currency")]


def test_one_message_twenty_times_at_once_counts_once(app: Flask, shop: OneComShop, sold: Sold) -> None:
    session, _ = started()
    shop.set_webhooks(lose=True)
    event = shop.pay(session.public_id, 4900, "PLN")
    assert all_at_once(app, [lambda: post(shop, event)] * 20) == [200] * 20
    work()
    assert inbox() == [("payment.completed", "applied")]
    assert sold.settled == [session.id]


def test_the_same_payment_under_another_id_is_a_duplicate(shop: OneComShop, sold: Sold) -> None:
    session, _ = started()
    for _ in range(2):
        shop.tell("payment.completed", session.public_id, transaction_id="oc_7", amount=4900, currency="PLN")
        deliver(shop)
    shop.tell("payment.completed", session.public_id, transaction_id=None, amount=4900, currency="PLN")
    deliver(shop)
    assert [status for _, status in inbox()] == ["applied", "duplicate", "duplicate"]
    assert money() == [(4900, "PLN", None)]


def test_a_second_transaction_is_money_on_top(shop: OneComShop, sold: Sold) -> None:
    session, _ = started()
    shop.set_webhooks(gaps=())
    for transaction in ("oc_7", "oc_8", "oc_8", "oc_7"):
        shop.tell("payment.completed", session.public_id, transaction_id=transaction, amount=4900, currency="PLN")
        deliver(shop)
    assert money() == [(4900, "PLN", None), (4900, "PLN", "second_payment")]
    assert [status for _, status in inbox()] == ["applied", "conflict", "duplicate", "duplicate"]


def test_pending_then_failed(shop: OneComShop, sold: Sold) -> None:
    session, page = started()
    press(page, "pending")
    deliver(shop)
    assert the_session(session).status is SessionStatus.PENDING
    press(page, "failed")
    deliver(shop)
    assert the_session(session).status is SessionStatus.FAILED
    assert sold.failed == [session.id]


def test_money_after_a_failure_is_kept_apart(shop: OneComShop, sold: Sold) -> None:
    shop.set_webhooks(gaps=())
    _, page = started()
    press(page, "failed")
    deliver(shop)
    press(page)
    deliver(shop)
    assert shop.sender.deliveries[-1].status == 409
    assert (sold.settled, money()) == ([], [(4900, "PLN", "after_failure")])


def test_a_portal_that_is_away_is_told_again_with_the_same_id_and_a_fresh_signature(
    shop: OneComShop, sold: Sold
) -> None:
    right, shop.sender.url = shop.sender.url, "http://127.0.0.1:9/webhooks/onecom"
    shop.set_webhooks(gaps=(0.1,) * 7)
    session, page = started()
    press(page)
    while not shop.sender.deliveries:
        time.sleep(0.01)
    shop.sender.url = right
    deliver(shop)
    assert {delivery.event_id for delivery in shop.sender.deliveries} == {"evt_1"}
    assert [shop.sender.deliveries[0].status, shop.sender.deliveries[-1].status] == [None, 200]
    assert sold.settled == [session.id]


def test_a_message_that_overtakes_its_session_is_kept(shop: OneComShop) -> None:
    shop.set_webhooks(gaps=())
    shop.pay("5f0c7f0e-8f0e-4a55-9a9c-0f6f2a3f1b11", 4900, "PLN")
    shop.sender.wait_idle()
    assert shop.sender.deliveries[-1].status == 404
    assert inbox() == [("payment.completed", "unmatched")]


def test_forged_stale_and_future_messages_leave_no_row(shop: OneComShop) -> None:
    session, _ = started()
    shop.set_webhooks(lose=True)
    event, now = shop.pay(session.public_id, 4900, "PLN"), int(time.time())
    assert post(shop, event, secret="whsec_YW5vdGhlci1zZWNyZXQtb2YtMjQtYnl0ZXM=") == 400
    assert post(shop, event, at=now - 302) == 400
    assert post(shop, event, at=now + 310) == 400
    assert post(shop, {**event, "id": "evt_other"}, at=now) == 200
    assert len(inbox()) == 1


def test_nobody_can_be_asked_and_nothing_is_decided_by_time(shop: OneComShop, sold: Sold) -> None:
    session, _ = started()
    with clock.shifted(timedelta(days=3)):
        assert checking.request_due_checks(at=clock.now()) == 1
        work()
    assert the_session(session).status is SessionStatus.PENDING
    assert (sold.settled, sold.failed) == ([], [])


def test_a_start_whose_process_died_gets_its_link(shop: OneComShop) -> None:
    session = signed.make_session()

    def die() -> None:
        raise KeyboardInterrupt

    with faults.arm("start-before-provider", die), pytest.raises(KeyboardInterrupt):
        start_attempt(session.id, "onecom", at=clock.now())
    with clock.shifted(timedelta(minutes=3)):
        checking.check_session(session.id)
    assert the_session(session).attempts[0].status is AttemptStatus.OPEN


# -- a person's word --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transaction", [None, "oc_1", "oc_bank"])
def test_marked_as_paid_everything_follows_and_a_late_message_counts_nothing_twice(
    shop: OneComShop, sold: Sold, transaction: str | None
) -> None:
    shop.set_webhooks(gaps=())
    session, page = started()
    decide(session, Outcome.PAID, transaction)
    assert the_session(session).status is SessionStatus.PAID
    assert the_session(session).attempts[0].status is AttemptStatus.PAID
    assert sold.settled == [session.id]
    assert db.session.scalars(db.select(Invoice)).one().session_id == session.id
    event = db.session.scalars(db.select(ProviderEvent)).one()
    assert (event.source, event.event_type, event.status.value) == ("staff", "staff.paid", "applied")
    assert json.loads(event.body)["reason"] == "seen in the bank"
    press(page)
    deliver(shop)
    assert sold.settled == [session.id]
    # Only another transaction than the one that was named is other money.
    expected = [(4900, "PLN", None)] + ([(4900, "PLN", "second_payment")] if transaction == "oc_bank" else [])
    assert money() == expected


def test_a_message_first_leaves_nothing_to_say(shop: OneComShop, sold: Sold) -> None:
    session, page = started()
    press(page)
    deliver(shop)
    with pytest.raises(SessionClosed):
        decide(session, Outcome.PAID)
    with pytest.raises(SessionClosed):
        decide(session, Outcome.FAILED)
    assert len(inbox()) == 1


def test_said_not_to_be_paid_it_ends_and_late_money_is_kept_apart(shop: OneComShop, sold: Sold) -> None:
    shop.set_webhooks(gaps=())
    session, page = started()
    decide(session, Outcome.FAILED)
    assert the_session(session).status is SessionStatus.FAILED
    assert sold.failed == [session.id]
    press(page)
    deliver(shop)
    assert money() == [(4900, "PLN", "after_failure")]


def test_the_message_and_the_word_at_once_settle_once(shop: OneComShop, sold: Sold) -> None:
    session, page = started()
    press(page)
    shop.sender.wait_idle()
    decide(session, Outcome.PAID)
    work()
    assert sold.settled == [session.id]
    assert money() == [(4900, "PLN", None)]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_twenty_people_at_once_decide_once(app: Flask, shop: OneComShop, sold: Sold) -> None:
    session, _ = started()
    number = session.id
    db.session.rollback()
    assert sorted(twenty_words(app, number)) == ["SessionClosed"] * 19 + ["done"]
    assert len(inbox()) == 1
    assert len(sold.settled) + len(sold.failed) == 1
    lines = db.session.scalars(db.select(AuditEvent).where(AuditEvent.event == "payment_session.decided_by_hand"))
    assert len(lines.all()) == 1


def twenty_words(app: Flask, number: int) -> list[str]:
    """Half say paid, half say not, all at once: what each was answered."""

    def say(outcome: Outcome) -> None:
        with unit_of_work():
            by_hand.decide_by_hand(number, outcome, by="a@b.pl", reason="I looked", at=clock.now())

    words = [partial(say, outcome) for outcome in (Outcome.PAID, Outcome.FAILED) * 10]
    return ["done" if answer is None else type(answer).__name__ for answer in all_at_once(app, words)]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_lock_people_are_told_of_trouble_instead_of_the_state(
    app: Flask, shop: OneComShop, sold: Sold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and compare-and-set still keep the money right; only the lock lets the others see how it stands."""
    session, _ = started()
    number = session.id
    db.session.rollback()

    both_have_looked = threading.Barrier(2, timeout=20)

    def careless_look(session_id: int) -> PaymentSession:
        found = db.session.get_one(PaymentSession, session_id)
        assert found.attempts
        both_have_looked.wait()
        return found

    monkeypatch.setattr(by_hand, "_locked", careless_look)
    answers = twenty_words(app, number)
    assert answers.count("done") == 1
    assert set(answers) & {"StaleState", "IntegrityError", "OperationalError"}
    assert len(money()) <= 1


def test_what_the_provider_itself_tells_is_not_decided_by_hand(shop: OneComShop) -> None:
    session = signed.make_session()
    with pytest.raises(NotDecidedByHand):
        decide(session, Outcome.PAID)
    assert by_hand.decidable(the_session(session)) is None


def test_the_link_is_the_same_however_often_it_is_asked_for(shop: OneComShop) -> None:
    session, page = started()
    assert start_attempt(session.id, "onecom", at=clock.now()) == page
    assert len(the_session(session).attempts) == 1
