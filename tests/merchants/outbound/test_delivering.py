"""Events reach the merchant's program: signed, in order, again until they are taken, and not once more."""

import json
import random
import threading
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete

from portal.core import clock, faults, outbox
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.core.outbox import OutboxMessage
from portal.merchants.models import Merchant
from portal.merchants.outbound import delivering, endpoints, posting, schedule
from portal.merchants.outbound.errors import RotatedJustNow, StillPending
from portal.merchants.outbound.events import EventType, merchant_event
from portal.merchants.outbound.models import MerchantEvent, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from tests.fakes.receiver import Receiver
from tests.merchants.support import all_of, look_again, make_session, pay, send_mail, work

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def happen(cafe: Merchant, object_id: str = "one", kind: EventType = EventType.SESSION_PAID) -> MerchantEvent:
    """Something happens to the café."""
    with unit_of_work():
        return merchant_event(cafe, kind, mode="test", object_id=object_id, data={"n": "ż"}, at=clock.now())


def send(after: timedelta = timedelta(0)) -> None:
    """What the worker does, so much later: what a handler publishes is carried out in the next round."""
    with clock.shifted(after):
        while outbox.drain("default"):
            continue
    look_again()


def the_delivery() -> WebhookDelivery:
    (delivery,) = all_of(WebhookDelivery)
    return delivery  # type: ignore[no-any-return]  # rows of a table


def the_endpoint() -> WebhookEndpoint:
    (endpoint,) = all_of(WebhookEndpoint)
    return endpoint  # type: ignore[no-any-return]  # rows of a table


