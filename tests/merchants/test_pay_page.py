"""The hosted pay page: what a buyer sees, where they can pay, and where they end up."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.merchants import branding
from portal.merchants.models import Merchant
from portal.merchants.services import merchants
from portal.payments.errors import SessionClosed
from portal.payments.models import PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.providers.base import NormalisedEvent, Outcome
from portal.payments.providers.registry import Registry, UnknownProvider
from portal.payments.services import checking, settling
from portal.payments.services.starting import start_attempt
from tests import sandbox
from tests.browser_like import csrf_token, post_form
from tests.conftest import NO_CHAINS
from tests.merchants.support import (
    all_of,
    choose,
    look_again,
    make_merchant,
    make_session,
    pay,
    work,
)
from tests.payments import signed

THANKS = "https://shop.example.com/thanks?lang=pl"
OPEN = {"description": "Kawa i ciastko", "success_url": THANKS, "cancel_url": "https://shop.example.com/basket"}


@pytest.fixture
def session(cafe: Merchant) -> PaymentSession:
    return make_session(cafe, **OPEN)  # type: ignore[arg-type]  # texts, all of them


def text_of(client: FlaskClient, public_id: str) -> str:
    return client.get(f"/pay/{public_id}").get_data(as_text=True)


def test_it_says_whom_what_and_how_much(client: FlaskClient, session: PaymentSession) -> None:
    page = text_of(client, session.public_id)
    for words in ("Kawiarnia Miś", "Kawa i ciastko", "PLN", "49.00", "This is a test", 'value="sandbox"'):
        assert words in page


def test_a_buyer_pays_and_comes_back_to_the_merchant(app: Flask, client: FlaskClient, session: PaymentSession) -> None:
    back = pay(app, client, session.public_id)
    assert back.location == f"http://localhost/pay/{session.public_id}/return"
    answer = client.get(back.location)
    assert (answer.status_code, answer.location) == (303, f"{THANKS}&session_id={session.public_id}")
    assert "This is paid" in text_of(client, session.public_id)


def test_nobody_is_sent_on_before_the_money_is_counted(
    app: Flask, client: FlaskClient, session: PaymentSession
) -> None:
    """The redirect proves nothing: until the webhook is applied the page waits, and asks when it is late."""
    address = f"/pay/{session.public_id}/return"
    assert "Waiting for the provider" in client.get(address).get_data(as_text=True)
    sent = choose(client, session.public_id)
    sandbox.press(client, sent.location, "pay_untold")
    with clock.shifted(timedelta(seconds=20)):
        waiting = client.get(address)
        assert waiting.status_code == 200
        assert "so we are asking" in waiting.get_data(as_text=True)
        work(app)
        assert client.get(address).location == f"{THANKS}&session_id={session.public_id}"


def test_htmx_is_told_to_leave_the_page(app: Flask, client: FlaskClient, session: PaymentSession) -> None:
    pay(app, client, session.public_id)
    answer = client.get(f"/pay/{session.public_id}/return", headers={"HX-Request": "true"})
    assert answer.headers["HX-Redirect"] == f"{THANKS}&session_id={session.public_id}"


def test_without_a_page_of_the_merchants_buyers_stay_here(app: Flask, client: FlaskClient, cafe: Merchant) -> None:
    public_id = make_session(cafe, customer_email="buyer@example.com").public_id
    back = pay(app, client, public_id)
    page = client.get(back.location)
    assert page.status_code == 200
    assert "Paid. Thank you!" in page.get_data(as_text=True)
    left = client.get(f"/pay/{make_session(cafe).public_id}/cancelled")
    assert left.location.startswith("/pay/")


def test_who_leaves_the_provider_goes_back_to_the_merchant(
    app: Flask, client: FlaskClient, session: PaymentSession
) -> None:
    sent = choose(client, session.public_id)
    back = sandbox.press(client, sent.location, "cancel")
    assert back.location == f"http://localhost/pay/{session.public_id}/cancelled"
    answer = client.get(back.location)
    assert answer.location == f"https://shop.example.com/basket?session_id={session.public_id}"
    sandbox.settle(app)
    page = text_of(client, session.public_id)
    assert "This payment has ended" in page
    assert 'name="provider"' not in page


def test_who_paid_all_the_same_is_not_called_unpaid(app: Flask, client: FlaskClient, session: PaymentSession) -> None:
    pay(app, client, session.public_id)
    assert client.get(f"/pay/{session.public_id}/cancelled").location == f"/pay/{session.public_id}/return"


def test_a_begun_payment_can_be_gone_on_with(client: FlaskClient, session: PaymentSession) -> None:
    first = choose(client, session.public_id).location
    assert "already begun" in text_of(client, session.public_id)
    assert choose(client, session.public_id).location == first
    assert len(all_of(PaymentAttempt)) == 1


def test_pressing_pay_on_a_paid_page_starts_nothing(app: Flask, client: FlaskClient, session: PaymentSession) -> None:
    token = csrf_token(client, f"/pay/{session.public_id}")
    pay(app, client, session.public_id)
    answer = client.post(f"/pay/{session.public_id}", data={"csrf_token": token, "provider": "sandbox"})
    assert answer.location == f"/pay/{session.public_id}"
    assert len(all_of(PaymentAttempt)) == 1


def test_the_form_needs_its_token(client: FlaskClient, session: PaymentSession) -> None:
    assert client.post(f"/pay/{session.public_id}", data={"provider": "sandbox"}).status_code == 400
    assert all_of(PaymentAttempt) == []


def test_its_time_is_over_after_a_day(client: FlaskClient, session: PaymentSession) -> None:
    token = csrf_token(client, f"/pay/{session.public_id}")
    with clock.shifted(timedelta(hours=24, seconds=1)):
        assert "This payment has ended" in text_of(client, session.public_id)
        client.post(f"/pay/{session.public_id}", data={"csrf_token": token, "provider": "sandbox"})
    assert all_of(PaymentAttempt) == []


@pytest.mark.parametrize("provider", ["", "paypal", "stripe\0", "../sandbox"])
def test_a_provider_that_is_none_is_a_wrong_choice(client: FlaskClient, session: PaymentSession, provider: str) -> None:
    answer = post_form(client, f"/pay/{session.public_id}", {"provider": provider})
    assert answer.status_code == 422
    assert "not available" in answer.get_data(as_text=True)
    assert all_of(PaymentAttempt) == []


def test_only_what_the_merchant_allows_is_offered(client: FlaskClient, alice: User) -> None:
    shop = make_merchant(alice, allowed_providers=["stripe"])
    public_id = make_session(shop).public_id
    page = text_of(client, public_id)
    assert 'value="stripe"' in page
    assert 'value="sandbox"' not in page
    assert choose(client, public_id, "sandbox").status_code == 422


def test_a_suspended_merchants_pages_are_closed(client: FlaskClient, cafe: Merchant, session: PaymentSession) -> None:
    token = csrf_token(client, f"/pay/{session.public_id}")
    with unit_of_work():
        merchants.suspend_merchant(cafe.id, reason="Complaints", by="staff@example.com", at=clock.now())
    assert "This page is closed" in text_of(client, session.public_id)
    client.post(f"/pay/{session.public_id}", data={"csrf_token": token, "provider": "sandbox"})
    assert all_of(PaymentAttempt) == []


def test_money_on_its_way_to_a_suspended_merchant_counts(
    app: Flask, client: FlaskClient, cafe: Merchant, session: PaymentSession
) -> None:
    sent = choose(client, session.public_id)
    with unit_of_work():
        merchants.suspend_merchant(cafe.id, reason="Complaints", by="staff@example.com", at=clock.now())
    sandbox.press(client, sent.location, "pay_card")
    sandbox.settle(app)
    assert all_of(PaymentSession)[0].status is SessionStatus.PAID


def test_our_own_sales_have_no_such_page(client: FlaskClient, cafe: Merchant) -> None:
    own = signed.make_session(purpose="order")
    for path in ("", "/return", "/cancelled"):
        assert client.get(f"/pay/{own.public_id}{path}").status_code == 404
    assert client.get("/pay/%00").status_code == 404
    assert client.get("/pay/" + "0" * 36).status_code == 404


def test_anybody_may_ask_how_a_session_stands(app: Flask, client: FlaskClient, session: PaymentSession) -> None:
    address = f"/session/{session.public_id}/status"
    assert client.get(address).get_json() == {
        "status": "created", "payment_status": "not_started", "payment_provider": None, "paid_at": None,
    }  # fmt: skip
    pay(app, client, session.public_id)
    told = client.get(address).get_json()
    assert (told["status"], told["payment_status"], told["payment_provider"]) == ("paid", "completed", "sandbox")
    assert client.get("/session/unknown/status").status_code == 404


def test_the_page_costs_the_same_whatever_happened(
    client: FlaskClient, session: PaymentSession, count_queries: Callable[[], int]
) -> None:
    text_of(client, session.public_id)
    count_queries()
    text_of(client, session.public_id)
    cost = count_queries()
    choose(client, session.public_id)
    count_queries()
    text_of(client, session.public_id)
    assert count_queries() == cost <= 3


# --- test and live never meet ---


def test_a_live_session_is_not_offered_make_believe_money(client: FlaskClient, cafe: Merchant) -> None:
    """This installation is a test one, so nothing here takes real money."""
    public_id = make_session(cafe, mode="live").public_id
    page = text_of(client, public_id)
    assert "No way to pay is available" in page
    assert "This is a test" not in page


@pytest.mark.parametrize(
    ("installed", "mode", "offered"),
    [
        ("test", "test", ["stripe", "sandbox"]),
        ("test", "live", []),
        ("live", "live", ["stripe"]),
        ("live", "test", ["sandbox"]),
    ],
)
def test_a_provider_takes_sessions_of_its_own_mode_only(
    app: Flask, cafe: Merchant, installed: str, mode: str, offered: list[str]
) -> None:
    settings = replace(app.config["SETTINGS"], payment_mode=installed, **NO_CHAINS)
    registry = Registry(settings)
    assert [provider.name for provider in registry.for_checkout("PLN", mode)] == offered
    session = make_session(cafe, mode=mode)
    before, app.extensions["payment_registry"] = app.extensions["payment_registry"], registry
    try:
        for name in {"stripe", "sandbox"} - set(offered):
            with pytest.raises(UnknownProvider):
                start_attempt(session.id, name, at=clock.now())
    finally:
        app.extensions["payment_registry"] = before
    assert all_of(PaymentAttempt) == []


def test_money_of_the_other_mode_never_counts(app: Flask, cafe: Merchant) -> None:
    """The last line: even a provider that does not say whether it was a test is known by how it is set up."""
    live = make_session(cafe, mode="live")
    test = make_session(cafe, mode="test")
    quiet = NormalisedEvent(Outcome.PAID, amount_minor=4900, currency="PLN")
    assert settling._why_not_counted("stripe", live, quiet) == "wrong_mode"
    assert settling._why_not_counted("stripe", test, quiet) is None
    assert settling._why_not_counted("stripe", test, replace(quiet, is_test=False)) == "wrong_mode"
    assert settling._why_not_counted("gone", live, quiet) is None
    real = Registry(replace(app.config["SETTINGS"], payment_mode="live", **NO_CHAINS))
    before, app.extensions["payment_registry"] = app.extensions["payment_registry"], real
    try:
        assert settling._why_not_counted("stripe", test, quiet) == "wrong_mode"
        assert settling._why_not_counted("sandbox", live, quiet) == "wrong_mode"
        assert settling._why_not_counted("stripe", live, quiet) is None
    finally:
        app.extensions["payment_registry"] = before


def test_a_session_that_was_never_begun_ends(app: Flask, client: FlaskClient, session: PaymentSession) -> None:
    with clock.shifted(timedelta(hours=25)):
        checking.request_due_checks(at=clock.now())
        work(app)
    look_again()
    assert db.session.get_one(PaymentSession, session.id).status is SessionStatus.FAILED
    with pytest.raises(SessionClosed):
        start_attempt(session.id, "sandbox", at=clock.now())


# --- colours ---


@pytest.mark.parametrize(("color", "text"), [("#0f766e", "#ffffff"), ("#ffee00", "#000000"), ("#000000", "#ffffff")])
def test_words_on_a_merchants_colour_can_be_read(color: str, text: str) -> None:
    rules = branding.stylesheet(color)
    assert f"--merchant: {color}; --merchant-text: {text};" in rules
    assert branding._contrast(color, text) >= 4.5


def test_every_grey_gets_words_that_can_be_read() -> None:
    for part in range(256):
        color = f"#{part:02x}{part:02x}{part:02x}"
        text = "#ffffff" if "text: #ffffff" in branding.stylesheet(color) else "#000000"
        assert branding._contrast(color, text) >= 4.5, color


@pytest.mark.parametrize("color", ["", "red", "#fff", "#0f766e; } body { display: none", "#GGGGGG"])
def test_what_is_no_colour_makes_no_rule(color: str) -> None:
    assert branding.stylesheet(color) == ""


def test_the_page_brings_its_merchants_colour(client: FlaskClient, alice: User) -> None:
    shop = make_merchant(alice, brand_name="Miś", brand_color="#0f766e")
    page = text_of(client, make_session(shop).public_id)
    assert f"/pay/brand/{shop.public_id}.css?c=0f766e" in page
    rules = client.get(f"/pay/brand/{shop.public_id}.css")
    assert (rules.status_code, rules.mimetype) == (200, "text/css")
    assert "#0f766e" in rules.get_data(as_text=True)
    assert client.get("/pay/brand/nobody.css").status_code == 404
