"""The shop window of sites, and what programs read of one."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import unit_of_work
from portal.merchants.api.openapi import SITE
from portal.sites import queries
from portal.sites.errors import SiteNotFound
from portal.sites.services import keeping, ownership
from tests.payments.serving import configured
from tests.sites.support import BY, deploy, make_live_site, make_site, make_version, page


def text(browser: FlaskClient, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.get_data(as_text=True)


def test_a_site_shows_both_prices_and_itself_in_a_frame_of_another_origin(client: FlaskClient) -> None:
    make_live_site("bakery", title="The bakery", summary="Fresh bread", purchase_price_minor=49_500)
    answer = client.get("/sites/bakery")
    shown = answer.get_data(as_text=True)
    assert "$495" in shown
    assert "$95" in shown
    assert "Fresh bread" in shown
    assert '<iframe src="http://sites.localhost:8001/bakery/"' in shown
    assert 'sandbox="allow-scripts' in shown
    assert "allow-same-origin" not in shown
    assert answer.headers["Content-Security-Policy"].endswith("frame-src http://sites.localhost:8001")


def test_prices_come_from_the_site(client: FlaskClient) -> None:
    make_live_site("bakery", purchase_price_minor=123_400, monthly_price_minor=5_600, currency="EUR")
    shown = text(client, "/sites/bakery")
    assert "€1,234" in shown
    assert "€56" in shown


def test_where_nothing_takes_the_currency_there_is_somebody_to_write_to(client: FlaskClient, app: Flask) -> None:
    make_live_site("bakery")
    with configured(app, sandbox_enabled=False, stripe_secret_key=""):
        shown = text(client, "/sites/bakery")
    assert f"mailto:{app.config['BUSINESS_EMAIL']}" in shown
    assert "Purchase for" not in shown


def test_there_is_a_form_for_who_is_buying(client: FlaskClient) -> None:
    make_live_site("bakery")
    shown = text(client, "/sites/bakery")
    assert 'action="/sites/bakery/purchase"' in shown
    assert 'name="email"' in shown
    assert "Purchase for $495" in shown
    assert 'name="csrf_token"' in shown


def test_a_site_that_is_sold_says_so(client: FlaskClient, alice: User) -> None:
    make_live_site("bakery", owner=alice)
    shown = text(client, "/sites/bakery")
    assert "has found its owner" in shown
    assert alice.email not in shown
    assert "bakery" not in text(client, "/sites")


@pytest.mark.parametrize("slug", ["none", "..", "%2e%2e", ".well-known", "con", "A", "b" * 200, "п", "a%00b"])
def test_there_is_no_page_for_what_is_no_site(client: FlaskClient, slug: str) -> None:
    assert client.get(f"/sites/{slug}").status_code == 404
    assert client.get(f"/api/v1/sites/{slug}").status_code == 404


def test_a_site_without_content_or_deleted_is_not_shown(client: FlaskClient) -> None:
    make_site("empty")
    site = make_live_site("bakery")
    assert client.get("/sites/empty").status_code == 404
    assert "/sites/bakery" in text(client, "/sites")
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
    assert client.get("/sites/bakery").status_code == 404
    assert client.get("/api/v1/sites/bakery").status_code == 404
    assert "No site is for sale" in text(client, "/sites")


def test_hostile_words_are_shown_as_words(client: FlaskClient) -> None:
    make_live_site("bakery", title="<script>alert(1)</script>", summary='"><img src=x onerror=alert(1)>{{7*7}}')
    for path in ("/sites", "/sites/bakery"):
        shown = text(client, path)
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown
        assert "{{7*7}}" in shown


def test_the_list_costs_the_same_for_one_and_for_many(client: FlaskClient, count_queries: Callable[[], int]) -> None:
    make_live_site()
    count_queries()
    client.get("/sites")
    one = count_queries()
    for _ in range(6):
        make_live_site()
    count_queries()
    client.get("/sites")
    assert count_queries() == one
    assert one <= 3


def test_programs_read_what_is_described(client: FlaskClient, alice: User) -> None:
    make_live_site("bakery", title="The bakery")
    make_live_site("florist", owner=alice)
    answer = client.get("/api/v1/sites/bakery")
    values: dict[str, Any] = answer.get_json()
    Draft202012Validator(SITE, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(values)
    assert values["purchase_price"] == {"amount": "495.00", "amount_minor": 49_500, "currency": "USD"}
    assert values["monthly_price"]["amount_minor"] == 9_500
    assert values["is_for_sale"] is True
    assert values["url"] == "http://sites.localhost:8001/bakery/"
    sold = client.get("/api/v1/sites/florist").get_json()
    Draft202012Validator(SITE).validate(sold)
    assert sold["is_for_sale"] is False
    assert alice.email not in str(sold)
    assert client.get("/api/v1/sites/none").get_json()["error"]["code"] == "not_found"


def test_a_customer_finds_their_own_sites_only(app: Flask, alice: User, mallory: User) -> None:
    site = make_live_site("bakery", owner=alice)
    assert queries.get_site("bakery", owner=alice).id == site.id
    for slug, who in (("bakery", mallory), ("none", alice)):
        with pytest.raises(SiteNotFound):
            queries.get_site(slug, owner=who)


def test_a_bought_site_can_be_activated_and_deactivated(app: Flask, alice: User) -> None:
    site = make_live_site("bakery", owner=alice)
    for verb, status in (
        (ownership.activate, "active"),
        (ownership.activate, "active"),
        (ownership.deactivate, "owned"),
    ):
        with unit_of_work():
            assert verb(site, at=clock.now()).status == status


def test_a_deployed_update_is_what_the_page_frames(client: FlaskClient) -> None:
    site = make_live_site("bakery", page("one"))
    deploy(site, make_version(site, page("two")))
    assert "/bakery/" in text(client, "/sites/bakery")
