"""Checkout with PayU: offered where its contract has the currency, and given the buyer's address."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.payments.providers.registry import Registry
from tests.factories import make_package
from tests.fakes.payu import CLIENT_SECRET, POS_ID, SECOND_KEY, FakePayU
from tests.orders import shop


@pytest.fixture
def payu(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakePayU]:
    """A PayU of our own beside the shop's other providers; its notifications go nowhere."""
    with FakePayU(webhook_url="") as fake:
        settings = replace(
            app.config["SETTINGS"],
            payu_api_url=fake.url,
            payu_merchant_id=POS_ID,
            payu_secret_key=CLIENT_SECRET,
            payu_webhook_secret=SECOND_KEY,
        )
        monkeypatch.setitem(app.config, "PAYU_API_URL", fake.url)
        monkeypatch.setitem(app.extensions, "payment_registry", Registry(settings))
        yield fake


def test_a_guest_is_sent_to_payu_with_their_address(client: FlaskClient, payu: FakePayU) -> None:
    client.environ_base["REMOTE_ADDR"] = "203.0.113.7"
    shop.ready(client, make_package(name="Biuro", price_minor=6900))
    review = client.get("/checkout/review")
    page = shop.page_text(review)
    assert "PayU" in page
    assert "Bank transfer" in page
    assert payu.url in review.headers["Content-Security-Policy"]
    sent = shop.place(client, provider="payu")
    (order,) = payu.world.orders.values()
    assert (sent.status_code, sent.headers["Location"]) == (303, payu.world.page_url(order["orderId"]))
    (session,) = shop.sessions()
    assert (order["extOrderId"], order["totalAmount"]) == (session.public_id, "6900")
    assert order["customerIp"] == "203.0.113.7"
    assert payu.world.pages[order["orderId"]]["continue_url"] == session.success_url


def test_paying_an_open_order_again_goes_to_the_same_page(client: FlaskClient, payu: FakePayU) -> None:
    client.environ_base["REMOTE_ADDR"] = "203.0.113.7"
    shop.ready(client, make_package(price_minor=6900))
    key = shop.review_key(client)
    first = shop.place(client, provider="payu")
    again = shop.post_form(client, "/checkout/review", {"key": key, "provider": "payu"}, page="/cart")
    assert again.headers["Location"] == first.headers["Location"]
    assert len(payu.world.orders) == 1


def test_payu_is_not_offered_in_a_currency_its_contract_lacks(client: FlaskClient, payu: FakePayU) -> None:
    shop.ready(client, make_package(price_minor=6900, currency="EUR"))
    assert "PayU" not in shop.page_text(client.get("/checkout/review"))
    assert shop.place(client, provider="payu").status_code == 422
    assert payu.world.orders == {}


def test_a_lost_page_is_no_dead_end(client: FlaskClient, payu: FakePayU) -> None:
    payu.control.add_fault("lost_answer", method="POST", path="/api/v2_1/orders")
    client.environ_base["REMOTE_ADDR"] = "203.0.113.7"
    shop.ready(client, make_package(price_minor=6900))
    key = shop.review_key(client)
    assert shop.place(client, provider="payu").status_code == 503
    again = shop.post_form(client, "/checkout/review", {"key": key, "provider": "payu"}, page="/cart")
    (session,) = shop.sessions()
    names = {order["extOrderId"]: order_id for order_id, order in payu.world.orders.items()}
    assert set(names) == {session.public_id, f"{session.public_id}-2"}
    assert again.headers["Location"] == payu.world.page_url(names[f"{session.public_id}-2"])
    assert [attempt.number for attempt in session.attempts] == [1, 2]
    assert {order["customerIp"] for order in payu.world.orders.values()} == {"203.0.113.7"}
