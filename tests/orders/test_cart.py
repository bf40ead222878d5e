"""The cart: add, change, remove, for visitors and for users, with and without script."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.catalogue import services as catalogue
from portal.catalogue.models import Package
from portal.core import clock, sealed
from portal.core.db import db, unit_of_work
from portal.orders import jobs
from portal.orders.errors import CartFull
from portal.orders.models import Cart, CartLine
from portal.orders.services import cart as carts
from portal.orders.services.cart import CartOwner
from tests.browser_like import post_form
from tests.factories import make_package
from tests.orders import shop


def line_of(package: Package) -> CartLine:
    shop.look_again()
    return db.session.scalars(select(CartLine).where(CartLine.package_id == package.id)).one()


def key() -> str:
    shop.look_again()
    return db.session.scalars(select(Cart.checkout_key)).one()


def reprice(package: Package, price_minor: int) -> None:
    """What staff do on the package's page."""
    values = catalogue.values.values_of(package)
    changed = {name: getattr(values, name) for name in values.__slots__} | {"price_minor": price_minor}
    with unit_of_work():
        catalogue.update_package(package.id, catalogue.PackageValues(**changed), by="staff", at=clock.now())


def unpublish(package: Package) -> None:
    with unit_of_work():
        catalogue.unpublish_package(package.id, by="staff", at=clock.now())


def test_a_visitor_fills_a_cart(client: FlaskClient) -> None:
    package = make_package(name="Biuro", price_minor=6900)
    response = shop.add(client, package, 2)
    assert response.status_code == 303
    assert response.headers["Location"] == "/cart"
    text = shop.page_text(client.get("/cart"))
    assert "Biuro" in text
    assert "PLN\u00a0138.00" in text
    assert "2 items in the cart" in text
    assert "PLN\u00a025.80" in text  # 23 % inside 138.00


def test_the_token_of_a_cart_is_stored_only_as_a_hash(client: FlaskClient) -> None:
    shop.add(client, make_package())
    with client.session_transaction() as cookie:
        token = cookie["cart_token"]
    cart = db.session.scalars(select(Cart)).one()
    assert cart.token_hash == sealed.token_hash(token) != token


def test_a_user_finds_the_cart_in_another_browser(alice: User, bob: User, login: Callable[[User], FlaskClient]) -> None:
    package = make_package(name="Biuro")
    shop.add(login(alice), package)
    assert "Biuro" in login(alice).get("/cart").get_data(as_text=True)
    assert "Biuro" not in login(bob).get("/cart").get_data(as_text=True)


def test_adding_again_adds_up(client: FlaskClient) -> None:
    package = make_package()
    shop.add(client, package, 2)
    shop.add(client, package, 3)
    assert line_of(package).quantity == 5


def test_changing_and_removing(client: FlaskClient) -> None:
    package = make_package()
    shop.add(client, package)
    line = line_of(package)
    address = f"/cart/lines/{line.id}/quantity"
    assert post_form(client, address, {"quantity": "7"}, page="/cart").status_code == 303
    assert line_of(package).quantity == 7
    for _ in range(2):
        removed = client.post(f"/cart/lines/{line.id}/remove", data={"csrf_token": shop.token(client)})
        assert removed.status_code == 303
    assert shop.in_cart() == {}
    assert "Your cart is empty" in client.get("/cart").get_data(as_text=True)


@pytest.mark.parametrize(
    "quantity",
    ["0", "-1", "100", "1000000000", "0.1", "1e3", "NaN", "inf", "1,5", " ", "", "²", "٣", "0x1", "1_0", "9" * 400],
)
def test_a_number_of_licences_nobody_can_buy_is_refused(client: FlaskClient, quantity: str) -> None:
    package = make_package(slug="a")
    refused = client.post("/cart/add", data={"csrf_token": shop.token(client), "slug": "a", "quantity": quantity})
    assert refused.status_code == 422
    assert "Choose between 1 and 99 licences." in refused.get_data(as_text=True)
    shop.add(client, package)
    address = f"/cart/lines/{line_of(package).id}/quantity"
    refused = post_form(client, address, {"quantity": quantity}, page="/cart")
    assert refused.status_code == 422
    assert line_of(package).quantity == 1