def test_a_payment_is_told_with_a_good_signature(
    app: Flask, client: FlaskClient, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    session = make_session(cafe, description="Kawa")
    pay(app, client, session.public_id)
    work(app)
    (request,) = shop.received
    body = json.loads(request.body)
    assert request.is_signed_with(hook_secret)
    assert request.webhook_id == body["id"] == all_of(MerchantEvent)[0].public_id
    assert (body["type"], body["mode"], body["data"]["id"]) == ("session.paid", "test", session.public_id)
    assert (body["data"]["status"], body["data"]["amount_minor"]) == ("paid", 4900)
    assert the_delivery().status == "delivered"
    (attempt,) = all_of(WebhookAttempt)
    assert (attempt.http_code, attempt.error, attempt.response_body) == (200, None, "taken <b>\ufffd\ufffd")
    work(app)
    assert len(shop.received) == 1


def test_a_payment_that_ends_without_money_is_told(
    app: Flask, client: FlaskClient, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    from tests import sandbox
    from tests.merchants.support import choose

    session = make_session(cafe)
    sandbox.press(client, choose(client, session.public_id).location, "cancel")
    sandbox.settle(app)
    work(app)
    assert [json.loads(one.body)["type"] for one in shop.received] == ["session.failed"]


def test_without_an_endpoint_the_event_is_kept_alone(app: Flask, client: FlaskClient, cafe: Merchant) -> None:
    pay(app, client, make_session(cafe).public_id)
    assert [event.type for event in all_of(MerchantEvent)] == ["session.paid"]
    assert all_of(WebhookDelivery) == []


def test_a_settlement_that_is_undone_tells_nothing(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    with pytest.raises(RuntimeError), unit_of_work():
        merchant_event(cafe, EventType.SESSION_PAID, mode="test", object_id="x", data={}, at=clock.now())
        raise RuntimeError
    send()
    assert (all_of(MerchantEvent), shop.received) == ([], [])


@pytest.mark.parametrize("answer", ["500", "302", "404", "garbage", "close"])
def test_what_is_not_taken_is_sent_again_under_its_old_id(
    cafe: Merchant, shop: Receiver, hook_secret: str, answer: str
) -> None:
    shop.answers, shop.location = [answer], shop.url + "/elsewhere"
    event = happen(cafe)
    send()
    assert (the_delivery().status, the_delivery().attempts) == ("pending", 1)
    send(timedelta(seconds=4))
    assert len(shop.received) == 1
    send(timedelta(seconds=6))
    assert shop.ids == [event.public_id] * 2
    assert [one.path for one in shop.received] == ["/hooks", "/hooks"]
    assert (the_delivery().status, the_endpoint().failing_since) == ("delivered", None)
    assert all(one.is_signed_with(hook_secret) for one in shop.received)


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_a_slow_program_is_left_after_the_time_limit(
    cafe: Merchant, shop: Receiver, hook_secret: str, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(posting, "SECONDS", 0.3)
    monkeypatch.setattr(delivering, "_SLOW_MS", 100)
    shop.answers = [answer]
    happen(cafe)
    happen(cafe, "another")
    send()
    (attempt,) = all_of(WebhookAttempt)
    assert attempt.http_code is None
    assert "no complete answer" in attempt.error
    # After a slow answer the endpoint rests: one that hangs keeps no worker busy.
    assert len(shop.received) == 1
    send(timedelta(seconds=45))
    assert {one.status.value for one in all_of(WebhookDelivery)} == {"delivered"}


def test_of_a_huge_answer_the_beginning_is_kept(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    shop.answers = ["huge"]
    happen(cafe)
    send()
    (attempt,) = all_of(WebhookAttempt)
    assert the_delivery().status == "delivered"
    assert len(attempt.response_body) == 4096
    assert attempt.response_body.startswith("\ufffd<script>")


@pytest.mark.parametrize(("jitter", "tries_again"), [(1.0, 10), (1.1, 9)])
def test_the_gaps_grow_and_end_after_three_days(
    monkeypatch: pytest.MonkeyPatch, jitter: float, tries_again: int
) -> None:
    monkeypatch.setattr(random, "uniform", lambda _low, _high: jitter)
    first = at = clock.now()
    gaps: list[timedelta] = []
    while (following := schedule.next_try(len(gaps) + 1, first=first, at=at)) is not None:
        gaps.append(following - at)
        at = following
    assert at - first == timedelta(days=3)
    assert gaps[:-1] == sorted(gaps[:-1])
    assert gaps[0] == timedelta(seconds=5) * jitter
    assert len(gaps) == tries_again


def test_three_days_of_failures_pause_the_endpoint_and_resuming_sends_what_waits(
    app: Flask, cafe: Merchant, shop: Receiver, hook_secret: str
) -> None:
    shop.answer = "500"
    happen(cafe)
    later = timedelta(0)
    for _try in range(20):
        send(later)
        if the_delivery().status != "pending":
            break
        later = the_delivery().next_try_at - clock.now() + timedelta(seconds=1)
    failing_for = the_delivery().ended_at - the_delivery().first_tried_at
    assert timedelta(days=3) <= failing_for < timedelta(days=3, minutes=5)
    assert (the_delivery().status, the_endpoint().status) == ("failed", "paused")
    assert [one.template for one in all_of(MailMessage)].count("merchant_webhooks_paused") == 1
    with clock.shifted(later):
        send_mail()
    letters = [one for one in all_of(MailMessage) if one.template == "merchant_webhooks_paused"]
    assert (letters[0].to, letters[0].status.value) == ("alice@example.com", "sent")
    assert shop.url in letters[0].text_body
    event = happen(cafe, "while paused")
    shop.answer, shop.received = "200", []
    send(later)
    assert shop.received == []
    for _twice in range(2):
        with unit_of_work():
            endpoints.resume(cafe, mode="test", by="alice", at=clock.now())
    send()
    assert shop.ids == [event.public_id]


def test_gone_pauses_at_once_and_keeps_the_event(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    shop.answers = ["410"]
    happen(cafe)
    send()
    assert (the_endpoint().status, the_delivery().status) == ("paused", "pending")
    send(timedelta(hours=1))
    assert len(shop.received) == 1
    with unit_of_work():
        endpoints.resume(cafe, mode="test", by="alice", at=clock.now())
    send(timedelta(hours=1))
    assert the_delivery().status == "delivered"


def test_events_of_one_object_go_in_their_order(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    shop.answers = ["500"]
    first, second, other = happen(cafe, "a"), happen(cafe, "a", EventType.SESSION_REFUNDED), happen(cafe, "b")
    send()
    assert shop.ids == [first.public_id, other.public_id]
    send(timedelta(seconds=6))
    send(timedelta(seconds=6))
    assert shop.ids == [first.public_id, other.public_id, first.public_id, second.public_id]


def test_while_a_secret_is_replaced_both_sign(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    with unit_of_work():
        _endpoint, new = endpoints.rotate_secret(cafe, mode="test", by="alice", at=clock.now())
    with pytest.raises(RotatedJustNow), unit_of_work():
        endpoints.rotate_secret(cafe, mode="test", by="alice", at=clock.now())
    happen(cafe)
    send()
    happen(cafe, "later")
    with clock.shifted(timedelta(hours=25)):
        look_again()
        outbox.drain("default")
    first, later = shop.received[0], shop.received[-1]
    assert first.is_signed_with(hook_secret)
    assert first.is_signed_with(new)
    with clock.shifted(timedelta(hours=25)):
        third = happen(cafe, "third")
        outbox.drain("default")
    later = next(one for one in shop.received if one.webhook_id == third.public_id)
    assert later.is_signed_with(new)
    assert not later.is_signed_with(hook_secret)
    stored = the_endpoint()
    assert new not in stored.sealed_secret
    assert hook_secret not in str(stored.sealed_previous)


def test_sending_again_uses_the_old_id_and_the_old_words(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    event = happen(cafe)
    with pytest.raises(StillPending), unit_of_work():
        endpoints.redeliver(cafe, event.public_id, by="alice", at=clock.now())
    send()
    with unit_of_work():
        endpoints.redeliver(cafe, event.public_id, by="alice", at=clock.now())
    send()
    assert shop.ids == [event.public_id] * 2
    assert shop.received[0].body == shop.received[1].body
    assert [one.number for one in all_of(WebhookAttempt)] == [1, 2]


def test_a_worker_that_dies_after_the_request_sends_it_again(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    class Killed(BaseException):
        """As sudden as kill -9: nothing after it runs."""

    def die() -> None:
        raise Killed

    event = happen(cafe)
    with faults.arm("webhook-after-post", die), pytest.raises(Killed):
        outbox.drain("default")
    look_again()
    assert (the_delivery().status, the_delivery().attempts) == ("pending", 0)
    send()
    assert len(shop.received) == 1
    send(timedelta(seconds=91))
    assert shop.ids == [event.public_id] * 2
    assert (the_delivery().status, the_delivery().attempts) == ("delivered", 1)


def test_a_lost_message_is_missed_and_written_anew(cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    event = happen(cafe)
    with unit_of_work():
        db.session.execute(delete(OutboxMessage))
    send()
    assert shop.received == []
    for _twice in range(2):
        with clock.shifted(timedelta(minutes=11)), unit_of_work():
            delivering.wake_forgotten(at=clock.now())
    send(timedelta(minutes=11))
    assert shop.ids == [event.public_id]


@POSTGRESQL
def test_two_workers_send_a_delivery_once(app: Flask, cafe: Merchant, shop: Receiver, hook_secret: str) -> None:
    """Both come at the same moment; the program holds the first answer until both have looked."""
    happen(cafe)
    delivery_id = the_delivery().id
    db.session.rollback()
    ready, entered = threading.Barrier(2), threading.Event()
    shop.on_request = lambda: entered.wait(2)
    done: list[str] = []

    def work_as_one() -> None:
        with app.app_context():
            ready.wait(5)
            delivering.deliver(delivery_id)
            entered.set()
            done.append("done")
            db.session.remove()

    workers = [threading.Thread(target=work_as_one) for _one in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(15)
    assert (done, len(shop.received)) == (["done", "done"], 1)
    look_again()
    assert (the_delivery().status, the_delivery().attempts) == ("delivered", 1)


@POSTGRESQL
def test_two_windows_set_the_first_address_once(app: Flask, cafe: Merchant, shop: Receiver) -> None:
    merchant_id, ready = cafe.id, threading.Barrier(2)
    secrets: list[str | None] = []

    def set_it() -> None:
        with app.app_context():
            merchant = db.session.get_one(Merchant, merchant_id)
            ready.wait(5)
            with unit_of_work():
                secrets.append(endpoints.set_url(merchant, mode="test", url=shop.url, by="a", at=clock.now())[1])
            db.session.remove()

    db.session.rollback()
    windows = [threading.Thread(target=set_it) for _one in range(2)]
    for window in windows:
        window.start()
    for window in windows:
        window.join(15)
    assert len(all_of(WebhookEndpoint)) == 1
    assert sum(secret is not None for secret in secrets) == 1
