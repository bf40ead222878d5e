"""Logging in with address and password."""

from collections.abc import Callable

import pytest
from flask import session as cookie
from flask.testing import FlaskClient
from sqlalchemy import select

from portal import accounts
from portal.accounts import hooks
from portal.accounts.models import LoginSession, Role, SignIn, SignInOutcome, User
from portal.core import sealed
from portal.core.db import db, unit_of_work
from tests import factories
from tests.accounts import support
from tests.accounts.support import is_signed_in, log_in
from tests.browser_like import csrf_token, post_form

WRONG = "The e-mail address or the password is not right."


def test_log_in_opens_a_session_on_the_server(client: FlaskClient, alice: User) -> None:
    response = log_in(client, "alice@example.com")
    assert response.status_code == 303
    assert is_signed_in(client)
    row = db.session.scalars(select(LoginSession)).one()
    with client.session_transaction() as kept:
        assert row.token_hash == sealed.token_hash(kept["_user_id"])
        assert not kept.permanent
    assert support.fresh(alice).last_login_at == row.created_at
    assert support.audit_lines() == [("sign_in.succeeded", "alice@example.com")]


@pytest.mark.parametrize("typed", ["alice@example.com", "  ALICE@Example.COM "])
def test_the_spelling_of_the_address_does_not_matter(client: FlaskClient, alice: User, typed: str) -> None:
    assert log_in(client, typed).status_code == 303


def test_a_wrong_password_and_an_unknown_address_get_the_same_page(client: FlaskClient, alice: User) -> None:
    wrong = log_in(client, "alice@example.com", "not it 1")
    unknown = log_in(client, "nobody@example.com", "not it 1")
    assert wrong.status_code == unknown.status_code == 422
    pages = [answer.get_data(as_text=True).replace("nobody@", "alice@") for answer in (wrong, unknown)]
    assert support.without_tokens(pages[0]) == support.without_tokens(pages[1])
    assert WRONG in pages[0]
    assert not is_signed_in(client)


@pytest.mark.parametrize(
    "typed", ["", "no at sign", "a@b\x00.example", "ą@example.com", "x" * 300 + "@example.com", "a@b@c"]
)
def test_odd_addresses_find_nobody(client: FlaskClient, typed: str) -> None:
    assert log_in(client, typed, "whatever 1").status_code == 422


def test_a_password_longer_than_any_is_wrong_without_being_hashed(
    client: FlaskClient, alice: User, hash_calls: list[str]
) -> None:
    assert log_in(client, "alice@example.com", "x1" * 5_000).status_code == 422
    assert hash_calls == []


def test_an_account_without_a_password_cannot_be_signed_in_to(client: FlaskClient) -> None:
    factories.make_user(email="buyer@example.com", role=Role.PAID, is_verified=False)
    with unit_of_work():
        db.session.scalars(select(User)).one().password_hash = None
    for password in ("", "None", factories.PASSWORD, "nobody's password"):
        assert log_in(client, "buyer@example.com", password).status_code == 422


def test_a_closed_account_hears_so_only_with_the_right_password(client: FlaskClient) -> None:
    factories.make_user(email="closed@example.com", is_active=False)
    assert WRONG in log_in(client, "closed@example.com", "not it 1").get_data(as_text=True)
    response = log_in(client, "closed@example.com")
    assert response.status_code == 403
    assert "This account is closed" in response.get_data(as_text=True)
    assert not is_signed_in(client)
    assert db.session.scalars(select(SignIn.outcome).order_by(SignIn.id.desc())).first() is SignInOutcome.INACTIVE


def test_an_unverified_account_gets_in_and_no_further(client: FlaskClient) -> None:
    factories.make_user(email="new@example.com", is_verified=False)
    assert log_in(client, "new@example.com").status_code == 303
    assert client.get("/account").status_code == 200
    assert client.get("/account/addresses").location == "/verify"


def test_remember_me_keeps_the_cookie_and_the_session_for_a_week(client: FlaskClient, alice: User) -> None:
    log_in(client, "alice@example.com", remember="y")
    with client.session_transaction() as kept:
        assert kept.permanent
    assert db.session.scalars(select(LoginSession)).one().is_remembered


