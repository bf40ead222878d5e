"""The page that tells the truth about a payment: every fact on its own, and never "failed" while one says paid."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from portal.orders.routes import paying
from portal.payments.models import EventStatus, PaymentSession, ProviderEvent
from portal.payments.services.sessions import fail_session
from portal.payments.services.starting import start_attempt
from tests import sandbox
from tests.browser_like import post_form
from tests.factories import make_package, make_user
from tests.orders import shop

HTMX = {"HX-Request": "true"}


def path_of(address: str) -> str:
    """An address of ours without its host."""
    return "/" + address.split("/", 3)[3]


@pytest.fixture
def placed(client: FlaskClient) -> str:
    """The sandbox's page of an order that the client has just placed."""
    shop.ready(client, make_package(slug="biuro", name="Biuro"))
    return shop.place(client).headers["Location"]


def truth(browser: FlaskClient, *, htmx: bool = False) -> str:
    """What the page says to somebody who came back through the provider's link."""
    response = browser.get(path_of(shop.sessions()[0].success_url), headers=HTMX if htmx else {})
    assert response.status_code == 200
    return shop.page_text(response)


def asks_again(text: str) -> bool:
    """Whether the page will look by itself what has become of the payment."""
    return 'hx-get="/orders/' in text


def deliver_only(app: Flask) -> None:
    """Bring the webhook to the inbox without applying it."""
    with sandbox.carried_in_process(app):
        outbox.drain(sandbox.delivery_queue())
    shop.look_again()


def test_before_anything_is_known_it_waits_and_asks_again(client: FlaskClient, placed: str) -> None:
    text = truth(client)
    assert "Waiting for the provider" in text
    assert "Waiting for the provider to say that the money is here" in text
    assert 'hx-trigger="load delay:2s"' in text
    assert "failed" not in text.lower()
    assert "did not go through" not in text


def test_it_works_without_script(client: FlaskClient, placed: str) -> None:
    text = truth(client)
    link = re.search(r'href="(/orders/[^"]+)">[^<]*<svg[^>]*>.*?</svg>Look again', text)
    assert link is not None
    assert client.get(link.group(1).replace("&amp;", "&")).status_code == 200


def test_a_webhook_that_was_seen_and_not_applied_is_said_so(app: Flask, client: FlaskClient, placed: str) -> None:
    sandbox.press(app.test_client(), placed, "pay_card")
    deliver_only(app)
    text = truth(client)
    assert "The payment has arrived" in text
    assert "The provider says that the money is here" in text
    assert "Its message has reached us" in text
    assert "We have not counted the money yet" in text
    assert 'hx-trigger="load delay:' in text


def test_paid_and_unlocked_is_final(app: Flask, client: FlaskClient, placed: str) -> None:
    sandbox.press(app.test_client(), placed, "pay_card")
    shop.work(app)
    text = truth(client)
    assert "Paid. Thank you!" in text
    for fact in ("We have counted the money", "Your purchase is unlocked"):
        assert fact in text
    assert not asks_again(text)


def test_the_fragment_brings_the_number_on_the_cart_up_to_date(app: Flask, client: FlaskClient, placed: str) -> None:
    assert 'id="cart-badge"' not in truth(client, htmx=True)
    sandbox.press(app.test_client(), placed, "pay_card")
    shop.work(app)
    fragment = truth(client, htmx=True)
    assert fragment.lstrip().startswith('<section id="truth"')
    assert '<span class="count-badge is-empty" id="cart-badge" hx-swap-oob="true">' in fragment


def test_a_failed_payment_is_said_and_another_try_is_offered(app: Flask, client: FlaskClient, placed: str) -> None:
    sandbox.press(app.test_client(), placed, "cancel")
    shop.work(app)
    text = truth(client)
    assert "The payment did not go through" in text
    assert "The provider says that no money came" in text
    assert "/cancelled" in text
    assert not asks_again(text)


def test_a_failure_is_never_told_while_any_fact_says_paid(app: Flask, client: FlaskClient, placed: str) -> None:
    (session,) = shop.sessions()
    with unit_of_work():
        fail_session(db.session.get_one(PaymentSession, session.id), by="test", at=clock.now(), reason="expired")
    sandbox.press(app.test_client(), placed, "pay_card")
    shop.work(app)
    assert db.session.scalars(select(ProviderEvent.status)).all() == [EventStatus.CONFLICT]
    text = truth(client)
    assert "We have your money and are looking at it" in text
    assert "please do not pay again" in text
    assert "did not go through" not in text
    cancelled = client.get(path_of(shop.sessions()[0].cancel_url))
    assert "/return" in cancelled.headers["Location"]


