"""Asking for a link to choose a new password, and using it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import LoginSession, TokenPurpose, User, UserToken
from portal.accounts.services import proving
from portal.accounts.services.throttling import Origin
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, is_signed_in, issue, log_in
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]


def link_for(user: User, purpose: TokenPurpose = TokenPurpose.RESET_PASSWORD, **values: object) -> str:
    return f"/password/reset/{issue(user, purpose, **values)}"  # type: ignore[arg-type]  # handed on


# --- Asking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("email", ["alice@example.com", "closed@example.com", "nobody@example.com"])
def test_asking_tells_nothing(
    client: FlaskClient, alice: User, email: str, count_queries: Callable[[], int], hash_calls: list[str]
) -> None:
    factories.make_user(email="closed@example.com", is_active=False)
    client.get("/password/forgot")
    count_queries()
    response = post_form(client, "/password/forgot", {"email": email})
    assert count_queries() == 1  # One line for the outbox, whoever it is.
    assert hash_calls == []
    assert (response.status_code, response.location) == (303, "/password/sent")
    page = client.get("/password/sent").get_data(as_text=True)
    assert f"If {email} has an account here, a link to choose a new password is on its way." in page
    expected = ["Choose a new password"] if email.startswith("alice") else []
    assert support.subjects() == expected


def test_the_typed_address_is_not_kept_in_the_clear(client: FlaskClient) -> None:
    post_form(client, "/password/forgot", {"email": "nobody@example.com"})
    payload = db.session.scalars(select(OutboxMessage)).one().payload
    assert "nobody" not in str(payload)


@pytest.mark.parametrize("email", ["", "nonsense", "a@b\r\nBcc: x@example.com"])
def test_asking_with_a_bad_address_says_so(client: FlaskClient, email: str) -> None:
    assert post_form(client, "/password/forgot", {"email": email}).status_code == 422
    assert db.session.scalars(select(OutboxMessage)).all() == []


def test_asking_is_limited_by_network(client: FlaskClient) -> None:
    answers = [post_form(client, "/password/forgot", {"email": "x"}).status_code for _ in range(21)]
    assert answers[-2:] == [422, 429]


def test_the_link_names_the_configured_host_whatever_the_request_says(client: FlaskClient, alice: User) -> None:
    forged: dict[str, Any] = {"base_url": "http://evil.example", "headers": {"X-Forwarded-Host": "evil.example"}}
    page = client.get("/password/forgot", **forged).get_data(as_text=True)
    token = page.split('name="csrf_token" value="')[1].split('"')[0]
    values = {"csrf_token": token, "email": "alice@example.com"}
    assert client.post("/password/forgot", data=values, **forged).status_code == 303
    letter = support.deliver()[-1]
    assert "http://localhost/password/reset/" in support.text_of(letter)
    assert "evil" not in letter.as_string()


def test_a_buyer_without_a_password_gets_the_set_up_link(client: FlaskClient) -> None:
    buyer = factories.make_user(email="buyer@example.com", is_verified=False)
    with unit_of_work():
        buyer.password_hash = None
    post_form(client, "/password/forgot", {"email": "buyer@example.com"})
    assert support.link_in(support.deliver()[-1]).startswith("/set-up/")


def test_without_a_token_nothing_is_asked_for(client: FlaskClient) -> None:
    assert client.post("/password/forgot", data={"email": "alice@example.com"}).status_code == 400
    assert db.session.scalars(select(OutboxMessage)).all() == []


# --- Using the link ---------------------------------------------------------------------------------------------------


def test_looking_at_the_link_does_not_use_it_up(client: FlaskClient, alice: User) -> None:
    link = link_for(alice)
    for _ in range(3):
        response = client.get(link)
        assert response.status_code == 200
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == "no-store"
    assert db.session.scalars(select(UserToken.used_at)).one() is None


def test_the_new_password_counts_at_once_and_every_session_ends(client: FlaskClient, login: Login, alice: User) -> None:
    thief = login(alice)
    response = post_form(client, link_for(alice), {"password": GOOD_PASSWORD})
    assert response.status_code == 303
    assert "Your password is changed." in client.get("/account").get_data(as_text=True)
    assert is_signed_in(client)
    assert not is_signed_in(thief)
    other = client.application.test_client()
    assert log_in(other, "alice@example.com").status_code == 422
    assert log_in(other, "alice@example.com", GOOD_PASSWORD).status_code == 303
    assert support.subjects() == ["Your password was changed"]
    assert ("password.reset", "alice@example.com") in support.audit_lines()


def test_the_new_session_is_not_the_one_the_browser_came_with(client: FlaskClient, alice: User) -> None:
    with client.session_transaction() as kept:
        kept["_user_id"] = "planted"
        kept["cart_token"] = "cart"
    post_form(client, link_for(alice), {"password": GOOD_PASSWORD})
    with client.session_transaction() as kept:
        assert kept["_user_id"] != "planted"
        assert kept["cart_token"] == "cart"


def test_a_link_works_once_and_takes_its_siblings_along(client: FlaskClient, alice: User, mallory: User) -> None:
    first, second, verification = link_for(alice), link_for(alice), issue(alice, TokenPurpose.VERIFY_EMAIL)
    strangers = link_for(mallory)
    post_form(client, first, {"password": GOOD_PASSWORD})
    for link in (first, second, f"/verify/{verification}"):
        assert client.get(link).status_code == 404
    response = post_form(client, first, {"password": "thief 7 walnut"}, page="/account")
    assert response.status_code == 404
    assert "Ask for a new link" in response.get_data(as_text=True)
    assert log_in(client.application.test_client(), "alice@example.com", "thief 7 walnut").status_code == 422
    assert client.get(strangers).status_code == 200


def test_one_link_used_twice_at_one_moment_works_once(app: Flask, alice: User) -> None:
    token = issue(alice, TokenPurpose.RESET_PASSWORD)

    def use() -> bool:
        try:
            with unit_of_work():
                proving.reset_password(token, "hash", origin=Origin(None, ""), at=clock.now())
        except proving.tokens.LinkDead:
            return False
        return True

    assert sum(support.all_at_once(app, 6, use)) == 1
    assert len(db.session.scalars(select(LoginSession)).all()) == 1


@pytest.mark.parametrize(("age", "status"), [(timedelta(minutes=59), 200), (timedelta(hours=1), 404)])
def test_a_link_lives_an_hour(client: FlaskClient, alice: User, age: timedelta, status: int) -> None:
    assert client.get(link_for(alice, at=clock.now() - age)).status_code == status


@pytest.mark.parametrize("purpose", [TokenPurpose.VERIFY_EMAIL, TokenPurpose.SET_UP_ACCOUNT])
def test_a_link_for_something_else_is_dead(client: FlaskClient, alice: User, purpose: TokenPurpose) -> None:
    assert client.get(link_for(alice, purpose)).status_code == 404


@pytest.mark.parametrize("token", ["x", "x" * 43, "x" * 4_000, "%00", "żółć", "<script>"])
def test_made_up_links_are_dead(client: FlaskClient, alice: User, token: str) -> None:
    assert client.get(f"/password/reset/{token}").status_code == 404


def test_a_link_dies_with_the_old_password_and_with_the_address(client: FlaskClient, login: Login, alice: User) -> None:
    first = link_for(alice)
    values = {"current": factories.PASSWORD, "password": GOOD_PASSWORD}
    assert post_form(login(alice), "/account/password", values).status_code == 303
    assert client.get(first).status_code == 404
    second = link_for(alice)
    with unit_of_work():
        alice.email = "moved@example.com"
    assert client.get(second).status_code == 404


def test_a_closed_accounts_link_is_dead(client: FlaskClient, alice: User) -> None:
    link = link_for(alice)
    with unit_of_work():
        alice.is_active = False
    assert client.get(link).status_code == 404


@pytest.mark.parametrize("password", ["", "short 1", "password1", "no digits here", "alice-is-here-1"])
def test_a_bad_password_is_explained_and_leaves_the_link(client: FlaskClient, alice: User, password: str) -> None:
    link = link_for(alice)
    response = post_form(client, link, {"password": password})
    assert response.status_code == 422
    assert 'id="password-error"' in response.get_data(as_text=True)
    assert post_form(client, link, {"password": GOOD_PASSWORD}).status_code == 303


def test_a_reset_does_not_get_around_the_second_step(client: FlaskClient, alice: User) -> None:
    secret = support.with_second_factor(alice)
    response = post_form(client, link_for(alice), {"password": GOOD_PASSWORD})
    assert response.location == "/login/code"
    assert not is_signed_in(client)
    assert support.enter_code(client, support.app_code(secret)).status_code == 303
    assert is_signed_in(client)


def test_a_reset_proves_the_address_and_clears_out_what_a_stranger_left(client: FlaskClient) -> None:
    squatted = factories.make_user(email="victim@example.com", is_verified=False, phone="+48 666 666 666")
    support.with_second_factor(squatted)
    response = post_form(client, link_for(squatted), {"password": GOOD_PASSWORD})
    assert response.location != "/login/code"
    owner = support.fresh(squatted)
    assert owner.is_verified
    assert not owner.has_second_factor
    assert owner.phone == ""


def test_without_a_token_nothing_changes(client: FlaskClient, alice: User) -> None:
    before = alice.password_hash
    assert client.post(link_for(alice), data={"password": GOOD_PASSWORD}).status_code == 400
    assert support.fresh(alice).password_hash == before
