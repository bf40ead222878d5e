"""What is charged again every month: the first payment, renewals, failures and the end, on our books."""

import itertools
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal import payments
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.money import Money
from portal.core.outbox import OutboxMessage
from portal.core.queues import QueueName
from portal.payments import hooks
from portal.payments.hooks import SubscriptionChange, SubscriptionNews
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Invoice,
    Payment,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.providers.registry import UnknownProvider
from portal.payments.providers.sandbox import books
from portal.payments.refund_models import Refund
from portal.payments.refund_models import RefundStatus as Status
from portal.payments.services import draining, recurring
from portal.payments.services.refunding import Wish, request_refund
from portal.payments.services.sessions import create_session
from portal.payments.services.starting import start_attempt
from tests import invariants, sandbox
from tests.crowd import all_at_once
from tests.fakes.recurrente import SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.fakes.standard_webhooks import headers as standard_headers
from tests.fakes.stripe import FakeStripe
from tests.payments import signed
from tests.payments.conftest import Sold
from tests.payments.serving import configured, work

_numbers = itertools.count(1)


class Heard:
    """What the seller was told about subscriptions."""

    def __init__(self) -> None:
        self.news: list[tuple[int, SubscriptionNews]] = []

    def __call__(self, session: PaymentSession, news: SubscriptionNews, *, at: datetime) -> None:
        self.news.append((session.id, news))

    @property
    def changes(self) -> list[SubscriptionChange]:
        return [news.change for _session, news in self.news]


@pytest.fixture(autouse=True)
def heard() -> Iterator[Heard]:
    witness = Heard()
    payments.on_subscription("test", witness)
    yield witness
    hooks._subscriptions.pop("test")


def make_monthly(*, amount_minor: int = 9500, currency: str = "USD") -> PaymentSession:
    with unit_of_work():
        return create_session(
            purpose="test",
            subject_id=next(_numbers),
            amount=Money(amount_minor, currency),
            description="Care for a site",
            success_url="http://localhost/ok",
            cancel_url="http://localhost/cancel",
            customer_email="alice@example.com",
            customer_name="Alice Nowak",
            locale="en",
            at=clock.now(),
            repeat_months=1,
        )


@pytest.fixture
def monthly(app: Flask) -> tuple[PaymentSession, str]:
    """A subscription that began at the sandbox: its first session, and the page."""
    session = make_monthly()
    page = start_attempt(session.id, "sandbox", at=clock.now())
    assert sandbox.pay(app, page).status_code == 303
    return again(session), page


def again(session: PaymentSession) -> PaymentSession:
    db.session.rollback()
    return db.session.get_one(PaymentSession, session.id, populate_existing=True)


def press(app: Flask, page: str, action: str) -> None:
    assert sandbox.press(app.test_client(), page, action).status_code == 303
    sandbox.settle(app)


def events() -> list[EventStatus]:
    return list(db.session.scalars(select(ProviderEvent.status).order_by(ProviderEvent.id)))


def test_the_first_payment_settles_the_session_and_names_the_subscription(
    monthly: tuple[PaymentSession, str], sold: Sold
) -> None:
    session, page = monthly
    assert session.status is SessionStatus.PAID
    assert session.subscription_reference == f"sbxsub_{page.rpartition('sbx_')[2]}"
    assert (sold.settled, recurring.renewals_of(session.id)) == ([session.id], [])


def test_each_renewal_is_a_paid_session_of_its_own(
    app: Flask, monthly: tuple[PaymentSession, str], sold: Sold, heard: Heard
) -> None:
    session, page = monthly
    press(app, page, "renew")
    press(app, page, "renew")
    renewals = recurring.renewals_of(session.id)
    assert [one.status for one in renewals] == [SessionStatus.PAID] * 2
    assert {(one.amount, one.purpose, one.subject_id, one.mode) for one in renewals} == {
        (session.amount, session.purpose, session.subject_id, session.mode)
    }
    assert {one.repeat_months for one in renewals} == {None}
    assert sold.settled == [session.id, *(one.id for one in renewals)]
    paid_for = db.session.scalars(select(Invoice.session_id).order_by(Invoice.id)).all()
    assert paid_for == sold.settled
    assert heard.news == []
    assert invariants.check(db.session) == []


