"""The shop front and the shelf: filters, search, paging, fragments, and what they cost."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.catalogue.queries import SHELF_SIZE
from tests.factories import make_package
from tests.orders import shop

_CARD = re.compile(r'id="product-([a-z0-9-]+)"')


def shown(browser: FlaskClient, address: str = "/packages", *, htmx: bool = False) -> list[str]:
    """The slugs on a page of the shelf, in order."""
    response = browser.get(address, headers={"HX-Request": "true"} if htmx else {})
    assert response.status_code == 200
    return _CARD.findall(response.get_data(as_text=True))


def test_the_shelf_shows_what_is_published_in_the_order_staff_chose(client: FlaskClient) -> None:
    make_package(slug="drugi", position=2)
    make_package(slug="pierwszy", position=1)
    make_package(slug="ukryty", is_published=False)
    assert shown(client) == ["pierwszy", "drugi"]


def test_the_shelf_shows_prices_and_what_they_were(client: FlaskClient) -> None:
    make_package(name="Tani", price_minor=6900, original_price_minor=14900)
    text = shop.page_text(client.get("/packages"))
    assert "Tani" in text
    assert "PLN\u00a069" in text
    assert "PLN\u00a0149" in text


def test_filters_narrow_the_shelf(client: FlaskClient) -> None:
    make_package(slug="a", category="Marketing", is_featured=True)
    make_package(slug="b", category="Marketing")
    make_package(slug="c", category="Sprzedaż", is_featured=True)
    assert shown(client, "/packages?category=Marketing") == ["a", "b"]
    assert shown(client, "/packages?category=Sprzeda%C5%BC") == ["c"]
    assert shown(client, "/packages?featured=1") == ["a", "c"]
    assert shown(client, "/packages?category=Marketing&featured=1") == ["a"]
    assert shown(client, "/packages?category=Nic") == []


@pytest.mark.parametrize(
    "query",
    ["sprzedaz", "SPRZEDAŻ", "łódź", "lodz", "gmail", "Marketing", "lodz sprzedaz", "  sprze   ", "dull job"],
)
def test_a_search_finds_words_whatever_their_case_and_accents(client: FlaskClient, query: str) -> None:
    make_package(slug="trafiony", name="Sprzedaż Łódź", category="Marketing")
    make_package(slug="inny", name="Kadry", category="Kadry", short_description="x", description="y", tools=["Slack"])
    assert shown(client, f"/packages?q={query}") == ["trafiony"]


@pytest.mark.parametrize("query", ["%", "_", "\\", "'; DROP TABLE packages--", "nic takiego", "sprzedaz kadry"])
def test_a_search_takes_every_character_literally(client: FlaskClient, query: str) -> None:
    make_package(name="Sprzedaż")
    make_package(name="Kadry")
    assert shown(client, f"/packages?q={query}") == []


def test_the_filters_offer_every_category_also_when_nothing_matches(client: FlaskClient) -> None:
    make_package(category="Żegluga")
    make_package(category="Alarm")
    make_package(category="Zestawy")
    make_package(category="Ukryta", is_published=False)
    text = client.get("/packages?q=nic").get_data(as_text=True)
    chips = re.findall(r'<a class="chip" [^>]*hx-get[^>]*>([^<]+)</a>', text)
    assert chips == ["All", "Alarm", "Żegluga", "Zestawy"]
    assert "Nothing matches" in text


def test_an_empty_shop_says_so(client: FlaskClient) -> None:
    assert "There are no packages yet" in shop.page_text(client.get("/packages"))
    assert "There are no packages yet" in shop.page_text(client.get("/"))


def test_long_shelves_come_in_pages_that_can_be_walked_both_ways(client: FlaskClient) -> None:
    slugs = [make_package(position=number // 3).slug for number in range(SHELF_SIZE * 2 + 5)]
    pages, address, back = [], "/packages", ""
    while address:
        text = client.get(address).get_data(as_text=True)
        pages.append(_CARD.findall(text))
        links = dict(re.findall(r'rel="(prev|next)" href="([^"]+)"', text))
        back, address = links.get("prev", ""), links.get("next", "")
    assert [len(page) for page in pages] == [SHELF_SIZE, SHELF_SIZE, 5]
    assert [slug for page in pages for slug in page] == slugs
    assert shown(client, back) == pages[1]
    first = client.get(back).get_data(as_text=True)
    before = dict(re.findall(r'rel="(prev|next)" href="([^"]+)"', first))["prev"]
    assert shown(client, before) == pages[0]
    assert 'rel="prev"' not in client.get(before).get_data(as_text=True)


def test_a_full_last_page_offers_no_next_one(client: FlaskClient) -> None:
    for _ in range(SHELF_SIZE):
        make_package()
    assert 'rel="next"' not in client.get("/packages").get_data(as_text=True)


def test_paging_keeps_the_filters(client: FlaskClient) -> None:
    for _ in range(SHELF_SIZE + 1):
        make_package(category="Marketing")
    text = client.get("/packages?category=Marketing&q=package").get_data(as_text=True)
    assert re.search(r'rel="next" href="/packages\?category=Marketing&amp;q=package&amp;after=\d+-\d+"', text)


@pytest.mark.parametrize(
    "query",
    [
        "after=-1", "after=1e9", "after=99999999999999999999-1", "before=x-y", "after=%00", "after=0-0&before=9-9",
        "featured=yes", "q=" + "x" * 8_000, "category=%ff", "q=a&q=b", "sort=price", "after=1-1&after=2-2",
        "&".join(f"p{number}=1" for number in range(2_000)),
    ],
)  # fmt: skip
def test_odd_addresses_get_an_ordinary_page(client: FlaskClient, query: str) -> None:
    make_package()
    assert client.get(f"/packages?{query}").status_code == 200


@pytest.mark.parametrize("address", ["/packages?q=%00%01%7f", "/packages?category=%00%0b", "/packages/%00"])
def test_a_nul_is_a_bad_request_at_worst(client: FlaskClient, address: str) -> None:
    assert client.get(address).status_code in (200, 400, 404)


def test_htmx_gets_the_shelf_alone(client: FlaskClient) -> None:
    make_package(slug="a")
    response = client.get("/packages?q=package", headers={"HX-Request": "true"})
    text = response.get_data(as_text=True)
    assert text.lstrip().startswith('<div id="shelf"')
    assert "<html" not in text
    assert _CARD.findall(text) == ["a"]
    assert "HX-Request" in response.headers["Vary"]


@pytest.mark.parametrize("header", ["HX-Boosted", "HX-History-Restore-Request"])
def test_htmx_gets_the_whole_page_where_it_needs_one(client: FlaskClient, header: str) -> None:
    text = client.get("/packages", headers={"HX-Request": "true", header: "true"}).get_data(as_text=True)
    assert "<html" in text


def test_the_search_works_without_script(client: FlaskClient) -> None:
    text = client.get("/packages?category=Marketing").get_data(as_text=True)
    assert '<form class="filters" id="shelf-search" method="get" action="/packages"' in text
    assert '<input type="hidden" form="shelf-search" name="category" value="Marketing">' in text
    assert re.search(r'<input type="hidden" form="shelf-search" name="featured" value="1" disabled>', text)


def test_what_is_owned_is_marked_for_its_owner_only(
    app: Flask, alice: User, bob: User, login: Callable[[User], FlaskClient]
) -> None:
    package = make_package()
    shop.buy(app, login(alice), package)
    assert "Yours" in login(alice).get("/packages").get_data(as_text=True)
    assert "Yours" not in login(bob).get("/packages").get_data(as_text=True)
    assert "Yours" not in app.test_client().get("/packages").get_data(as_text=True)


def test_home_begins_with_the_featured_packages(client: FlaskClient) -> None:
    for number in range(8):
        make_package(slug=f"p{number}", position=number, is_featured=number in (3, 6))
    assert shown(client, "/") == ["p3", "p6", "p0", "p1", "p2", "p4"]


def test_what_staff_typed_is_shown_as_text(client: FlaskClient) -> None:
    nasty = '"><img src=x onerror=alert(1)>{{7*7}}'
    make_package(slug="a", name=nasty, category=nasty, short_description=nasty, description=nasty, tools=[nasty])
    for address in ("/", "/packages", "/packages/a", f"/packages?q={nasty}"):
        text = client.get(address).get_data(as_text=True)
        assert "<img src=x" not in text
        assert "onerror=alert(1)&gt;{{7*7}}" in text


@pytest.mark.parametrize("count", [1, 100])
def test_the_shelf_costs_three_queries_signed_in_and_one_less_without_a_cart(
    app: Flask,
    client: FlaskClient,
    alice: User,
    login: Callable[[User], FlaskClient],
    count_queries: Callable[[], int],
    count: int,
) -> None:
    packages = [make_package(category=f"Kategoria {number % 7}") for number in range(count)]
    signed_in = login(alice)
    shop.add(signed_in, packages[0])
    for address in ("/", "/packages", "/packages?category=Kategoria 0", "/packages?q=nic"):
        count_queries()
        signed_in.get(address)
        assert count_queries() == 3, address
        client.get(address)
        assert count_queries() == 2, address
