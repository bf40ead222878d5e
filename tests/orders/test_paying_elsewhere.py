"""Checkout with the providers that are different: no webhooks in test mode, and a link that nobody can ask about."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.orders.models import PaymentStatus
from portal.payments.models import SessionStatus
from tests.browser_like import post_form
from tests.factories import make_package
from tests.fakes.onecom import WEBHOOK_SECRET as SHOPS_SECRET
from tests.fakes.onecom import OneComShop
from tests.fakes.recurrente import SECRET_KEY, WEBHOOK_SECRET, FakeRecurrente
from tests.orders import shop
from tests.payments.serving import configured, served


@pytest.fixture
def recurrente(app: Flask) -> Iterator[FakeRecurrente]:
    """A Recurrente in test mode: it sends no webhooks."""
    with FakeRecurrente() as fake:
        keys = {"recurrente_secret_key": SECRET_KEY, "recurrente_webhook_secret": WEBHOOK_SECRET}
        with configured(app, recurrente_api_url=fake.api_url, **keys):
            yield fake


@pytest.fixture
def onecom(app: Flask) -> Iterator[OneComShop]:
    """A shop whose program posts to the portal."""
    with (
        served(app) as portal,
        OneComShop(f"{portal}/webhooks/onecom") as running,
        configured(app, onecom_checkout_url=running.link, onecom_webhook_secret=SHOPS_SECRET),
    ):
        yield running


def press(page: str, action: str) -> str:
    """Press a button on a provider's page; where it sends the buyer then."""
    return httpx.post(page, data={"action": action}, trust_env=False).headers["Location"]


def path_of(address: str) -> str:
    return "/" + address.split("/", 3)[3]


def test_a_returned_buyer_is_told_without_any_webhook(
    app: Flask, client: FlaskClient, recurrente: FakeRecurrente
) -> None:
    shop.ready(client, make_package(slug="biuro", name="Biuro", currency="GTQ"))
    sent = shop.place(client, "recurrente")
    assert sent.status_code == 303
    assert recurrente.world.url in sent.headers["Location"]
    back = path_of(press(sent.headers["Location"], "card"))
    assert recurrente.webhooks.deliveries == []
    # What the page itself does, five seconds after the payment began: it has a worker ask.
    with clock.shifted(timedelta(seconds=6)):
        assert client.get(back).status_code == 200
        shop.work(app)
        text = shop.page_text(client.get(back))
    assert shop.only_order().payment_status is PaymentStatus.PAID
    assert "Waiting for the provider" not in text


def test_it_is_offered_for_its_currencies_only(client: FlaskClient, recurrente: FakeRecurrente) -> None:
    shop.ready(client, make_package(slug="biuro", name="Biuro"))
    assert 'value="recurrente"' not in client.get("/checkout/review").get_data(as_text=True)
    assert shop.place(client, "recurrente").status_code == 422


def test_the_form_may_lead_to_a_page_on_this_machine(client: FlaskClient, onecom: OneComShop) -> None:
    shop.ready(client, make_package(slug="biuro", name="Biuro"))
    policy = client.get("/checkout/review").headers["Content-Security-Policy"]
    form_action = next(part for part in policy.split(";") if "form-action" in part)
    assert f" {onecom.url}" in form_action
    assert "{" not in form_action


def test_an_order_is_paid_at_the_shop(app: Flask, client: FlaskClient, onecom: OneComShop) -> None:
    shop.ready(client, make_package(slug="biuro", name="Biuro"))
    sent = shop.place(client, "onecom")
    back = path_of(press(sent.headers["Location"], "completed"))
    onecom.sender.wait_idle()
    shop.work(app)
    assert shop.only_order().payment_status is PaymentStatus.PAID
    assert "Waiting for the provider" not in shop.page_text(client.get(back))


def test_an_order_whose_message_was_lost_is_paid_by_an_administrators_word(
    app: Flask, client: FlaskClient, onecom: OneComShop, admin: User, login: Callable[[User], FlaskClient]
) -> None:
    onecom.set_webhooks(lose=True)
    shop.ready(client, make_package(slug="biuro", name="Biuro"))
    press(shop.place(client, "onecom").headers["Location"], "completed")
    shop.work(app)
    [session] = shop.sessions()
    assert session.status is SessionStatus.PENDING
    values = {"outcome": "paid", "reason": "The shop's list shows it"}
    assert post_form(login(admin), f"/admin/payments/{session.public_id}/by-hand", values).status_code == 303
    shop.work(app)
    assert shop.only_order().payment_status is PaymentStatus.PAID
