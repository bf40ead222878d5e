"""Checkout on two screens, for guests and members, until the provider's page."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import Address, AddressKind, User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.money import tax_included
from portal.orders.models import Cart, Order, OrderStatus, PaymentStatus
from portal.orders.services import placing
from portal.payments.models import PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.services.sessions import fail_session
from tests import sandbox
from tests.browser_like import post_form
from tests.factories import make_package
from tests.orders import shop
from tests.orders.test_cart import reprice, unpublish


def test_a_guest_goes_from_the_cart_to_the_providers_page(client: FlaskClient) -> None:
    shop.add(client, make_package(name="Biuro", price_minor=6900), 2)
    shop.add(client, make_package(name="Chatbot", price_minor=14900))
    details = shop.give_details(client, email=" Guest@Example.COM ")
    assert (details.status_code, details.headers["Location"]) == (303, "/checkout/review")
    review = shop.page_text(client.get("/checkout/review"))
    assert "guest@example.com" in review
    assert "Pay PLN\u00a0287.00" in review
    sent = shop.place(client)
    assert sent.status_code == 303
    assert "/sandbox/" in sent.headers["Location"]
    order = shop.only_order()
    assert re.fullmatch(r"ORD-\d{8}-[0-9A-Z]{4}", order.number)
    assert (order.email, order.name, order.user_id) == ("guest@example.com", "Maria Wiśniewska", None)
    assert (order.total_minor, order.currency) == (28700, "PLN")
    assert (order.status, order.payment_status) == (OrderStatus.OPEN, PaymentStatus.PENDING)
    assert [(line.description, line.quantity, line.total_minor) for line in order.lines] == [
        ("Biuro", 2, 13800),
        ("Chatbot", 1, 14900),
    ]
    assert order.tax_minor == tax_included(13800, 2300) + tax_included(14900, 2300)
    (session,) = shop.sessions()
    assert (session.purpose, session.subject_id, session.amount_minor) == ("order", order.id, 28700)
    assert session.customer_email == "guest@example.com"
    assert session.success_url.startswith(f"http://localhost/orders/{order.number}/return?key=")


def test_a_member_finds_the_form_filled_in(alice: User, login: Callable[[User], FlaskClient]) -> None:
    browser = login(alice)
    with unit_of_work():
        db.session.add(
            Address(
                user_id=alice.id, kind=AddressKind.BILLING, company="Alice sp. z o.o.", tax_id="5260250274",
                line1="ul. Prosta 1", city="Warszawa", postal_code="00-850", country="PL",
            )
        )  # fmt: skip
    shop.add(browser, make_package())
    text = browser.get("/checkout").get_data(as_text=True)
    for value in ("alice@example.com", "Alice Nowak", "Alice sp. z o.o.", "5260250274", "ul. Prosta 1", "00-850"):
        assert f'value="{value}"' in text
    assert "<details" in text
    values = {"email": "billing@alice.example", "name": "Alice Nowak", "country": "PL"}
    post_form(browser, "/checkout", values)
    shop.place(browser)
    order = shop.only_order()
    assert (order.user_id, order.email, order.billing) == (alice.id, "billing@alice.example", {})


def test_what_an_invoice_needs_is_kept_with_the_order(client: FlaskClient) -> None:
    shop.add(client, make_package())
    given = {
        "company": "Piekarnia", "tax_id": "PL 526-025-02-74", "line1": "ul. Leśna 3", "postal_code": "00-950",
        "city": "Warszawa",
    }  # fmt: skip
    assert shop.give_details(client, **given).status_code == 303
    shop.place(client)
    assert shop.only_order().billing == {**given, "country": "PL"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"email": ""}, "Please fill this in."),
        ({"email": "not an address"}, "This is not an e-mail address we can write to."),
        ({"email": "a@b@c.example"}, "This is not an e-mail address we can write to."),
        ({"email": "a\r\nBcc: x@example.com"}, "This is not an e-mail address we can write to."),
        ({"email": "x" * 300 + "@example.com"}, "This is not an e-mail address we can write to."),
        ({"name": "  "}, "Please fill this in."),
        ({"name": "x" * 121}, "Field cannot be longer than 120 characters."),
        ({"tax_id": "1234567890"}, "This is not a valid NIP."),
        ({"tax_id": "5260250274"}, "Whose tax number is it?"),
        ({"company": "Piekarnia"}, "An invoice with these details needs the whole address."),
        ({"country": "XX"}, "Choose a country from the list."),
    ],
)
def test_odd_details_are_refused_with_the_reason(client: FlaskClient, values: dict[str, str], message: str) -> None:
    shop.add(client, make_package())
    refused = shop.give_details(client, **values)
    assert refused.status_code == 422
    assert message in shop.page_text(refused)
    assert client.get("/checkout/review").headers["Location"] == "/checkout"


def test_a_foreign_tax_number_is_not_held_to_the_polish_rule(client: FlaskClient) -> None:
    shop.add(client, make_package())
    given = {"company": "ACME", "tax_id": "DE123456789", "line1": "x", "postal_code": "1", "city": "y", "country": "DE"}
    assert shop.give_details(client, **given).status_code == 303


def test_htmx_gets_the_forms_alone_and_is_sent_on_by_header(client: FlaskClient) -> None:
    shop.add(client, make_package())
    refused = post_form(client, "/checkout", {"email": "x"}, htmx=True)
    assert refused.status_code == 422
    assert refused.get_data(as_text=True).lstrip().startswith('<div id="checkout"')
    passed = post_form(client, "/checkout", shop.BUYER, htmx=True)
    assert (passed.status_code, passed.headers["HX-Redirect"]) == (204, "/checkout/review")
    key = shop.review_key(client)
    sent = post_form(client, "/checkout/review", {"key": key, "provider": "sandbox"}, htmx=True)
    assert sent.status_code == 204
    assert "/sandbox/" in sent.headers["HX-Redirect"]


@pytest.mark.parametrize("address", ["/checkout", "/checkout/review"])
def test_without_a_cart_there_is_nothing_to_check_out(client: FlaskClient, address: str) -> None:
    assert client.get(address).headers["Location"] == "/cart"
    response = client.post(address, data={"csrf_token": shop.token(client), **shop.BUYER, "provider": "sandbox"})
    assert response.status_code in (303, 422)
    assert shop.orders() == []


def test_the_second_screen_wants_the_first_one(client: FlaskClient) -> None:
    shop.add(client, make_package())
    assert client.get("/checkout/review").headers["Location"] == "/checkout"
    cart = db.session.scalars(select(Cart)).one()
    values = {"csrf_token": shop.token(client), "key": cart.checkout_key, "provider": "sandbox"}
    assert client.post("/checkout/review", data=values).headers["Location"] == "/checkout"
    assert shop.orders() == []


def test_the_choice_shows_how_one_can_pay(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    text = shop.page_text(client.get("/checkout/review"))
    assert "Card · BLIK" in text
    shop.ready(client.application.test_client(), make_package(currency="EUR"))


def test_blik_is_offered_in_zloty_only(client: FlaskClient) -> None:
    shop.ready(client, make_package(currency="EUR"))
    assert "BLIK" not in client.get("/checkout/review").get_data(as_text=True)


def test_the_page_may_lead_to_a_provider_and_nowhere_else_in_the_shop(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    assert (
        "form-action 'self' http://localhost https:"
        in client.get("/checkout/review").headers["Content-Security-Policy"]
    )
    assert "form-action 'self';" in client.get("/checkout").headers["Content-Security-Policy"]


def test_the_cart_stays_until_the_money_is_there(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package(name="Biuro"))
    page = shop.place(client).headers["Location"]
    assert shop.in_cart() == {"Biuro": 1}
    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    assert shop.in_cart() == {}
    assert "Your cart is empty" in client.get("/cart").get_data(as_text=True)


def test_what_was_added_while_paying_stays_in_the_cart(app: Flask, client: FlaskClient) -> None:
    bought, more, later = make_package(name="Gekauft"), make_package(name="Mehr"), make_package(name="Später")
    shop.ready(client, bought, more)
    page = shop.place(client).headers["Location"]
    shop.add(client, later)
    shop.add(client, more, 2)
    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    assert shop.in_cart() == {"Mehr": 3, "Später": 1}


def test_buying_the_same_again_after_paying_is_another_order(app: Flask, client: FlaskClient) -> None:
    package = make_package()
    shop.buy(app, client, package)
    shop.ready(client, package)
    shop.place(client)
    assert len(shop.orders()) == 2


def test_a_provider_that_is_down_leaves_order_and_cart_and_another_one_can_be_chosen(client: FlaskClient) -> None:
    shop.ready(client, make_package(name="Biuro"))
    failed = shop.place(client, "stripe")  # nothing answers at its address
    assert failed.status_code == 503
    text = shop.page_text(failed)
    assert "The payment provider does not answer right now." in text
    assert 'value="sandbox"' in text
    assert shop.in_cart() == {"Biuro": 1}
    order = shop.only_order()
    assert shop.place(client, "sandbox").status_code == 303
    assert shop.only_order().id == order.id
    assert len(shop.sessions()) == 1


def test_a_provider_that_is_down_is_said_inside_the_form_to_htmx(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    values = {"key": shop.review_key(client), "provider": "stripe"}
    failed = post_form(client, "/checkout/review", values, htmx=True)
    assert failed.status_code == 503
    assert failed.get_data(as_text=True).lstrip().startswith('<div id="checkout"')


@pytest.mark.parametrize("provider", ["", "nichts", "paypal", "sandbox ", "../stripe"])
def test_a_provider_that_does_not_exist_makes_no_order(client: FlaskClient, provider: str) -> None:
    shop.ready(client, make_package())
    response = shop.place(client, provider)
    assert response.status_code == 422
    assert "This way to pay is not available." in shop.page_text(response)
    assert shop.orders() == []
    assert shop.sessions() == []


def test_a_double_click_is_one_order_and_the_same_page(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    pages = [shop.place(client).headers["Location"] for _ in range(2)]
    assert pages[0] == pages[1]
    assert len(shop.orders()) == 1
    assert len(db.session.scalars(select(PaymentAttempt)).all()) == 1


def test_two_windows_are_one_order(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package())
    other = shop.twin(app, client)
    keys = {shop.review_key(client), shop.review_key(other)}
    assert len(keys) == 1
    assert shop.place(client).headers["Location"] == shop.place(other).headers["Location"]
    assert len(shop.orders()) == 1


def test_another_provider_after_the_first_is_the_same_order(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    shop.place(client, "sandbox")
    assert shop.place(client, "stripe").status_code == 503
    assert len(shop.orders()) == 1


def test_a_page_of_a_cart_that_changed_in_another_window_is_refused(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package(price_minor=6900))
    key = shop.review_key(client)
    shop.add(client, make_package(price_minor=10000))
    late = post_form(client, "/checkout/review", {"key": key, "provider": "sandbox"})
    assert late.status_code == 409
    text = shop.page_text(late)
    assert "Your cart was changed in another window." in text
    assert "Pay PLN\u00a0169.00" in text
    assert shop.orders() == []
    fresh = re.search(r'name="key" value="([^"]+)"', text)
    assert fresh is not None
    sent = post_form(client, "/checkout/review", {"key": fresh.group(1), "provider": "sandbox"})
    assert sent.status_code == 303
    assert shop.only_order().total_minor == 16900


def test_going_back_to_change_the_address_makes_another_order(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    shop.place(client)
    shop.give_details(client, email="right@example.com")
    shop.place(client)
    assert [order.email for order in shop.orders()] == ["guest@example.com", "right@example.com"]


@pytest.mark.parametrize("key", ["", "x", "0" * 64, "x" * 5_000, "ż", "'--"])
def test_a_key_that_is_not_the_carts_is_refused(client: FlaskClient, key: str) -> None:
    shop.ready(client, make_package())
    response = post_form(client, "/checkout/review", {"key": key, "provider": "sandbox"})
    assert response.status_code == 409
    assert shop.orders() == []


def test_somebody_elses_key_opens_nothing(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package())
    key = shop.review_key(client)
    mallory = shop.ready(app.test_client(), make_package(), email="mallory@example.com")
    assert post_form(mallory, "/checkout/review", {"key": key, "provider": "sandbox"}).status_code == 409
    assert shop.orders() == []
    page = shop.place(client).headers["Location"]
    answer = post_form(mallory, "/checkout/review", {"key": key, "provider": "sandbox"})
    assert answer.status_code == 409
    assert page not in answer.get_data(as_text=True)
    assert len(shop.orders()) == 1


def test_a_price_that_changes_before_paying_is_told_and_the_order_is_not_placed(client: FlaskClient) -> None:
    package = make_package(name="Biuro", price_minor=6900)
    shop.ready(client, package)
    key = shop.review_key(client)
    reprice(package, 9900)
    late = post_form(client, "/checkout/review", {"key": key, "provider": "sandbox"}, page="/cart")
    assert late.status_code == 303
    text = shop.page_text(client.get("/checkout", follow_redirects=True))
    assert "Biuro now costs PLN\u00a099.00 instead of PLN\u00a069.00." in text
    assert shop.orders() == []
    post_form(client, "/cart/accept", page="/cart")
    shop.place(client)
    assert shop.only_order().total_minor == 9900


def test_what_is_unpublished_before_paying_cannot_be_bought(client: FlaskClient) -> None:
    package = make_package()
    shop.ready(client, package)
    key = shop.review_key(client)
    unpublish(package)
    post_form(client, "/checkout/review", {"key": key, "provider": "sandbox"}, page="/cart")
    assert shop.orders() == []


def test_a_later_price_changes_no_order(app: Flask, client: FlaskClient) -> None:
    package = make_package(name="Biuro", price_minor=6900)
    shop.ready(client, package)
    page = shop.place(client).headers["Location"]
    reprice(package, 9900)
    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    order = shop.only_order()
    assert (order.total_minor, order.paid_minor, order.payment_status) == (6900, 6900, PaymentStatus.PAID)


def test_prices_in_the_form_are_ignored(client: FlaskClient) -> None:
    package = make_package(price_minor=6900)
    shop.ready(client, package)
    tampered = {
        "total_minor": "1", "price_minor": "1", "unit_price_minor": "1", "quantity": "0", "currency": "USD",
        "user_id": "1", "status": "fulfilled", "payment_status": "paid", "paid_minor": "6900", "number": "ORD-1",
        "email": "mallory@example.com", "discount": "100", "merchant_id": "7", "is_admin": "1",
    }  # fmt: skip
    assert shop.place(client, **tampered).status_code == 303
    order = shop.only_order()
    assert (order.total_minor, order.currency, order.paid_minor) == (6900, "PLN", 0)
    assert (order.status, order.payment_status) == (OrderStatus.OPEN, PaymentStatus.PENDING)
    assert (order.email, order.user_id) == ("guest@example.com", None)
    assert shop.sessions()[0].amount_minor == 6900


@pytest.mark.parametrize("address", ["/checkout", "/checkout/review", "/orders/ORD-20260101-AAAA/pay"])
def test_a_post_without_the_token_of_a_form_is_refused(client: FlaskClient, address: str) -> None:
    shop.ready(client, make_package())
    key = shop.review_key(client)
    response = client.post(address, data={**shop.BUYER, "key": key, "provider": "sandbox", "email": "x@example.com"})
    assert response.status_code == 400
    assert shop.orders() == []
    assert db.session.scalars(select(Cart.email)).one() == "guest@example.com"


def test_the_number_carries_the_day_where_the_business_is(app: Flask) -> None:
    assert placing.new_number(datetime(2026, 1, 20, 23, 30, tzinfo=UTC)).startswith("ORD-20260121-")
    assert placing.new_number(datetime(2026, 1, 20, 22, 30, tzinfo=UTC)).startswith("ORD-20260120-")


def test_a_number_that_is_taken_is_drawn_again(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ready(client, make_package())
    shop.place(client)
    taken = shop.only_order().number
    drawn = iter([taken, taken, "ORD-20260121-FREE"])
    monkeypatch.setattr(placing, "new_number", lambda at: next(drawn))
    other = shop.ready(app.test_client(), make_package())
    assert shop.place(other).status_code == 303
    assert [order.number for order in shop.orders()] == [taken, "ORD-20260121-FREE"]
    assert all(order.lines for order in shop.orders())


def test_the_largest_cart_fits(client: FlaskClient) -> None:
    shop.add(client, make_package(price_minor=1_000_000_000), 99)
    shop.give_details(client)
    assert shop.place(client).status_code == 303
    order = shop.only_order()
    assert order.total_minor == 99_000_000_000
    assert order.tax_minor == tax_included(99_000_000_000, 2300)


@pytest.mark.parametrize(("currency", "price", "quantity"), [("PLN", 3333, 3), ("JPY", 333, 3), ("KWD", 33333, 7)])
def test_lines_add_up_in_every_currency(client: FlaskClient, currency: str, price: int, quantity: int) -> None:
    for rate in (1900, 700):
        shop.add(client, make_package(price_minor=price, currency=currency, tax_rate_basis_points=rate), quantity)
    shop.give_details(client)
    shop.place(client)
    order = shop.only_order()
    assert order.total_minor == sum(line.total_minor for line in order.lines) == 2 * price * quantity
    assert order.tax_minor == sum(line.tax_minor for line in order.lines)


def test_after_a_failed_payment_the_same_order_can_be_paid_again(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    shop.place(client)
    (session,) = shop.sessions()
    with unit_of_work():
        fail_session(db.session.get_one(PaymentSession, session.id), by="test", at=clock.now(), reason="declined")
    assert shop.place(client).status_code == 303
    assert len(shop.orders()) == 1
    assert [one.status for one in shop.sessions()] == [SessionStatus.FAILED, SessionStatus.PENDING]


def test_while_an_expired_payment_is_not_closed_no_second_one_begins(client: FlaskClient) -> None:
    shop.ready(client, make_package())
    shop.place(client)
    with clock.shifted(timedelta(hours=25)):
        turned = shop.place(client)
    assert "/return" in turned.headers["Location"]
    assert len(shop.sessions()) == 1


def test_pressing_pay_after_it_was_paid_shows_what_became_of_it(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package())
    values = {"key": shop.review_key(client), "provider": "sandbox", "csrf_token": shop.token(client)}
    page = client.post("/checkout/review", data=values).headers["Location"]
    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    again = client.post("/checkout/review", data=values)
    assert f"/orders/{shop.only_order().number}/return" in again.headers["Location"]
    assert len(shop.orders()) == 1
    assert len(shop.sessions()) == 1


def test_someone_who_floods_checkout_is_slowed_down(client: FlaskClient) -> None:
    token = shop.token(client)
    answers = [client.post("/checkout/review", data={"csrf_token": token}).status_code for _ in range(61)]
    assert answers[-1] == 429
    assert 429 not in answers[:60]


def test_what_buyers_type_is_shown_as_text(client: FlaskClient) -> None:
    nasty = "<script>alert(1)</script>{{7*7}}"
    shop.ready(client, make_package(), name=nasty, company=nasty, line1=nasty, city=nasty, postal_code="1")
    text = client.get("/checkout/review").get_data(as_text=True)
    assert "<script>alert" not in text
    assert "{{7*7}}" in text


def test_the_session_and_order_are_there_together_or_not_at_all(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("the payment session could not be made")

    shop.ready(client, make_package(name="Biuro"))
    with monkeypatch.context() as broken:
        broken.setattr(placing, "create_session", fail)
        assert shop.place(client).status_code == 500
    assert db.session.scalars(select(Order)).all() == []
    assert shop.in_cart() == {"Biuro": 1}
    assert shop.place(client).status_code == 303
