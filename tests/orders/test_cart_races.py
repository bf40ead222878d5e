"""Clicks at the same moment, each race with a control twin that shows the bug with the guard off."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock, faults
from portal.core.db import db, unit_of_work
from portal.orders.models import Cart, CartLine
from portal.orders.services import cart as carts
from portal.orders.services.cart import CartOwner
from tests.crowd import all_at_once
from tests.factories import make_package
from tests.orders import shop

CROWD = 20


def adding(owner: CartOwner, slug: str) -> Callable[[], Any]:
    def work() -> None:
        with unit_of_work():
            carts.add_to_cart(owner, slug, 1, at=clock.now())

    return work


def test_twenty_clicks_at_once_are_twenty_licences_in_one_line(app: Flask, alice: User) -> None:
    package = make_package()
    results = all_at_once(app, [adding(CartOwner(user_id=alice.id), package.slug)] * CROWD)
    assert results == [None] * CROWD
    assert len(db.session.scalars(select(Cart)).all()) == 1
    assert db.session.scalars(select(CartLine.quantity)).all() == [CROWD]


def test_two_currencies_at_once_are_still_one_currency(app: Flask, alice: User) -> None:
    zloty, dollar = make_package(), make_package(currency="USD")
    owner = CartOwner(user_id=alice.id)
    with faults.arm("cart-after-lock", "sleep:0.05"):
        all_at_once(app, [adding(owner, zloty.slug), adding(owner, dollar.slug)] * 3)
    shop.look_again()
    assert len({line.currency for line in db.session.scalars(select(CartLine))}) == 1


def test_without_the_lock_two_currencies_meet(app: Flask, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    zloty, dollar = make_package(), make_package(currency="USD")
    owner = CartOwner(user_id=alice.id)
    with unit_of_work():
        carts._open_cart(owner, clock.now())
    without_lock(monkeypatch)
    all_at_once(app, [adding(owner, zloty.slug), adding(owner, dollar.slug)])
    shop.look_again()
    is_broken = len({line.currency for line in db.session.scalars(select(CartLine))}) == 2
    # SQLite has one writer at a time by itself: there is nothing to take away.
    assert is_broken == (db.engine.dialect.name == "postgresql")


def without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cart read without waiting for others, with a pause between looking and writing."""

    def careless(owner: CartOwner, at: Any = None) -> Cart | None:
        cart = carts._read(carts.is_owners(owner))
        time.sleep(0.3)
        return cart

    monkeypatch.setattr(carts, "_open_cart", careless)
    monkeypatch.setattr(carts, "_locked_cart", careless)