def test_a_renewal_told_twice_counts_once(app: Flask, monthly: tuple[PaymentSession, str]) -> None:
    session, page = monthly
    press(app, page, "renew")
    with unit_of_work():
        recurring.request_check(again(session), at=clock.now())
    outbox.drain(QueueName.WEBHOOKS)
    draining.drain_inbox()
    assert len(recurring.renewals_of(session.id)) == 1
    assert events() == [EventStatus.APPLIED, EventStatus.APPLIED, EventStatus.DUPLICATE]


def test_one_renewal_under_many_names_at_once_counts_once(app: Flask, monthly: tuple[PaymentSession, str]) -> None:
    session, page = monthly
    with sandbox.carried_in_process(app):
        assert sandbox.press(app.test_client(), page, "renew").status_code == 303
    body = sandbox.events(app)[-1].body.encode()
    db.session.rollback()

    def deliver(number: int) -> int:
        headers = sandbox.signed(app, body, webhook_id=f"evt_again_{number}")
        return app.test_client().post("/webhooks/sandbox", data=body, headers=headers).status_code

    answers = all_at_once(app, [lambda number=number: deliver(number) for number in range(8)])
    draining.drain_inbox()
    assert set(answers) == {200}
    assert len(recurring.renewals_of(session.id)) == 1
    assert db.session.scalar(select(func.count(Payment.id))) == 2


def test_a_renewal_whose_webhook_was_lost_is_found_by_asking(app: Flask, monthly: tuple[PaymentSession, str]) -> None:
    session, page = monthly
    assert sandbox.press(app.test_client(), page, "renew").status_code == 303
    with unit_of_work():
        recurring.request_check(again(session), at=clock.now())
        recurring.request_check(session, at=clock.now())
    asked = select(func.count(OutboxMessage.id)).where(OutboxMessage.topic == "subscription.check_requested")
    assert db.session.scalar(asked) == 1
    outbox.drain(QueueName.WEBHOOKS)
    draining.drain_inbox()
    assert [one.status for one in recurring.renewals_of(session.id)] == [SessionStatus.PAID]


def test_a_failed_renewal_is_told_with_the_next_try(
    app: Flask, monthly: tuple[PaymentSession, str], heard: Heard
) -> None:
    session, page = monthly
    press(app, page, "fail_renewal")
    [(session_id, news)] = heard.news
    assert (session_id, news.change, news.detail) == (session.id, SubscriptionChange.RENEWAL_FAILED, "card_declined")
    assert news.next_try_at is not None
    assert timedelta(days=2) < news.next_try_at - clock.now() <= timedelta(days=3)
    assert recurring.renewals_of(session.id) == []


def test_a_failure_that_comes_after_the_money_it_preceded_is_old_news(
    app: Flask, monthly: tuple[PaymentSession, str], heard: Heard
) -> None:
    session, page = monthly
    assert sandbox.press(app.test_client(), page, "fail_renewal").status_code == 303
    failure = sandbox.events(app)[-1].body.encode()
    with clock.shifted(timedelta(days=3)):
        press_only(app, page, "renew")
        body = sandbox.events(app)[-1].body.encode()
        for number, told in enumerate((body, failure)):
            headers = sandbox.signed(app, told, webhook_id=f"evt_turned_{number}")
            assert app.test_client().post("/webhooks/sandbox", data=told, headers=headers).status_code == 200
        draining.drain_inbox()
    assert len(recurring.renewals_of(session.id)) == 1
    assert heard.news == []
    assert events()[-1] is EventStatus.IGNORED


def charge_again(page: str) -> None:
    """What a button of the page did, had somebody kept it open."""
    with unit_of_work():
        books.renew(page.rpartition("/")[2], at=clock.now())


def press_only(app: Flask, page: str, action: str) -> None:
    """Press without the webhook being delivered."""
    assert sandbox.press(app.test_client(), page, action).status_code == 303