def test_licences_never_add_up_to_more_than_99(client: FlaskClient) -> None:
    package = make_package()
    shop.add(client, package, 60)
    assert shop.add(client, package, 40).status_code == 422
    assert line_of(package).quantity == 60
    assert shop.add(client, package, 39).status_code == 303


@pytest.mark.parametrize("slug", ["nic", "ukryty", "", "a'--", "a\x01"])
def test_what_is_not_for_sale_cannot_be_added(client: FlaskClient, slug: str) -> None:
    make_package(slug="ukryty", is_published=False)
    response = client.post("/cart/add", data={"csrf_token": shop.token(client), "slug": slug})
    assert response.status_code == 404
    assert "This package is not available." in response.get_data(as_text=True)
    assert shop.in_cart() == {}
    with client.session_transaction() as cookie:
        assert "cart_token" not in cookie


def test_two_currencies_do_not_mix_and_the_reason_is_given(client: FlaskClient) -> None:
    shop.add(client, make_package(name="Polski"))
    refused = shop.add(client, make_package(name="Amerykański", currency="USD"))
    assert refused.status_code == 422
    text = shop.page_text(refused)
    assert "Your cart is in PLN and this package is sold in USD." in text
    assert "buy what is in the cart first, or empty it" in text
    assert shop.in_cart() == {"Polski": 1}


def test_another_currency_is_fine_in_an_empty_cart(client: FlaskClient) -> None:
    package = make_package()
    shop.add(client, package)
    client.post(f"/cart/lines/{line_of(package).id}/remove", data={"csrf_token": shop.token(client)})
    assert shop.add(client, make_package(currency="USD")).status_code == 303


def test_a_cart_has_an_end(app: Flask, client: FlaskClient) -> None:
    owner = CartOwner(token="t")
    with unit_of_work():
        for _ in range(carts.MAX_LINES):
            package = Package(
                slug=f"p{_}", name="P", short_description="x", category="c", price_minor=1, is_published=True,
                created_at=clock.now(), updated_at=clock.now(),
            )  # fmt: skip
            db.session.add(package)
            db.session.flush()
            carts.add_to_cart(owner, package.slug, 1, at=clock.now())
    extra = make_package()
    with pytest.raises(CartFull), unit_of_work():
        carts.add_to_cart(owner, extra.slug, 1, at=clock.now())


def test_the_lines_of_another_cart_cannot_be_touched(app: Flask, client: FlaskClient) -> None:
    package = make_package()
    shop.add(client, package)
    line = line_of(package)
    mallory = app.test_client()
    shop.add(mallory, make_package())
    token = shop.token(mallory)
    changed = mallory.post(f"/cart/lines/{line.id}/quantity", data={"csrf_token": token, "quantity": "9"})
    assert changed.status_code == 409
    mallory.post(f"/cart/lines/{line.id}/remove", data={"csrf_token": token})
    assert line_of(package).quantity == 1


def test_a_line_that_is_gone_is_said_so_and_shows_the_cart_as_it_is(client: FlaskClient) -> None:
    package, other = make_package(), make_package(name="Drugi")
    shop.add(client, package)
    shop.add(client, other)
    line = line_of(package)
    token = shop.token(client)
    client.post(f"/cart/lines/{line.id}/remove", data={"csrf_token": token})
    late = client.post(f"/cart/lines/{line.id}/quantity", data={"csrf_token": token, "quantity": "2"})
    assert late.status_code == 409
    assert "already removed" in late.get_data(as_text=True)
    assert "Drugi" in late.get_data(as_text=True)