def test_staff_are_never_remembered(client: FlaskClient, staff: User) -> None:
    log_in(client, "staff@example.com", remember="y")
    with client.session_transaction() as kept:
        assert not kept.permanent
    assert not db.session.scalars(select(LoginSession)).one().is_remembered


def test_nothing_planted_before_log_in_survives_it_but_cart_and_language(client: FlaskClient, alice: User) -> None:
    client.get("/login")
    with client.session_transaction() as kept:
        kept.update(_user_id="planted", cart_token="the cart", locale="en", second_step="planted", evil=1)
        planted_csrf = kept["csrf_token"]
    log_in(client, "alice@example.com")
    with client.session_transaction() as kept:
        assert kept["cart_token"] == "the cart"
        assert kept["locale"] == "en"
        assert kept["_user_id"] != "planted"
        assert kept.get("csrf_token") != planted_csrf
        assert not {"second_step", "evil"} & set(kept)


def test_logging_in_twice_in_one_browser_leaves_no_way_back_to_the_first_session(
    client: FlaskClient, alice: User, bob: User
) -> None:
    log_in(client, "alice@example.com")
    with client.session_transaction() as kept:
        first = kept["_user_id"]
    post_form(client, "/logout", page="/account")
    log_in(client, "bob@example.com")
    with client.session_transaction() as kept:
        assert kept["_user_id"] != first
        kept["_user_id"] = first
    assert not is_signed_in(client)


def test_logging_in_over_a_session_ends_that_session(client: FlaskClient, alice: User, bob: User) -> None:
    other_tab = csrf_token(client, "/login")
    values = {"csrf_token": other_tab, "email": "bob@example.com", "password": factories.PASSWORD}
    factories.sign_in(client, alice)
    assert client.post("/login", data=values).status_code == 303
    assert db.session.scalars(select(LoginSession.user_id)).all() == [bob.id]
    assert ("sign_in.ended", "alice@example.com") in support.audit_lines()


def test_the_log_in_page_sends_a_signed_in_user_on(login: Callable[[User], FlaskClient], alice: User) -> None:
    response = login(alice).get("/login?next=/account")
    assert response.status_code == 302
    assert response.location == "/account"


def test_the_page_asked_for_comes_after_log_in(client: FlaskClient, alice: User) -> None:
    asked = client.get("/account/security?before=7")
    assert asked.location == "/login?next=/account/security?before%3D7"
    page = client.get(asked.location)
    assert 'value="/account/security?before=7"' in page.get_data(as_text=True)
    assert (
        log_in(client, "alice@example.com", next="/account/security?before=7").location == "/account/security?before=7"
    )


def test_without_a_token_nobody_is_signed_in(client: FlaskClient, alice: User) -> None:
    response = client.post("/login", data={"email": "alice@example.com", "password": factories.PASSWORD})
    assert response.status_code == 400
    assert not is_signed_in(client)
    assert db.session.scalars(select(SignIn)).all() == []


def test_hooks_run_inside_the_log_in_while_the_visitors_cookie_is_still_there(
    client: FlaskClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str | None, bool]] = []

    def take_over_cart(user: User, *, at: object) -> None:
        is_open = bool(db.session().info["in_unit"])
        seen.append((user.email, cookie.get("cart_token"), is_open))

    monkeypatch.setattr(hooks, "_signed_in", {})
    accounts.on_signed_in(take_over_cart)
    accounts.on_signed_in(take_over_cart)
    with client.session_transaction() as kept:
        kept["cart_token"] = "the cart"
    log_in(client, "alice@example.com")
    assert seen == [("alice@example.com", "the cart", True)]


def test_a_failing_hook_leaves_nobody_half_signed_in(
    client: FlaskClient, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(user: User, *, at: object) -> None:
        raise RuntimeError("no cart")

    monkeypatch.setattr(hooks, "_signed_in", {"fail": fail})
    assert log_in(client, "alice@example.com").status_code == 500
    assert db.session.scalars(select(LoginSession)).all() == []
    assert not is_signed_in(client)