@pytest.mark.parametrize("turned", list(itertools.permutations(range(3))), ids=str)
def test_every_order_of_the_same_news_ends_the_same(
    app: Flask, turned: tuple[int, ...], sold: Sold, heard: Heard
) -> None:
    session = make_monthly()
    page = start_attempt(session.id, "sandbox", at=clock.now())
    for hours, action in ((0, "pay_card"), (1, "renew"), (2, "end_subscription")):
        with clock.shifted(timedelta(hours=hours)):
            press_only(app, page, action)
    bodies = [event.body.encode() for event in sandbox.events(app)]
    with clock.shifted(timedelta(hours=2)):
        for number in turned:
            headers = sandbox.signed(app, bodies[number], webhook_id=f"evt_{number}", at=clock.now())
            assert app.test_client().post("/webhooks/sandbox", data=bodies[number], headers=headers).status_code == 200
        draining.drain_inbox()
        draining.drain_inbox()
    assert heard.changes == [SubscriptionChange.ENDED]
    [renewal] = recurring.renewals_of(session.id)
    assert {again(session).status, renewal.status} == {SessionStatus.PAID}
    assert len(sold.settled) == 2
    assert set(events()) == {EventStatus.APPLIED}


def test_we_end_it_at_the_provider_and_hear_that_it_ended(
    app: Flask, monthly: tuple[PaymentSession, str], heard: Heard
) -> None:
    session, page = monthly
    with unit_of_work():
        recurring.request_end(again(session), at=clock.now())
    outbox.drain(QueueName.WEBHOOKS)
    draining.drain_inbox()
    sandbox.settle(app)
    # By our question and by the provider's own word: whoever hears it twice does no more.
    assert set(heard.changes) == {SubscriptionChange.ENDED}
    charge_again(page)
    sandbox.settle(app)
    assert recurring.renewals_of(session.id) == []


def test_nothing_is_ended_that_never_began(app: Flask) -> None:
    session = make_monthly()
    with unit_of_work():
        recurring.request_end(session, at=clock.now())
    assert db.session.scalar(select(func.count(OutboxMessage.id))) == 0


def test_a_renewal_of_another_amount_is_kept_apart(client: FlaskClient, app: Flask) -> None:
    session = make_monthly()
    page = start_attempt(session.id, "sandbox", at=clock.now())
    sandbox.pay(app, page)
    press_only(app, page, "renew")
    body = sandbox.events(app)[-1].body.replace('"amount":9500', '"amount":9900').encode()
    headers = sandbox.signed(app, body, webhook_id="evt_dear")
    assert client.post("/webhooks/sandbox", data=body, headers=headers).status_code == 409
    assert recurring.renewals_of(session.id) == []
    [surplus] = db.session.scalars(select(Payment).where(Payment.standing == Standing.SURPLUS)).all()
    assert (surplus.session_id, surplus.surplus_reason, surplus.amount_minor) == (session.id, "wrong_amount", 9900)


def test_money_of_another_subscription_is_a_second_payment(client: FlaskClient, app: Flask) -> None:
    session = make_monthly()
    page = start_attempt(session.id, "sandbox", at=clock.now())
    sandbox.pay(app, page)
    press_only(app, page, "renew")
    told = sandbox.events(app)[-1].body
    body = told.replace(again(session).subscription_reference or "", "sbxsub_other").encode()
    headers = sandbox.signed(app, body, webhook_id="evt_other")
    assert client.post("/webhooks/sandbox", data=body, headers=headers).status_code == 409
    assert recurring.renewals_of(session.id) == []


def test_a_renewal_is_given_back_like_any_payment(app: Flask, monthly: tuple[PaymentSession, str]) -> None:
    session, page = monthly
    press(app, page, "renew")
    [renewal] = recurring.renewals_of(session.id)
    with unit_of_work():
        request_refund(Wish((renewal.id,), key="k" * 20), by="admin@example.com", at=clock.now())
    outbox.drain(QueueName.WEBHOOKS)
    sandbox.settle(app)
    [refund] = db.session.scalars(select(Refund)).all()
    assert (refund.session_id, refund.status, refund.amount_minor) == (renewal.id, Status.SUCCEEDED, 9500)
    assert invariants.check(db.session) == []


