"""Twenty presses of Pay at one moment, with a control twin that shows the bug with the guard off."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.catalogue import services as catalogue
from portal.catalogue.errors import PackageInUse
from portal.catalogue.models import Package
from portal.core import clock, faults
from portal.core.db import db, unit_of_work
from portal.core.sealed import new_token
from portal.orders.models import Order
from portal.orders.services import placing
from portal.payments.models import PaymentAttempt, PaymentSession
from portal.payments.services.sessions import fail_session
from tests.crowd import all_at_once
from tests.factories import make_package
from tests.orders import shop

CROWD = 20


def presses(app: Flask, client: FlaskClient, count: int = CROWD) -> list[Callable[[], Any]]:
    """Pay, pressed in so many windows of one browser, all with the page they were shown."""
    values = {"key": shop.review_key(client), "provider": "sandbox", "csrf_token": shop.token(client)}

    def press(window: FlaskClient) -> tuple[int, str]:
        response = window.post("/checkout/review", data=values)
        return response.status_code, response.headers.get("Location", "")

    windows = [shop.twin(app, client) for _ in range(count)]
    return [lambda window=window: press(window) for window in windows]  # type: ignore[misc]  # bound now


def test_twenty_presses_at_once_are_one_order_and_the_same_page_for_all(app: Flask, client: FlaskClient) -> None:
    shop.ready(client, make_package())
    answers = all_at_once(app, presses(app, client))
    shop.look_again()
    assert len(set(answers)) == 1, answers
    status, page = answers[0]
    assert status == 303
    assert "/sandbox/" in page
    assert len(db.session.scalars(select(Order)).all()) == 1
    assert len(db.session.scalars(select(PaymentSession)).all()) == 1
    assert len(db.session.scalars(select(PaymentAttempt)).all()) == 1


def test_without_the_key_every_press_is_an_order(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.ready(client, make_package())
    make = placing._order_from

    def careless(*args: Any, **kwargs: Any) -> Order:
        order = make(*args, **kwargs)
        order.idempotency_key = new_token()
        return order

    monkeypatch.setattr(placing, "_order_from", careless)
    all_at_once(app, presses(app, client, 4))
    shop.look_again()
    assert len(db.session.scalars(select(Order)).all()) > 1


def test_paying_again_in_two_windows_opens_one_payment(app: Flask, client: FlaskClient) -> None:
    order = order_with_a_failed_payment(client)
    all_at_once(app, [paying_again(order.id)] * 8)
    assert len(shop.sessions()) == 2


def test_without_the_lock_paying_again_in_two_windows_opens_two_payments(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = order_with_a_failed_payment(client)
    look = placing.payments.sessions_of

    def slowly(purpose: str, subject_id: int) -> list[PaymentSession]:
        found = look(purpose, subject_id)
        time.sleep(0.3)
        return found

    monkeypatch.setattr(placing.payments, "sessions_of", slowly)
    monkeypatch.setattr(placing, "_lock_order", lambda order: None)
    all_at_once(app, [paying_again(order.id)] * 2)
    is_broken = len(shop.sessions()) == 3
    # SQLite has one writer at a time by itself: there is nothing to take away.
    assert is_broken == (db.engine.dialect.name == "postgresql")


def order_with_a_failed_payment(client: FlaskClient) -> Order:
    shop.ready(client, make_package())
    shop.place(client)
    (session,) = shop.sessions()
    with unit_of_work():
        fail_session(db.session.get_one(PaymentSession, session.id), by="test", at=clock.now(), reason="declined")
    return shop.only_order()


def paying_again(order_id: int) -> Callable[[], Any]:
    def work() -> None:
        with unit_of_work():
            placing.session_to_pay(db.session.get_one(Order, order_id), at=clock.now())

    return work


def test_a_package_cannot_be_deleted_while_it_is_being_ordered(app: Flask, client: FlaskClient) -> None:
    package = make_package()
    shop.ready(client, package)
    results: list[Any] = []
    package_id = package.id

    def delete() -> None:
        try:
            with unit_of_work():
                catalogue.delete_package(package_id, by="staff", at=clock.now())
            results.append("deleted")
        except PackageInUse:
            results.append("kept")

    with faults.arm("place-before-commit", "sleep:0.3"):
        answers = all_at_once(app, [*presses(app, client, 1), delete])
    placed = [answer for answer in answers if isinstance(answer, tuple)]
    shop.look_again()
    ordered = len(db.session.scalars(select(Order)).all())
    kept = db.session.get(Package, package_id) is not None
    # Either the order was first and the package stays, or the package is gone and nobody ordered it.
    assert (ordered, kept, results) in [(1, True, ["kept"]), (0, False, ["deleted"])], (placed, results)
