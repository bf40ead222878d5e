"""Changing a password one knows, and giving it again before something sensitive."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, update

from portal.accounts.models import LoginSession, SignIn, User
from portal.core import clock
from portal.core.db import db, unit_of_work
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, is_signed_in, log_in
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]
CHANGE = {"current": factories.PASSWORD, "password": GOOD_PASSWORD}


def token_of(browser: FlaskClient) -> str:
    with browser.session_transaction() as kept:
        return str(kept["_user_id"])


@pytest.mark.parametrize("htmx", [False, True])
def test_the_new_password_counts_and_every_other_browser_is_out(
    client: FlaskClient, login: Login, alice: User, htmx: bool
) -> None:
    others = [login(alice), login(alice)]
    log_in(client, "alice@example.com")
    before = token_of(client)
    response = post_form(client, "/account/password", CHANGE, htmx=htmx)
    assert (response.headers["HX-Redirect"] if htmx else response.location) == "/account/security"
    assert is_signed_in(client)
    assert not any(is_signed_in(browser) for browser in others)
    assert token_of(client) != before
    other = client.application.test_client()
    assert log_in(other, "alice@example.com").status_code == 422
    assert log_in(other, "alice@example.com", GOOD_PASSWORD).status_code == 303
    assert support.subjects() == ["Your password was changed"]
    assert ("password.changed", "alice@example.com") in support.audit_lines()


def test_the_old_cookie_of_this_browser_is_dead_too(login: Login, alice: User) -> None:
    browser = login(alice)
    before = token_of(browser)
    post_form(browser, "/account/password", CHANGE)
    with browser.session_transaction() as kept:
        kept["_user_id"] = before
    assert not is_signed_in(browser)


@pytest.mark.parametrize("htmx", [False, True])
def test_a_wrong_current_password_changes_nothing(login: Login, alice: User, htmx: bool) -> None:
    browser, before = login(alice), alice.password_hash
    response = post_form(browser, "/account/password", {**CHANGE, "current": "wrong 1"}, htmx=htmx)
    assert response.status_code == 422
    assert "That is not your current password." in response.get_data(as_text=True)
    assert support.fresh(alice).password_hash == before


def test_guessing_the_current_password_from_a_stolen_session_is_slowed(login: Login, alice: User) -> None:
    browser = login(alice)
    answers = [post_form(browser, "/account/password", {**CHANGE, "current": f"wrong {n}"}) for n in range(7)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429] * 2
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert post_form(browser, "/account/password", CHANGE).status_code == 429


@pytest.mark.parametrize("password", ["", "short 1", "password1", "only letters", "alice was here 1"])
def test_a_bad_new_password_is_explained(login: Login, alice: User, password: str) -> None:
    response = post_form(login(alice), "/account/password", {**CHANGE, "password": password})
    assert response.status_code == 422
    assert 'id="password-error"' in response.get_data(as_text=True)


def test_a_right_password_given_again_is_no_line_in_the_history(login: Login, alice: User) -> None:
    post_form(login(alice), "/account/password", CHANGE)
    assert db.session.scalars(select(SignIn)).all() == []


@pytest.mark.parametrize("address", ["/account/password", "/confirm-password"])
def test_logged_out_visitors_are_sent_to_log_in(client: FlaskClient, address: str) -> None:
    assert client.get(address).location == f"/login?next={address}"
    assert post_form(client, address, CHANGE, page="/login").location == "/login"


@pytest.mark.parametrize("address", ["/account/password", "/confirm-password"])
def test_without_a_token_nothing_changes(login: Login, alice: User, address: str) -> None:
    browser, before = login(alice), alice.password_hash
    assert browser.post(address, data={**CHANGE}).status_code == 400
    assert support.fresh(alice).password_hash == before


# --- Giving it again --------------------------------------------------------------------------------------------------


def long_ago(minutes: int = 16) -> None:
    """The password of every session was given some time ago."""
    with unit_of_work():
        db.session.execute(update(LoginSession).values(authenticated_at=clock.now() - timedelta(minutes=minutes)))


def test_a_sensitive_page_asks_for_the_password_after_a_while(login: Login, alice: User) -> None:
    browser = login(alice)
    assert browser.get("/account/security/totp").status_code == 200
    long_ago()
    asked = browser.get("/account/security/totp")
    assert asked.location == "/confirm-password?next=/account/security/totp"
    before = token_of(browser)
    values = {"password": factories.PASSWORD, "next": "/account/security/totp"}
    assert post_form(browser, asked.location, values).status_code == 303
    assert token_of(browser) != before
    assert browser.get("/account/security/totp").status_code == 200


def test_a_wrong_password_opens_nothing(login: Login, alice: User) -> None:
    browser = login(alice)
    long_ago()
    answers = [post_form(browser, "/confirm-password", {"password": f"wrong {n}"}).status_code for n in range(7)]
    assert answers == [422] * 5 + [429] * 2
    assert browser.get("/account/security/totp").location.startswith("/confirm-password")


def test_a_session_that_ended_meanwhile_is_not_brought_back(
    login: Login, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from portal.accounts import hashing

    browser = login(alice)
    check = hashing.check_password

    def and_end(*args: object, **kwargs: object) -> hashing.Checked:
        with unit_of_work():
            db.session.execute(LoginSession.__table__.delete())
        return check(*args, **kwargs)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(hashing, "check_password", and_end)
    response = post_form(browser, "/confirm-password", {"password": factories.PASSWORD})
    assert response.status_code == 409
    assert not is_signed_in(browser)
