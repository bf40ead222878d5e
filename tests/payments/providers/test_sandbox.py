"""The sandbox company's hosted page: every button, pressed once, twice and by many at once."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.payments import queries
from portal.payments.models import (
    EventStatus,
    Payment,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.providers.sandbox import books
from portal.payments.providers.sandbox.models import PageStatus, SandboxCharge, SandboxPayment
from portal.payments.providers.sandbox.provider import SandboxProvider
from portal.payments.services import checking, draining
from portal.payments.services.starting import start_attempt
from tests import sandbox
from tests.browser_like import csrf_token
from tests.payments.conftest import Sold
from tests.payments.providers.harness import request
from tests.payments.providers.sandbox_pages import count, page_of, reference_of, status_of, told
from tests.payments.signed import make_session

# What each button does to a fresh page: state of the page, charges, types of the events in order.
BUTTONS = {
    "pay_card": (PageStatus.PAID, 1, ["payment.paid"]),
    "pay_blik": (PageStatus.PAID, 1, ["payment.pending", "payment.paid"]),
    "pay_twice": (PageStatus.PAID, 2, ["payment.paid", "payment.paid"]),
    "pay_late": (PageStatus.PAID, 1, ["payment.paid"]),
    "pay_untold": (PageStatus.PAID, 1, ["payment.paid"]),
    "decline": (PageStatus.OPEN, 0, ["payment.declined"]),
    "cancel": (PageStatus.CANCELLED, 0, ["payment.failed"]),
}


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


def test_the_page_shows_who_is_paid_what_and_that_it_is_a_test(client: FlaskClient, page_url: str) -> None:
    text = client.get(page_url).get_data(as_text=True)
    for expected in ("This is a test payment page", "Pay Atelier Nord", "A test purchase", "49", "Pay by BLIK"):
        assert expected in text


def test_no_blik_in_another_currency(app: Flask, client: FlaskClient) -> None:
    session = make_session(amount_minor=9500, currency="USD")
    url = start_attempt(session.id, "sandbox", at=clock.now())
    assert "BLIK" not in client.get(url).get_data(as_text=True)
    assert sandbox.press(client, url, "pay_blik").status_code == 422
    assert page_of(url).state is PageStatus.OPEN


@pytest.mark.parametrize("reference", ["sbx_" + "0" * 32, "sbx_%00", "x", "sbx_" + "A" * 32, "..%2f..", "é"])
def test_an_unknown_page_is_not_found(client: FlaskClient, reference: str) -> None:
    assert client.get(f"/sandbox/{reference}").status_code == 404


@pytest.mark.parametrize("action", BUTTONS)
def test_a_button_twice_does_what_it_does_once(client: FlaskClient, page_url: str, action: str) -> None:
    state, charges, events = BUTTONS[action]
    token = csrf_token(client, page_url)
    answers = [client.post(page_url, data={"csrf_token": token, "action": action, "tries": 0}) for _click in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].location == answers[1].location
    page = page_of(page_url)
    assert (page.state, len(page.charges), told(page_url)) == (state, charges, events)


@pytest.mark.parametrize("action", BUTTONS)
def test_a_button_many_times_at_once_does_what_it_does_once(app: Flask, page_url: str, action: str) -> None:
    state, charges, events = BUTTONS[action]
    browser = app.test_client()
    token = csrf_token(browser, page_url)
    cookie = browser.get_cookie("portal_session")
    assert cookie is not None
    start = Barrier(5)

    def click(_number: int) -> int:
        own = app.test_client()
        own.set_cookie("portal_session", cookie.value)
        start.wait()
        return own.post(page_url, data={"csrf_token": token, "action": action, "tries": 0}).status_code

    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(click, range(5))) == {303}
    page = page_of(page_url)
    assert (page.state, len(page.charges), told(page_url)) == (state, charges, events)


def test_without_its_lock_a_page_would_be_paid_several_times(
    app: Flask, page_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control twin of the test above. SQLite lets one transaction write at a time, which is a lock too."""
    careful = books.get_page

    def careless(reference: str, *, lock: bool = False) -> SandboxPayment:
        page = careful(reference)
        time.sleep(0.2 if lock else 0)
        return page

    monkeypatch.setattr(books, "get_page", careless)
    start = Barrier(5)

    def click(_number: int) -> None:
        with app.app_context():
            start.wait()
            with unit_of_work():
                books.pay(reference_of(page_url), method="card", at=clock.now())

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(click, range(5)))
    charges = len(page_of(page_url).charges)
    assert charges == 1 if db.engine.dialect.name == "sqlite" else charges > 1