def test_what_is_paid_once_takes_no_renewals(app: Flask, sold: Sold) -> None:
    session = signed.make_session()
    page = start_attempt(session.id, "sandbox", at=clock.now())
    sandbox.pay(app, page)
    assert again(session).subscription_reference is None
    with pytest.raises(books.PageNotFound):
        charge_again(page)
    assert sold.settled == [session.id]


def test_a_provider_that_charges_once_only_is_not_offered(app: Flask) -> None:
    session = make_monthly(currency="PLN")
    payu = {"payu_merchant_id": "1", "payu_secret_key": "2", "payu_webhook_secret": "3", "stripe_secret_key": "sk_1"}
    with configured(app, **payu):
        registry = app.extensions["payment_registry"]
        assert {one.name for one in registry.for_checkout("PLN")} >= {"payu", "stripe"}
        assert "payu" not in {one.name for one in registry.for_checkout("PLN", is_recurring=True)}
        with pytest.raises(UnknownProvider):
            start_attempt(session.id, "payu", at=clock.now())
    assert again(session).attempts == []


@pytest.mark.parametrize("action", ["pay_blik", "pay_twice"])
def test_what_cannot_be_charged_again_is_not_offered(client: FlaskClient, action: str) -> None:
    session = make_monthly(currency="PLN")
    page = start_attempt(session.id, "sandbox", at=clock.now())
    shown = client.get("/" + page.split("/", 3)[3]).text
    assert "charged again and again" in shown
    assert action not in shown
    assert sandbox.press(client, page, action).status_code == 422


def test_the_page_says_how_the_subscription_stands(
    app: Flask, client: FlaskClient, monthly: tuple[PaymentSession, str]
) -> None:
    _session, page = monthly
    path = "/" + page.split("/", 3)[3]
    shown: Callable[[], str] = lambda: client.get(path).text  # noqa: E731  # read at three moments
    assert "This subscription runs" in shown()
    press(app, page, "end_subscription")
    assert "This subscription has ended" in shown()
    charge_again(page)
    assert len(sandbox.events(app)) == 2


def post_all(app: Flask, bodies: list[str]) -> None:
    for body in bodies:
        assert signed.post(app.test_client(), body).status_code == 200


@pytest.mark.parametrize("turned", list(itertools.permutations(range(3))), ids=str)
def test_stripes_news_in_every_order_end_the_same(
    app: Flask, fake_stripe: FakeStripe, turned: tuple[int, ...], heard: Heard
) -> None:
    """The page was completed, the next month was charged, and it ended: each told in Stripe's own words."""
    session = make_monthly()
    start_attempt(session.id, "stripe", at=clock.now())
    reference = again(session).attempts[0].provider_reference or ""
    fake_stripe.control.pay(reference)
    [subscription] = [one["id"] for one in fake_stripe.world.all("subscription")]
    fake_stripe.control.renew(subscription)
    fake_stripe.control.end_subscription(subscription)
    wanted = ("checkout.session.completed", "invoice.payment_succeeded", "customer.subscription.deleted")
    newest = {event["type"]: json.dumps(event) for event in reversed(fake_stripe.world.all("event"))}
    post_all(app, [newest[wanted[number]] for number in turned])
    for _round in range(2):
        work()
    [renewal] = recurring.renewals_of(session.id)
    assert (again(session).status, renewal.status) == (SessionStatus.PAID, SessionStatus.PAID)
    assert set(heard.changes) == {SubscriptionChange.ENDED}
    charged = {intent["id"] for intent in fake_stripe.world.all("payment_intent")}
    assert {one.provider_reference for one in db.session.scalars(select(Payment))} == charged
    assert again(session).attempts[0].status is AttemptStatus.PAID


