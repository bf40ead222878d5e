"""Choosing the language of the pages."""

import pytest
from flask.testing import FlaskClient

from tests.browser_like import csrf_token
from tests.core.test_redirects import LEAVING


def language(browser: FlaskClient) -> str:
    return browser.get("/login").get_data(as_text=True).split('<html lang="')[1][:2]


def test_a_link_changes_the_language_and_goes_back(client: FlaskClient) -> None:
    response = client.get("/language?locale=pl&next=/login?next=/account")
    assert response.location == "/login?next=/account"
    assert language(client) == "pl"


def test_a_form_does_the_same(client: FlaskClient) -> None:
    token = csrf_token(client, "/login")
    response = client.post("/language", data={"csrf_token": token, "locale": "es", "next": "/register"})
    assert response.status_code == 303
    assert response.location == "/register"
    assert language(client) == "es"


def test_htmx_is_told_to_load_the_whole_page(client: FlaskClient) -> None:
    response = client.get("/language?locale=pl&next=/login", headers={"HX-Request": "true"})
    assert response.headers["HX-Redirect"] == "/login"


@pytest.mark.parametrize("locale", ["", "de", "../../etc", "pl\r\n"])
def test_an_unknown_language_changes_nothing(client: FlaskClient, locale: str) -> None:
    client.get("/language?locale=es")
    assert client.get("/language", query_string={"locale": locale}).status_code == 303
    assert language(client) == "es"


def test_another_site_cannot_change_it(client: FlaskClient) -> None:
    client.get("/language?locale=pl", headers={"Sec-Fetch-Site": "cross-site"})
    assert language(client) == "en"


@pytest.mark.parametrize("target", [target for target in LEAVING if target])
def test_it_never_leads_off_the_site(client: FlaskClient, target: str) -> None:
    assert client.get("/language", query_string={"locale": "pl", "next": target}).location == "/"
