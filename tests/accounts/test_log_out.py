"""Logging out."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import LoginSession, User
from portal.core.db import db
from tests.accounts import support
from tests.accounts.support import is_signed_in, log_in
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]


@pytest.mark.parametrize("htmx", [False, True])
def test_the_session_ends_on_the_server(client: FlaskClient, alice: User, htmx: bool) -> None:
    log_in(client, "alice@example.com")
    with client.session_transaction() as kept:
        stolen = dict(kept)
    response = post_form(client, "/logout", page="/account", htmx=htmx)
    assert (response.headers["HX-Redirect"] if htmx else response.location) == "/login"
    assert db.session.scalars(select(LoginSession)).all() == []
    assert not is_signed_in(client)
    assert "You are logged out." in client.get("/login").get_data(as_text=True)
    with client.session_transaction() as kept:
        kept.update(stolen)
    assert not is_signed_in(client)
    assert support.audit_lines()[-1] == ("sign_in.ended", "alice@example.com")


def test_other_browsers_stay(client: FlaskClient, login: Login, alice: User) -> None:
    other = login(alice)
    log_in(client, "alice@example.com")
    post_form(client, "/logout", page="/account")
    assert is_signed_in(other)


def test_the_next_person_at_this_browser_finds_nothing_but_the_language(client: FlaskClient, alice: User) -> None:
    client.get("/language?locale=pl")
    log_in(client, "alice@example.com", remember="y")
    with client.session_transaction() as kept:
        kept["cart_token"] = "cart"
    post_form(client, "/logout", page="/account")
    with client.session_transaction() as kept:
        assert set(kept) <= {"locale", "_flashes", "_permanent"}
        assert not kept.permanent


def test_logging_out_twice_is_fine(client: FlaskClient, alice: User) -> None:
    log_in(client, "alice@example.com")
    for _ in range(2):
        token_page = "/account" if is_signed_in(client) else "/login"
        assert post_form(client, "/logout", page=token_page).location == "/login"


def test_a_link_or_a_form_without_token_logs_nobody_out(login: Login, alice: User) -> None:
    browser = login(alice)
    assert browser.get("/logout").status_code == 405
    assert browser.post("/logout").status_code == 400
    assert is_signed_in(browser)
