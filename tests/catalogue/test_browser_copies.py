"""A visitor's browser may keep a page of the catalogue for as long as nothing of it can differ."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.catalogue import services
from portal.catalogue.models import Package
from portal.core import clock
from portal.core.db import unit_of_work
from tests.factories import make_package
from tests.orders import shop

PAGES = ("/", "/packages", "/packages/a", "/packages?q=package")


@pytest.fixture
def package(app: Flask) -> Package:
    return make_package(slug="a", name="Package A")


def visit(browser: FlaskClient, address: str, **headers: str) -> TestResponse:
    return browser.get(address, headers=headers)


def settled(browser: FlaskClient, address: str) -> str:
    """The tag of a page, once the visitor has the cookie that its forms need."""
    browser.get(address)
    return browser.get(address).headers["ETag"]


@pytest.mark.parametrize("address", PAGES)
def test_an_unchanged_page_is_not_sent_again(client: FlaskClient, package: Package, address: str) -> None:
    first = visit(client, address)
    again = visit(client, address, **{"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.data == b""
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "no-cache" in again.headers["Cache-Control"]
    assert "HX-Request" in again.headers["Vary"]


@pytest.mark.parametrize("address", PAGES)
def test_an_unchanged_page_costs_one_query(
    client: FlaskClient, package: Package, address: str, count_queries: Callable[[], int]
) -> None:
    tag = settled(client, address)
    count_queries()
    assert visit(client, address, **{"If-None-Match": tag}).status_code == 304
    assert count_queries() == 1


def change_name(package: Package) -> None:
    values = services.values.values_of(package)
    changed = services.PackageValues(**{**{name: getattr(values, name) for name in values.__slots__}, "name": "Neu"})
    services.update_package(package.id, changed, by="staff", at=clock.now())


def unpublish(package: Package) -> None:
    services.unpublish_package(package.id, by="staff", at=clock.now())


def delete(package: Package) -> None:
    services.delete_package(package.id, by="staff", at=clock.now())


def change_contents(package: Package) -> None:
    services.set_bundle_children(package.id, [make_child()], by="staff", at=clock.now())


_children: list[int] = []


def make_child() -> int:
    return _children[-1]


@pytest.mark.parametrize("change", [change_name, unpublish, delete, change_contents])
def test_a_change_of_the_catalogue_is_seen_at_once(
    client: FlaskClient, package: Package, change: Callable[[Package], None]
) -> None:
    _children.append(make_package().id)
    tag = settled(client, "/packages")
    with unit_of_work():
        change(package)
    assert visit(client, "/packages", **{"If-None-Match": tag}).status_code == 200


def test_moving_a_package_is_seen_at_once(client: FlaskClient, package: Package) -> None:
    make_package()
    tag = settled(client, "/packages")
    with unit_of_work():
        services.move_package(package.id, 1, by="staff", at=clock.now())
    assert visit(client, "/packages", **{"If-None-Match": tag}).status_code == 200


def test_another_language_is_another_page(client: FlaskClient, package: Package) -> None:
    tag = settled(client, "/packages")
    assert visit(client, "/packages", **{"If-None-Match": tag, "Accept-Language": "pl"}).status_code == 200
    client.get("/language?locale=es&next=/packages")
    assert visit(client, "/packages", **{"If-None-Match": tag}).status_code == 200


def test_a_fragment_is_not_its_page(client: FlaskClient, package: Package) -> None:
    tag = settled(client, "/packages")
    assert visit(client, "/packages", **{"If-None-Match": tag, "HX-Request": "true"}).status_code == 200


def test_another_address_is_another_page(client: FlaskClient, package: Package) -> None:
    tag = settled(client, "/packages")
    assert visit(client, "/packages?q=a", **{"If-None-Match": tag}).status_code == 200


def test_the_form_of_a_kept_page_still_works(client: FlaskClient, package: Package) -> None:
    first = visit(client, "/packages/a")
    token = re.search(r'name="csrf_token" value="([^"]+)"', first.get_data(as_text=True))
    assert token is not None
    assert visit(client, "/packages/a", **{"If-None-Match": first.headers["ETag"]}).status_code == 304
    added = client.post("/cart/add", data={"csrf_token": token.group(1), "slug": "a"})
    assert added.status_code == 303


def test_a_visitor_with_another_token_in_the_forms_gets_another_page(
    app: Flask, client: FlaskClient, package: Package
) -> None:
    tag = settled(client, "/packages")
    assert visit(app.test_client(), "/packages", **{"If-None-Match": tag}).status_code == 200


def test_who_has_a_cart_always_sees_its_number(client: FlaskClient, package: Package) -> None:
    tag = settled(client, "/packages")
    shop.add(client, package)
    response = visit(client, "/packages", **{"If-None-Match": tag})
    assert response.status_code == 200
    assert "ETag" not in response.headers
    assert "1 item in the cart" in response.get_data(as_text=True)


def test_who_is_signed_in_always_gets_a_fresh_page(
    client: FlaskClient, alice: User, login: Callable[[User], FlaskClient], package: Package
) -> None:
    tag = settled(client, "/packages")
    response = visit(login(alice), "/packages", **{"If-None-Match": tag})
    assert response.status_code == 200
    assert "ETag" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"


def test_a_message_that_waits_is_shown_once(client: FlaskClient, package: Package) -> None:
    tag = settled(client, "/packages")
    with client.session_transaction() as cookie:
        cookie["_flashes"] = [("success", "Hello again")]
    response = visit(client, "/packages", **{"If-None-Match": tag})
    assert "Hello again" in response.get_data(as_text=True)
    assert visit(client, "/packages", **{"If-None-Match": tag}).status_code == 304


def test_a_page_that_is_missing_is_never_kept(client: FlaskClient, package: Package) -> None:
    assert "ETag" not in visit(client, "/packages/nic").headers