def test_a_purchase_that_waits_for_its_owner_says_what_to_do(app: Flask, client: FlaskClient) -> None:
    make_user(email=shop.BUYER["email"], is_verified=False)
    shop.buy(app, client, make_package())
    text = truth(client)
    assert "Paid. One step is left" in text
    assert "It waits until the e-mail address is confirmed." in text


def test_late_news_are_asked_for_and_not_with_every_look(app: Flask, client: FlaskClient, placed: str) -> None:
    sandbox.press(app.test_client(), placed, "pay_untold")
    with clock.shifted(timedelta(seconds=10)):
        for _ in range(5):
            assert "so we are asking" in truth(client)
        topics = db.session.scalars(select(OutboxMessage.topic)).all()
        assert 1 <= topics.count("payment_session.check_requested") <= 2
        shop.work(app)
        text = truth(client)
    assert "Paid. Thank you!" in text
    assert "It has not reached us, so we asked the provider ourselves." in text


def test_nothing_is_asked_before_it_is_late(client: FlaskClient, placed: str) -> None:
    truth(client)
    assert "payment_session.check_requested" not in db.session.scalars(select(OutboxMessage.topic)).all()


@pytest.mark.parametrize(("polls", "delay"), [("0", "2s"), ("20", "5s"), ("40", "15s"), ("x", "2s"), ("-1", "2s")])
def test_it_asks_more_slowly_with_time(client: FlaskClient, placed: str, polls: str, delay: str) -> None:
    address = f"{path_of(shop.sessions()[0].success_url)}&polls={polls}"
    assert f"load delay:{delay}" in client.get(address).get_data(as_text=True)


def test_it_stops_asking_in_the_end_and_leaves_a_link(client: FlaskClient, placed: str) -> None:
    text = shop.page_text(client.get(f"{path_of(shop.sessions()[0].success_url)}&polls=500"))
    assert not asks_again(text)
    assert "Look again" in text


def test_who_may_look(
    app: Flask, client: FlaskClient, alice: User, mallory: User, login: Callable[[User], FlaskClient]
) -> None:
    owner = shop.ready(login(alice), make_package())
    shop.place(owner)
    order = shop.only_order()
    (session,) = shop.sessions()
    for page, link in (("return", session.success_url), ("cancelled", session.cancel_url)):
        plain, signed = f"/orders/{order.number}/{page}", path_of(link)
        assert login(alice).get(plain).status_code == 200  # the owner, in any browser
        assert owner.get(plain).status_code == 200
        assert app.test_client().get(signed).status_code == 200  # whoever has our link
        assert app.test_client().get(plain).status_code == 404
        assert login(mallory).get(plain).status_code == 404
        for key in ("", "x", "abc.def", shop.sessions()[0].public_id):
            assert login(mallory).get(f"{plain}?key={key}").status_code == 404


def test_a_guest_sees_the_order_in_the_browser_that_placed_it(app: Flask, client: FlaskClient, placed: str) -> None:
    number = shop.only_order().number
    assert client.get(f"/orders/{number}/return").status_code == 200
    assert app.test_client().get(f"/orders/{number}/return").status_code == 404


def test_the_link_of_one_order_opens_no_other(app: Flask, client: FlaskClient, placed: str) -> None:
    other = shop.ready(app.test_client(), make_package())
    shop.place(other)
    first, second = shop.orders()
    key = shop.sessions()[0].success_url.split("key=")[1]
    stranger = app.test_client()
    assert stranger.get(f"/orders/{first.number}/return?key={key}").status_code == 200
    assert stranger.get(f"/orders/{second.number}/return?key={key}").status_code == 404


def test_a_strangers_page_and_a_missing_one_are_the_same(app: Flask, client: FlaskClient, placed: str) -> None:
    number = shop.only_order().number
    addresses = (f"/orders/{number}/return", "/orders/ORD-20260101-ZZZZ/return")
    pages = [app.test_client().get(address).get_data(as_text=True) for address in addresses]
    varying = re.compile(r'[0-9a-f]{16}|csrf_token" value="[^"]+"|ORD-[0-9A-Z-]+')
    assert len({varying.sub("", page) for page in pages}) == 1