@pytest.mark.parametrize(("first", "second"), [("pay_card", "cancel"), ("cancel", "pay_card"), ("pay_card", "decline")])
def test_the_first_button_decides(client: FlaskClient, page_url: str, first: str, second: str) -> None:
    token = csrf_token(client, page_url)
    once = client.post(page_url, data={"csrf_token": token, "action": first})
    then = client.post(page_url, data={"csrf_token": token, "action": second})
    assert once.location == then.location
    assert (page_of(page_url).state, told(page_url)) == (BUTTONS[first][0], BUTTONS[first][2])


def test_a_declined_buyer_may_try_again(
    app: Flask, client: FlaskClient, session: PaymentSession, page_url: str
) -> None:
    for tries in range(2):
        answer = sandbox.press(client, page_url, "decline", tries=tries)
        assert answer.location == f"/sandbox/{reference_of(page_url)}"
        assert "The card was declined" in client.get(page_url).get_data(as_text=True)
    sandbox.settle(app)
    assert status_of(session) is SessionStatus.PENDING
    sandbox.pay(app, page_url)
    assert status_of(session) is SessionStatus.PAID
    assert told(page_url) == ["payment.declined", "payment.declined", "payment.paid"]


def test_paying_settles_the_session_and_sends_the_buyer_back(
    app: Flask, session: PaymentSession, page_url: str, sold: Sold
) -> None:
    answer = sandbox.pay(app, page_url)
    assert (answer.status_code, answer.location) == (303, "http://localhost/ok")
    assert status_of(session) is SessionStatus.PAID
    assert sold.settled == [session.id]
    invoice = queries.invoice_of_session(session.id)
    assert invoice is not None
    assert (invoice.provider, invoice.provider_reference) == ("sandbox", page_of(page_url).charges[0].reference)


def test_cancelling_fails_the_session_and_goes_back_to_the_cart(
    app: Flask, client: FlaskClient, session: PaymentSession, page_url: str, sold: Sold
) -> None:
    answer = sandbox.press(client, page_url, "cancel")
    assert (answer.status_code, answer.location) == (303, "http://localhost/cancel")
    sandbox.settle(app)
    assert status_of(session) is SessionStatus.FAILED
    assert sold.failed == [session.id]


def test_paying_twice_counts_once_and_keeps_the_other_payment(
    app: Flask, session: PaymentSession, page_url: str, sold: Sold
) -> None:
    sandbox.pay(app, page_url, "pay_twice")
    sandbox.settle(app)
    payments = list(db.session.scalars(select(Payment).order_by(Payment.id)))
    assert [payment.standing for payment in payments] == [Standing.COUNTED, Standing.SURPLUS]
    assert len({payment.business_key for payment in payments}) == 2
    assert sold.settled == [session.id]
    assert EventStatus.CONFLICT in set(db.session.scalars(select(ProviderEvent.status)))


def test_paying_late_tells_the_shop_20_seconds_later(app: Flask, session: PaymentSession, page_url: str) -> None:
    sandbox.pay(app, page_url, "pay_late")
    assert status_of(session) is SessionStatus.PENDING
    with clock.shifted(timedelta(seconds=10)):
        assert sandbox.settle(app).made == []
    with clock.shifted(timedelta(seconds=21)):
        assert sandbox.settle(app).types == ["payment.paid"]
    assert status_of(session) is SessionStatus.PAID


