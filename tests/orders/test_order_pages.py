"""A customer's own pages: orders, packages, overview. A stranger finds nothing."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.catalogue import services as catalogue
from portal.catalogue.models import PackageProcess
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.paging import PAGE_SIZE
from portal.orders import queries
from portal.orders.errors import EnrolmentNotFound
from portal.orders.models import Enrolment, LineKind, Order, OrderLine, OrderStatus, PaymentStatus
from portal.orders.services import cart as carts
from portal.orders.services.cart import CartOwner
from portal.payments.models import Invoice
from tests import sandbox
from tests.browser_like import post_form
from tests.factories import make_package
from tests.orders import shop
from tests.orders.test_cart import make_row

LogIn = Callable[[User], FlaskClient]
OWN_PAGES = ("/orders", "/my/packages", "/dashboard")


def make_orders(user: User, count: int) -> None:
    """Orders as rows, for lists."""
    at = clock.now()
    package = make_package()
    with unit_of_work():
        for number in range(count):
            db.session.add(
                Order(
                    number=f"ORD-20260101-{number:04d}", idempotency_key=f"k{user.id}-{number}", user_id=user.id,
                    email=user.email, name=user.name, locale="en", currency="PLN", total_minor=6900, tax_minor=1290,
                    status=OrderStatus.OPEN, payment_status=PaymentStatus.PENDING,
                    placed_at=at - timedelta(days=count - number),
                    lines=[
                        OrderLine(
                            position=1, kind=LineKind.PACKAGE, package_id=package.id, description=f"Zeile {number}",
                            unit_price_minor=6900, quantity=1, tax_rate_basis_points=2300, tax_minor=1290,
                            total_minor=6900,
                        )
                    ],
                )
            )  # fmt: skip


@pytest.mark.parametrize("address", [*OWN_PAGES, "/orders/ORD-20260101-0000", "/my/packages/biuro"])
def test_a_visitor_is_asked_to_log_in(client: FlaskClient, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 303
    assert response.headers["Location"].startswith("/login?next=")


def test_the_history_shows_own_orders_only_newest_first(alice: User, bob: User, login: LogIn) -> None:
    make_orders(alice, 3)
    text = shop.page_text(login(alice).get("/orders"))
    assert text.index("ORD-20260101-0002") < text.index("ORD-20260101-0001") < text.index("ORD-20260101-0000")
    assert "Zeile 1" in text
    assert "Waiting for payment" in text
    assert "ORD-" not in login(bob).get("/orders").get_data(as_text=True)


def test_a_long_history_comes_in_pages(alice: User, login: LogIn) -> None:
    make_orders(alice, PAGE_SIZE + 2)
    browser = login(alice)
    first = browser.get("/orders").get_data(as_text=True)
    assert first.count('class="row-link"') == PAGE_SIZE
    last_id = db.session.scalar(select(Order.id).order_by(Order.id).offset(2).limit(1))
    second = browser.get(f"/orders?before={last_id}", headers={"HX-Request": "true"}).get_data(as_text=True)
    assert second.lstrip().startswith('<div id="results"')
    assert second.count('class="row-link"') == 2


@pytest.mark.parametrize("query", ["before=-1", "before=x", "after=1e9", "before=" + "9" * 40, "after=%00"])
def test_odd_cursors_get_an_ordinary_page(alice: User, login: LogIn, query: str) -> None:
    assert login(alice).get(f"/orders?{query}").status_code == 200


def test_an_order_shows_what_was_bought_and_what_happened(app: Flask, alice: User, login: LogIn) -> None:
    browser = login(alice)
    order = shop.buy(app, browser, make_package(name="Biuro"))
    text = shop.page_text(browser.get(f"/orders/{order.number}"))
    invoice = db.session.scalars(select(Invoice)).one()
    for words in (order.number, "Biuro", "PLN\u00a069.00", "Paid", "Unlocked", invoice.number):
        assert words in text
    assert f'href="/invoices/{invoice.number}.pdf"' in text
    assert "Pay this order" not in text


def test_an_open_order_can_be_paid_from_its_page(app: Flask, alice: User, login: LogIn) -> None:
    browser = shop.ready(login(alice), make_package(slug="biuro"))
    shop.place(browser)
    number = shop.only_order().number
    page = f"/orders/{number}"
    text = shop.page_text(browser.get(page))
    assert "Pay this order" in text
    assert "https:" in browser.get(page).headers["Content-Security-Policy"]
    sent = post_form(browser, f"{page}/pay", {"provider": "sandbox"}, page=page)
    sandbox.press(app.test_client(), sent.headers["Location"], "pay_card")
    shop.work(app)
    assert shop.owned_by(alice.email) == {"biuro": 1}


def test_a_strangers_order_is_not_found_and_cannot_be_paid(
    app: Flask, alice: User, mallory: User, login: LogIn
) -> None:
    shop.place(shop.ready(login(alice), make_package()))
    number = shop.only_order().number
    stranger = login(mallory)
    assert stranger.get(f"/orders/{number}").status_code == 404
    values = {"csrf_token": shop.token(stranger), "provider": "sandbox"}
    assert stranger.post(f"/orders/{number}/pay", data=values).status_code == 404


@pytest.mark.parametrize("number", ["ORD-20260101-ZZZZ", "x", "%00", "'--", "9" * 400])
def test_an_order_that_is_not_there_is_not_found(alice: User, login: LogIn, number: str) -> None:
    assert login(alice).get(f"/orders/{number}").status_code in (400, 404)


def test_staff_do_not_see_customers_orders_on_the_customers_pages(
    app: Flask, alice: User, staff: User, login: LogIn
) -> None:
    shop.place(shop.ready(login(alice), make_package()))
    assert login(staff).get(f"/orders/{shop.only_order().number}").status_code == 404


def test_what_is_owned_is_on_the_shelf_with_its_steps(app: Flask, alice: User, login: LogIn) -> None:
    package = make_package(slug="biuro", name="Biuro", steps=0)
    with unit_of_work():
        package.processes.append(PackageProcess(position=1, name="Odbiór poczty", description="Co pięć minut."))
        db.session.add(package)
    browser = login(alice)
    order = shop.buy(app, browser, package)
    assert "Biuro" in browser.get("/my/packages").get_data(as_text=True)
    text = shop.page_text(browser.get("/my/packages/biuro"))
    for words in ("Biuro", "Odbiór poczty", "Co pięć minut.", "n8n", "1 licence", order.number):
        assert words in text


def test_what_is_owned_stays_after_it_is_no_longer_sold(app: Flask, alice: User, login: LogIn) -> None:
    package = make_package(slug="biuro")
    browser = login(alice)
    shop.buy(app, browser, package)
    with unit_of_work():
        catalogue.unpublish_package(package.id, by="staff", at=clock.now())
    assert browser.get("/packages/biuro").status_code == 404
    text = browser.get("/my/packages/biuro").get_data(as_text=True)
    assert "Add more licences" not in text


def test_without_an_enrolment_there_is_no_page(app: Flask, alice: User, mallory: User, login: LogIn) -> None:
    children = [make_package(slug="a")]
    bundle = make_package(slug="zestaw", children=children)
    shop.buy(app, login(alice), bundle)
    assert login(alice).get("/my/packages/a").status_code == 200
    assert login(alice).get("/my/packages/zestaw").status_code == 404
    assert login(mallory).get("/my/packages/a").status_code == 404
    assert login(alice).get("/my/packages/nic").status_code == 404


def test_the_enrolment_check_says_who_has_what(app: Flask, alice: User, mallory: User, login: LogIn) -> None:
    make_package(slug="b")
    shop.buy(app, login(alice), make_package(slug="a"))
    assert queries.is_enrolled(alice.id, "a")
    assert not queries.is_enrolled(alice.id, "b")
    assert not queries.is_enrolled(alice.id, "nic")
    assert not queries.is_enrolled(mallory.id, "a")
    with pytest.raises(EnrolmentNotFound):
        queries.get_enrolment(mallory.id, "a")


def test_the_overview_says_what_is_owned_and_what_to_do(app: Flask, alice: User, login: LogIn) -> None:
    browser = login(alice)
    shop.buy(app, browser, make_package(name="Gekauft"))
    shop.place(shop.ready(browser, make_package(name="Offen")))
    number = shop.orders()[-1].number
    text = shop.page_text(browser.get("/dashboard"))
    assert "Hello, Alice Nowak" in text
    assert "Gekauft" in text
    assert f"Order {number} waits for your payment" in text
    assert f'href="/orders/{number}"' in text


@pytest.mark.parametrize(
    ("address", "words"),
    [("/orders", "No orders yet"), ("/my/packages", "Nothing here yet"), ("/dashboard", "You own no packages yet")],
)
def test_empty_pages_say_what_to_do(alice: User, login: LogIn, address: str, words: str) -> None:
    text = shop.page_text(login(alice).get(address))
    assert words in text
    assert 'href="/packages"' in text


def test_an_unproven_address_is_mentioned(app: Flask, login: LogIn, alice: User) -> None:
    with unit_of_work():
        db.session.get_one(User, alice.id).email_verified_at = None
    assert "Confirm your e-mail address" in login(alice).get("/dashboard").get_data(as_text=True)


@pytest.mark.parametrize("count", [1, 100])
@pytest.mark.parametrize(("address", "limit"), [("/orders", 3), ("/my/packages", 3), ("/dashboard", 6)])
def test_own_lists_cost_the_same_however_long(
    alice: User, login: LogIn, count_queries: Callable[[], int], count: int, address: str, limit: int
) -> None:
    make_orders(alice, count)
    with unit_of_work():
        for number in range(count):
            package = make_row(number)
            db.session.add(package)
            db.session.flush()
            db.session.add(Enrolment(user_id=alice.id, package_id=package.id, licences=1, enrolled_at=clock.now()))
    browser = login(alice)
    count_queries()
    assert browser.get(address).status_code == 200
    assert count_queries() == limit


@pytest.mark.parametrize("count", [1, 50])
def test_paying_costs_the_same_for_one_package_and_for_fifty(
    app: Flask, alice: User, login: LogIn, count_queries: Callable[[], int], count: int
) -> None:
    with unit_of_work():
        for number in range(count):
            package = make_row(number)
            db.session.add(package)
            db.session.flush()
            carts.add_to_cart(CartOwner(user_id=alice.id), package.slug, 1, at=clock.now())
    browser = login(alice)
    shop.give_details(browser)
    values = {"key": shop.review_key(browser), "provider": "sandbox", "csrf_token": shop.token(browser)}
    count_queries()
    assert browser.post("/checkout/review", data=values).status_code == 303
    # Two are the sandbox company's own books; SQLite writes the two lines of history one by one.
    assert count_queries() - 2 == (12 if db.engine.dialect.name == "postgresql" else 13)
    assert len(shop.only_order().lines) == count