def test_extra_fields_change_nothing(client: FlaskClient) -> None:
    package, mine = make_package(slug="a", price_minor=6900), make_package()
    values = {
        "slug": "a", "quantity": "1", "unit_price_minor": "1", "price_minor": "1", "currency": "USD", "user_id": "1",
        "cart_id": "1", "package_id": str(mine.id), "checkout_key": "x", "name": "Mein", "status": "paid",
    }  # fmt: skip
    assert post_form(client, "/cart/add", values, page="/packages/a").status_code == 303
    line = line_of(package)
    assert (line.unit_price_minor, line.currency, line.name, line.quantity) == (6900, "PLN", package.name, 1)
    assert key() != "x"


@pytest.mark.parametrize("address", ["/cart/add", "/cart/lines/1/quantity", "/cart/lines/1/remove", "/cart/accept"])
def test_a_post_without_the_token_of_a_form_changes_nothing(client: FlaskClient, address: str) -> None:
    package = make_package(slug="a")
    shop.add(client, package)
    before = key()
    response = client.post(address, data={"slug": "a", "quantity": "3"}, headers={"HX-Request": "true"})
    assert response.status_code == 400
    assert key() == before
    assert line_of(package).quantity == 1


@pytest.mark.parametrize("line_id", ["0", "9" * 30, "-1", "x"])
def test_odd_line_numbers_break_nothing(client: FlaskClient, line_id: str) -> None:
    shop.add(client, make_package())
    token = shop.token(client)
    for action in ("quantity", "remove"):
        response = client.post(f"/cart/lines/{line_id}/{action}", data={"csrf_token": token, "quantity": "2"})
        assert response.status_code in (303, 404, 409)


def test_htmx_gets_the_cart_with_the_number_on_its_button(client: FlaskClient) -> None:
    package = make_package(slug="a", name="Biuro")
    text = shop.add(client, package, htmx=True).get_data(as_text=True)
    assert text.lstrip().startswith('<div id="cart"')
    assert "<html" not in text
    assert 'id="cart-badge" hx-swap-oob="true"' in text
    assert "1 item in the cart" in text
    changed = post_form(
        client, f"/cart/lines/{line_of(package).id}/quantity", {"quantity": "4"}, page="/cart", htmx=True
    )
    assert "4 items in the cart" in changed.get_data(as_text=True)
    removed = post_form(client, f"/cart/lines/{line_of(package).id}/remove", page="/cart", htmx=True)
    assert "Your cart is empty" in removed.get_data(as_text=True)
    assert 'class="count-badge is-empty" id="cart-badge"' in removed.get_data(as_text=True)


def test_htmx_gets_a_refusal_inside_the_cart(client: FlaskClient) -> None:
    shop.add(client, make_package())
    refused = shop.add(client, make_package(currency="USD"), htmx=True)
    assert refused.status_code == 422
    text = refused.get_data(as_text=True)
    assert text.lstrip().startswith('<div id="cart"')
    assert "One order has one currency" in text