def test_a_lost_webhook_is_found_by_asking(app: Flask, session: PaymentSession, page_url: str, sold: Sold) -> None:
    sandbox.pay(app, page_url, "pay_untold")
    assert status_of(session) is SessionStatus.PENDING
    checking.check_session(session.id)
    draining.drain_inbox()
    assert status_of(session) is SessionStatus.PAID
    assert sold.settled == [session.id]


def test_asking_and_telling_is_one_payment(app: Flask, session: PaymentSession, page_url: str, sold: Sold) -> None:
    sandbox.press(app.test_client(), page_url, "pay_card")
    checking.check_session(session.id)
    draining.drain_inbox()
    assert status_of(session) is SessionStatus.PAID
    assert sandbox.settle(app).statuses == [200]
    assert (count(Payment), count(ProviderEvent), sold.settled) == (1, 2, [session.id])


def test_an_expired_page_takes_no_money(
    app: Flask, client: FlaskClient, session: PaymentSession, page_url: str
) -> None:
    token = csrf_token(client, page_url)
    with clock.shifted(timedelta(hours=25)):
        assert "has expired" in client.get(page_url).get_data(as_text=True)
        answer = client.post(page_url, data={"csrf_token": token, "action": "pay_card"})
        assert answer.status_code == 409
        assert "has expired" in answer.get_data(as_text=True)
        assert (page_of(page_url).state, told(page_url)) == (PageStatus.EXPIRED, ["payment.failed"])
        sandbox.settle(app)
    assert status_of(session) is SessionStatus.FAILED
    assert count(SandboxCharge) == 0


def test_an_expired_page_is_found_by_asking_although_nobody_touched_it(
    app: Flask, session: PaymentSession, page_url: str
) -> None:
    with clock.shifted(timedelta(hours=25)):
        checking.check_session(session.id)
        draining.drain_inbox()
    assert status_of(session) is SessionStatus.FAILED


def test_a_closed_page_leads_back_to_the_shop(app: Flask, client: FlaskClient, page_url: str) -> None:
    sandbox.pay(app, page_url)
    text = client.get(page_url).get_data(as_text=True)
    assert "This payment is done" in text
    assert 'href="http://localhost/ok"' in text
    assert 'value="pay_card"' not in text


@pytest.mark.parametrize("action", ["", "steal", "PAY_CARD", "decline; drop table", "\0"])
def test_a_button_that_does_not_exist_is_refused(client: FlaskClient, page_url: str, action: str) -> None:
    assert sandbox.press(client, page_url, action).status_code == 422
    assert page_of(page_url).state is PageStatus.OPEN


@pytest.mark.parametrize("token", [None, "", "forged"])
def test_without_its_token_a_form_does_nothing(client: FlaskClient, page_url: str, token: str | None) -> None:
    data = {"action": "pay_card"} | ({"csrf_token": token} if token is not None else {})
    assert client.post(page_url, data=data).status_code == 400
    assert page_of(page_url).state is PageStatus.OPEN


def test_what_the_shop_calls_things_is_shown_as_text(
    app: Flask, client: FlaskClient, provider: SandboxProvider
) -> None:
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{7*7}}'
    started = provider.start(request(description=hostile))
    text = client.get(started.redirect_url).get_data(as_text=True)
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "{{7*7}}" in text


def test_the_page_may_send_the_buyer_to_a_shop_on_another_host(client: FlaskClient, provider: SandboxProvider) -> None:
    started = provider.start(
        request(success_url="https://shop.example/done", cancel_url="https://shop.example:8443/cart")
    )
    policy = client.get(started.redirect_url).headers["Content-Security-Policy"]
    assert "form-action 'self' https://shop.example https://shop.example:8443;" in policy


def test_an_address_cannot_widen_the_policy_of_the_page(client: FlaskClient, provider: SandboxProvider) -> None:
    started = provider.start(request(success_url="https://a;script-src%20*/x", cancel_url="https://b *; img-src */"))
    policy = client.get(started.redirect_url).headers["Content-Security-Policy"]
    assert "form-action 'self' ;" in policy
    assert "*" not in policy
