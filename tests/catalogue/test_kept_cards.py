"""A card is rendered once, and still nobody gets anybody else's form or an old price."""

from collections.abc import Callable

from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.orders.models import Enrolment
from tests import factories
from tests.browser_like import csrf_token, post_form


def test_two_visitors_get_the_same_card_with_tokens_of_their_own(app: Flask) -> None:
    factories.make_package(slug="biuro")
    first, second = app.test_client(), app.test_client()
    tokens = {csrf_token(first, "/packages"), csrf_token(second, "/packages")}
    assert len(tokens) == 2
    for browser in (first, second):
        assert post_form(browser, "/cart/add", {"slug": "biuro"}, page="/packages").status_code == 303


def test_a_changed_price_is_shown_at_once(client: FlaskClient) -> None:
    package = factories.make_package(price_minor=6900)
    assert "69" in client.get("/packages").get_data(as_text=True)
    with unit_of_work():
        db.session.get_one(Package, package.id).price_minor = 123400
    page = client.get("/packages").get_data(as_text=True)
    assert "1,234" in page


def test_what_is_mine_is_marked_for_me_only(
    app: Flask, alice: User, bob: User, login: Callable[[User], FlaskClient]
) -> None:

    package = factories.make_package()
    with unit_of_work():
        db.session.add(Enrolment(user_id=alice.id, package_id=package.id, enrolled_at=clock.now()))
    assert "Yours" in login(alice).get("/packages").get_data(as_text=True)
    assert "Yours" not in login(bob).get("/packages").get_data(as_text=True)


def test_each_language_has_its_own_card(client: FlaskClient) -> None:
    factories.make_package(is_featured=True)
    english = client.get("/packages", headers={"Accept-Language": "en"}).get_data(as_text=True)
    polish = client.get("/packages", headers={"Accept-Language": "pl"}).get_data(as_text=True)
    assert english.count("product-card") == polish.count("product-card") == 1
    assert 'lang="pl"' in polish