def test_the_drawer_and_the_number_can_be_fetched_alone(client: FlaskClient) -> None:
    shop.add(client, make_package(name="Biuro"))
    drawer = client.get("/cart", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert drawer.lstrip().startswith('<div id="cart"')
    badge = client.get("/cart/badge", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert badge.strip().startswith('<span class="count-badge" id="cart-badge">1')


def test_the_forms_of_the_cart_work_without_script(client: FlaskClient) -> None:
    package = make_package()
    shop.add(client, package)
    text = client.get("/cart").get_data(as_text=True)
    line_id = line_of(package).id
    for action in (f"/cart/lines/{line_id}/quantity", f"/cart/lines/{line_id}/remove"):
        assert f'method="post" action="{action}"' in text
    assert 'href="/checkout"' in text


def test_a_price_that_has_changed_is_told_old_and_new_and_must_be_accepted(client: FlaskClient) -> None:
    package = make_package(name="Biuro", price_minor=6900)
    shop.add(client, package)
    reprice(package, 7900)
    text = shop.page_text(client.get("/cart"))
    assert "Biuro now costs PLN\u00a079.00 instead of PLN\u00a069.00." in text
    assert 'href="/checkout"' not in text
    assert client.get("/checkout").headers["Location"] == "/cart"
    assert post_form(client, "/cart/accept", page="/cart").status_code == 303
    assert line_of(package).unit_price_minor == 7900
    assert 'href="/checkout"' in client.get("/cart").get_data(as_text=True)


@pytest.mark.parametrize("make_it_go", ["unpublish", "delete", "other_currency"])
def test_what_is_no_longer_sold_is_named_and_must_go(client: FlaskClient, make_it_go: str) -> None:
    package, other = make_package(name="Biuro"), make_package(name="Drugi", price_minor=4900)
    shop.add(client, package)
    shop.add(client, other)
    if make_it_go == "unpublish":
        unpublish(package)
    elif make_it_go == "delete":
        with unit_of_work():
            catalogue.delete_package(package.id, by="staff", at=clock.now())
    else:
        with unit_of_work():
            db.session.get_one(Package, package.id).currency = "EUR"
    text = shop.page_text(client.get("/cart"))
    assert "Biuro is no longer available. Remove it before you pay." in text
    assert "PLN\u00a049.00" in text  # the total is of what is left
    assert 'href="/checkout"' not in text
    assert client.get("/checkout").status_code == 303
    post_form(client, "/cart/accept", page="/cart")
    assert shop.in_cart() == {"Drugi": 1}


def test_every_change_gives_the_cart_another_name(client: FlaskClient) -> None:
    package, other = make_package(), make_package()
    shop.add(client, package)
    seen = {key()}
    address = f"/cart/lines/{line_of(package).id}"
    steps: list[Callable[[], Any]] = [
        lambda: shop.add(client, other),
        lambda: post_form(client, f"{address}/quantity", {"quantity": "3"}, page="/cart"),
        lambda: shop.give_details(client),
        lambda: shop.give_details(client, name="Someone Else"),
        lambda: post_form(client, "/cart/accept", page="/packages"),
        lambda: post_form(client, f"{address}/remove", page="/cart"),
    ]
    for step in steps:
        step()
        assert key() not in seen
        seen.add(key())
    shop.give_details(client, name="Someone Else")
    assert key() in seen  # the same details again are no change


def test_carts_nobody_came_back_to_are_forgotten_and_users_keep_theirs(
    app: Flask, client: FlaskClient, alice: User, login: Callable[[User], FlaskClient]
) -> None:
    shop.add(client, make_package(name="Gast"))
    shop.add(login(alice), make_package(name="Alice"))
    with clock.shifted(timedelta(days=59)):
        jobs.forget_abandoned_carts()
    assert shop.in_cart() == {"Gast": 1, "Alice": 1}
    with clock.shifted(timedelta(days=61)):
        jobs.forget_abandoned_carts()
    assert shop.in_cart() == {"Alice": 1}


@pytest.mark.parametrize("count", [1, 40])
def test_the_cart_costs_two_queries_signed_in(
    app: Flask, alice: User, login: Callable[[User], FlaskClient], count_queries: Callable[[], int], count: int
) -> None:
    with unit_of_work():
        for number in range(count):
            package = make_row(number)
            db.session.add(package)
            db.session.flush()
            carts.add_to_cart(CartOwner(user_id=alice.id), package.slug, 1, at=clock.now())
    browser = login(alice)
    count_queries()
    assert browser.get("/cart").status_code == 200
    assert count_queries() == 2


def make_row(number: int) -> Package:
    at = clock.now()
    return Package(
        slug=f"row-{number}", name="P", short_description="x", category="c", price_minor=100, is_published=True,
        created_at=at, updated_at=at,
    )  # fmt: skip


def test_a_page_without_a_cart_asks_the_database_nothing_about_it(
    client: FlaskClient, count_queries: Callable[[], int]
) -> None:
    count_queries()
    client.get("/cart")
    assert count_queries() == 0
