"""A visitor's cart becomes the user's at log-in."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.orders.models import Cart
from portal.orders.services import cart as carts
from tests import sandbox
from tests.accounts.support import log_in
from tests.factories import make_package
from tests.orders import shop


def lines(user: User) -> dict[str, int]:
    shop.look_again()
    cart = db.session.scalars(select(Cart).where(Cart.user_id == user.id)).one_or_none()
    return {line.name: line.quantity for line in cart.lines} if cart else {}


def test_a_visitors_cart_is_there_after_logging_in(client: FlaskClient, alice: User) -> None:
    shop.add(client, make_package(name="Biuro"), 2)
    assert log_in(client, alice.email).status_code == 303
    assert lines(alice) == {"Biuro": 2}
    assert "Biuro" in client.get("/cart").get_data(as_text=True)
    assert len(db.session.scalars(select(Cart)).all()) == 1


def test_the_two_carts_become_one_and_the_larger_number_stays(
    client: FlaskClient, alice: User, login: Callable[[User], FlaskClient]
) -> None:
    both, mine, guest = make_package(name="Beide"), make_package(name="Meins"), make_package(name="Gast")
    own = login(alice)
    shop.add(own, both, 5)
    shop.add(own, mine)
    shop.add(client, both, 2)
    shop.add(client, guest, 3)
    log_in(client, alice.email)
    assert lines(alice) == {"Beide": 5, "Meins": 1, "Gast": 3}
    assert len(db.session.scalars(select(Cart)).all()) == 1


def test_the_currency_that_was_just_chosen_wins(
    client: FlaskClient, alice: User, login: Callable[[User], FlaskClient]
) -> None:
    shop.add(login(alice), make_package(name="Złoty"))
    shop.add(client, make_package(name="Dollar", currency="USD"))
    log_in(client, alice.email)
    assert lines(alice) == {"Dollar": 1}


def test_an_empty_visitors_cart_takes_nothing_away(
    client: FlaskClient, alice: User, login: Callable[[User], FlaskClient]
) -> None:
    shop.add(login(alice), make_package(name="Meins"))
    package = make_package()
    shop.add(client, package)
    with unit_of_work():
        guest = db.session.scalars(select(Cart).where(Cart.user_id.is_(None))).one()
        guest.lines.clear()
    log_in(client, alice.email)
    assert lines(alice) == {"Meins": 1}


def test_logging_in_again_with_an_old_token_brings_nothing_back(client: FlaskClient, alice: User, bob: User) -> None:
    shop.add(client, make_package(name="Biuro"))
    with client.session_transaction() as cookie:
        token = cookie["cart_token"]
    log_in(client, alice.email)
    with unit_of_work():
        carts.merge_carts(bob.id, token, at=clock.now())
    assert lines(bob) == {}
    assert lines(alice) == {"Biuro": 1}


def test_after_logging_out_the_cart_is_gone_from_the_browser(client: FlaskClient, alice: User) -> None:
    shop.add(client, make_package(name="Biuro"))
    log_in(client, alice.email)
    client.post("/logout", data={"csrf_token": shop.token(client)})
    assert "Biuro" not in client.get("/cart").get_data(as_text=True)
    assert lines(alice) == {"Biuro": 1}


def test_a_failed_log_in_merges_nothing(client: FlaskClient, alice: User) -> None:
    shop.add(client, make_package(name="Biuro"))
    log_in(client, alice.email, "wrong 7 password")
    assert lines(alice) == {}
    assert "Biuro" in client.get("/cart").get_data(as_text=True)


def test_an_order_placed_before_logging_in_still_empties_the_cart(app: Flask, client: FlaskClient, alice: User) -> None:
    shop.ready(client, make_package(name="Biuro"))
    page = shop.place(client).headers["Location"]
    log_in(client, alice.email)

    sandbox.press(app.test_client(), page, "pay_card")
    shop.work(app)
    assert lines(alice) == {}


@pytest.mark.parametrize("token", [None, 7, "", "unknown", ["x"]])
def test_an_odd_token_in_the_cookie_breaks_no_log_in(client: FlaskClient, alice: User, token: object) -> None:
    with client.session_transaction() as cookie:
        cookie["cart_token"] = token
    assert log_in(client, alice.email).status_code == 303
    assert client.get("/cart").status_code == 200
