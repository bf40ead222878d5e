"""One package: what it does, what a bundle contains, what it costs."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.catalogue.models import PackageProcess
from portal.core.db import db, unit_of_work
from tests.factories import make_package
from tests.orders import shop


def test_a_package_shows_its_steps_tools_and_price(client: FlaskClient) -> None:
    package = make_package(slug="a", name="Biuro", price_minor=6900, original_price_minor=14900, steps=0)
    with unit_of_work():
        package.processes.append(PackageProcess(position=1, name="Odbiór poczty", description="Co pięć minut."))
        db.session.add(package)
    text = shop.page_text(client.get("/packages/a"))
    for words in (
        "Biuro",
        "PLN\u00a069",
        "PLN\u00a0149",
        "You save PLN\u00a080",
        "n8n",
        "Odbiór poczty",
        "Co pięć minut.",
    ):
        assert words in text


def test_a_bundle_shows_what_it_contains(client: FlaskClient) -> None:
    children = [make_package(slug="b", name="Drugi"), make_package(slug="a", name="Pierwszy")]
    hidden = make_package(slug="c", name="Trzeci", is_published=False)
    make_package(slug="zestaw", children=[*children, hidden])
    text = shop.page_text(client.get("/packages/zestaw"))
    assert text.index("Drugi") < text.index("Pierwszy") < text.index("Trzeci")
    assert 'href="/packages/b"' in text
    assert 'href="/packages/c"' not in text


@pytest.mark.parametrize("slug", ["nic", "ukryty", "..", "%2e%2e", "A", "a" * 2_000])
def test_what_is_not_for_sale_is_not_found(client: FlaskClient, slug: str) -> None:
    make_package(slug="ukryty", is_published=False)
    make_package(slug="a")
    assert client.get(f"/packages/{slug}").status_code == 404


def test_an_owner_is_told_and_a_stranger_is_not(
    app: Flask, alice: User, mallory: User, login: Callable[[User], FlaskClient]
) -> None:
    package = make_package(slug="a")
    shop.buy(app, login(alice), package)
    mine = shop.page_text(login(alice).get("/packages/a"))
    assert "This is in your packages." in mine
    assert 'href="/my/packages/a"' in mine
    assert "Add more licences" in mine
    assert "This is in your packages." not in shop.page_text(login(mallory).get("/packages/a"))


def test_the_page_speaks_the_visitors_language_in_money(client: FlaskClient) -> None:
    make_package(slug="a", price_minor=6950)
    text = shop.page_text(client.get("/packages/a", headers={"Accept-Language": "pl"}))
    assert "69,50\u00a0zł" in text


@pytest.mark.parametrize("count", [1, 20])
def test_a_product_costs_three_queries_signed_in(
    app: Flask, alice: User, login: Callable[[User], FlaskClient], count_queries: Callable[[], int], count: int
) -> None:
    children = [make_package(steps=count) for _ in range(count)]
    make_package(slug="zestaw", children=children, steps=count)
    browser = login(alice)
    shop.add(browser, children[0])
    count_queries()
    assert browser.get("/packages/zestaw").status_code == 200
    assert count_queries() == 3
    assert app.test_client().get("/packages/zestaw").status_code == 200
    assert count_queries() == 2