def test_every_webhook_of_stripe_twice_counts_once(app: Flask, fake_stripe: FakeStripe, heard: Heard) -> None:
    session = make_monthly()
    start_attempt(session.id, "stripe", at=clock.now())
    fake_stripe.control.pay(again(session).attempts[0].provider_reference or "")
    [subscription] = [one["id"] for one in fake_stripe.world.all("subscription")]
    happens = (None, fake_stripe.control.fail_renewal, fake_stripe.control.renew, fake_stripe.control.renew)
    told: set[str] = set()
    for happening in happens:
        if happening is not None:
            happening(subscription)
        news = [event for event in reversed(fake_stripe.world.all("event")) if event["id"] not in told]
        told |= {event["id"] for event in news}
        post_all(app, [json.dumps(event) for event in news for _ in range(2)])
        work()
    assert len(recurring.renewals_of(session.id)) == 2
    assert db.session.scalar(select(func.count(Payment.id))) == 3
    assert heard.changes == [SubscriptionChange.RENEWAL_FAILED]
    assert invariants.check(db.session) == []


def test_a_refund_at_the_provider_finds_its_renewal(app: Flask, fake_stripe: FakeStripe) -> None:
    """The webhook names the payment alone; which month it was for, our books know."""
    session = make_monthly()
    start_attempt(session.id, "stripe", at=clock.now())
    fake_stripe.control.pay(again(session).attempts[0].provider_reference or "")
    [subscription] = [one["id"] for one in fake_stripe.world.all("subscription")]
    fake_stripe.control.renew(subscription)
    fake_stripe.control.refund(fake_stripe.world.all("payment_intent")[0]["id"], 500)
    post_all(app, [json.dumps(event) for event in reversed(fake_stripe.world.all("event"))])
    for _round in range(2):
        work()
    [renewal] = recurring.renewals_of(session.id)
    [refund] = db.session.scalars(select(Refund)).all()
    assert (refund.session_id, refund.amount_minor, refund.status) == (renewal.id, 500, Status.SUCCEEDED)


@pytest.mark.parametrize("names", ["both", "unified", "old"])
@pytest.mark.parametrize("shape", ["flat", "nested"])
def test_recurrentes_words_for_it_all(app: Flask, names: str, shape: str, heard: Heard) -> None:
    """Both vocabularies in both shapes: what follows the first payment is found by the subscription's id alone."""
    with FakeRecurrente() as fake:
        settings = {
            "recurrente_api_url": fake.api_url, "recurrente_secret_key": SECRET_KEY,
            "recurrente_webhook_secret": WEBHOOK_SECRET,
        }  # fmt: skip
        fake.world.names, fake.world.shape = names, shape
        with configured(app, **settings):
            session = make_monthly()
            start_attempt(session.id, "recurrente", at=clock.now())
            fake.world.pay(again(session).attempts[0].provider_reference or "")
            [subscription] = fake.world.subscriptions
            fake.world.offset = 60.0
            fake.world.renew(subscription)
            fake.world.offset = 120.0
            fake.world.fail_renewal(subscription)
            fake.world.pause(subscription)
            fake.world.unpause(subscription)
            with clock.shifted(timedelta(seconds=200)):
                for event in fake.events:
                    at = int(clock.now().timestamp())
                    headers = standard_headers([WEBHOOK_SECRET], event["id"], event["body"], at=at, prefix="svix")
                    answer = app.test_client().post("/webhooks/recurrente", data=event["body"], headers=headers)
                    assert answer.status_code == 200, (event["type"], answer.text)
                work()
                with unit_of_work():
                    recurring.request_end(again(session), at=clock.now())
                work()
    assert again(session).status is SessionStatus.PAID
    assert [one.status for one in recurring.renewals_of(session.id)] == [SessionStatus.PAID]
    assert db.session.scalar(select(func.count(Payment.id))) == 2
    told = list(dict.fromkeys(heard.changes))
    assert told == [
        SubscriptionChange.RENEWAL_FAILED,
        SubscriptionChange.PAUSED,
        SubscriptionChange.RESUMED,
        SubscriptionChange.ENDED,
    ]