def test_the_page_tells_a_stranger_with_the_link_no_address(app: Flask, client: FlaskClient, placed: str) -> None:
    sandbox.press(app.test_client(), placed, "pay_card")
    shop.work(app)
    text = truth(app.test_client())
    assert "g•••@example.com" in text
    assert shop.BUYER["email"] not in text
    assert shop.BUYER["name"] not in text


def test_a_cancelled_payment_can_be_tried_again_by_the_guest(app: Flask, client: FlaskClient, placed: str) -> None:
    back = sandbox.press(client, placed, "cancel").headers["Location"]
    text = shop.page_text(client.get(path_of(back)))
    assert "Not paid yet" in text
    assert "your cart is as you left it" in text
    shop.work(app)
    number = shop.only_order().number
    again = post_form(client, f"/orders/{number}/pay", {"provider": "sandbox"}, page=path_of(back))
    assert again.status_code == 303
    assert again.headers["Location"] != placed
    sandbox.press(app.test_client(), again.headers["Location"], "pay_card")
    shop.work(app)
    assert shop.only_order().number == number
    assert shop.owned_by(shop.BUYER["email"]) == {"biuro": 1}


@pytest.mark.parametrize("times", [1, 2])
def test_a_payment_that_ends_while_one_pays_again_is_followed_by_a_new_one(
    client: FlaskClient, placed: str, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """The provider's word that the buyer has left comes between choosing the payment and beginning it. Should that
    happen once more, the page says how things stand."""
    number, page, left = shop.only_order().number, path_of(shop.sessions()[0].cancel_url), [None] * times

    def start_after_the_news(session_id: int, *args: Any, **values: Any) -> str:
        if left:
            left.pop()
            with unit_of_work():
                session = db.session.get_one(PaymentSession, session_id)
                fail_session(session, by="event:1", at=clock.now(), reason="cancelled")
        return start_attempt(session_id, *args, **values)

    monkeypatch.setattr(paying, "start_attempt", start_after_the_news)
    again = post_form(client, f"/orders/{number}/pay", {"provider": "sandbox"}, page=page)
    if times == 1:
        assert "/sandbox/" in again.headers["Location"] != placed
    else:
        assert f"/orders/{number}/return" in again.headers["Location"]
    assert [one.status for one in shop.sessions()] == ["failed", "pending" if times == 1 else "failed"]


def test_with_the_link_alone_one_can_pay_again_from_another_browser(app: Flask, placed: str) -> None:
    number, stranger = shop.only_order().number, app.test_client()
    page = path_of(shop.sessions()[0].cancel_url)
    key = page.split("key=")[1]
    assert post_form(stranger, f"/orders/{number}/pay", {"provider": "sandbox"}, page=page).status_code == 404
    again = post_form(stranger, f"/orders/{number}/pay", {"provider": "sandbox", "key": key}, page=page)
    assert again.headers["Location"] == placed  # the page that is still open


def test_paying_again_at_a_provider_that_is_down_is_said_on_the_page(client: FlaskClient, placed: str) -> None:
    page = path_of(shop.sessions()[0].cancel_url)
    number = shop.only_order().number
    failed = post_form(client, f"/orders/{number}/pay", {"provider": "stripe"}, page=page)
    assert failed.status_code == 503
    assert "does not answer right now" in failed.get_data(as_text=True)
    wrong = post_form(client, f"/orders/{number}/pay", {"provider": "nichts"}, page=page, htmx=True)
    assert wrong.status_code == 422
    assert wrong.get_data(as_text=True).lstrip().startswith('<div id="cancelled"')


def test_what_is_paid_cannot_be_paid_again(app: Flask, client: FlaskClient, placed: str) -> None:
    sandbox.press(app.test_client(), placed, "pay_card")
    shop.work(app)
    number = shop.only_order().number
    again = client.post(f"/orders/{number}/pay", data={"csrf_token": shop.token(client), "provider": "sandbox"})
    assert f"/orders/{number}/return" in again.headers["Location"]
    assert len(shop.sessions()) == 1
    assert "/return" in client.get(path_of(shop.sessions()[0].cancel_url)).headers["Location"]


def test_the_page_costs_few_queries(client: FlaskClient, placed: str, count_queries: Callable[[], int]) -> None:
    address = path_of(shop.sessions()[0].success_url)
    count_queries()
    client.get(address)
    assert count_queries() <= 4
