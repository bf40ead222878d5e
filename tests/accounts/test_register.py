"""Opening an account, and what a stranger learns from trying: nothing."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis.exceptions import RedisError
from sqlalchemy import func, select

from portal.accounts import services
from portal.accounts.models import LoginSession, Role, User
from portal.core import clock, queues
from portal.core.db import db, unit_of_work
from portal.core.outbox import OutboxMessage
from portal.extensions import limiter
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, is_signed_in, log_in
from tests.browser_like import post_form

NEW = {"name": "Zoë Żak", "email": "Zoe@Example.com", "password": GOOD_PASSWORD}


def test_register_opens_an_unverified_account_and_mails_a_link(client: FlaskClient) -> None:
    client.get("/language?locale=pl")
    response = post_form(client, "/register", NEW)
    assert response.status_code == 303
    assert response.location == "/verify"
    user = db.session.scalars(select(User)).one()
    assert (user.email, user.name, user.role, user.locale) == ("zoe@example.com", "Zoë Żak", Role.CUSTOMER, "pl")
    assert not user.is_verified
    assert not is_signed_in(client)
    assert "zoe@example.com" in client.get("/verify").get_data(as_text=True)
    letter = support.deliver()[-1]
    assert letter["To"] == "zoe@example.com"
    assert support.link_in(letter).startswith("/verify/")
    assert ("account.registered", "anonymous") in support.audit_lines()


def test_a_known_address_gets_the_same_page_and_its_owner_a_mail(client: FlaskClient, alice: User) -> None:
    before = (alice.name, alice.password_hash)
    known = post_form(client, "/register", {**NEW, "email": "alice@example.com"})
    page = client.get(known.location).get_data(as_text=True)
    other = client.application.test_client()
    new = post_form(other, "/register", {**NEW, "email": "newby@example.com"})
    assert (known.status_code, known.location) == (new.status_code, new.location)
    new_page = other.get(new.location).get_data(as_text=True).replace("newby@", "alice@")
    assert support.without_tokens(page) == support.without_tokens(new_page)
    assert support.subjects() == ["You already have an account", "Confirm your e-mail address"]
    alice = support.fresh(alice)
    assert (alice.name, alice.password_hash) == before


@pytest.mark.parametrize("email", ["alice@example.com", "newby@example.com"])
def test_a_known_and_a_new_address_cost_the_same_work(
    client: FlaskClient, alice: User, hash_calls: list[str], count_queries: Callable[[], int], email: str
) -> None:
    token = post_form(client, "/register", {}).request  # The page is warm, and the form has its token.
    assert token is not None
    count_queries()
    post_form(client, "/register", {**NEW, "email": email})
    assert hash_calls == ["argon2"]
    assert count_queries() == 3  # The account, the audit line, the outbox.


def test_registering_twice_before_verifying_mails_the_first_owner(client: FlaskClient) -> None:
    post_form(client, "/register", NEW)
    post_form(client, "/register", {**NEW, "name": "Somebody else", "password": "another 7 walnut"})
    user = db.session.scalars(select(User)).one()
    assert user.name == "Zoë Żak"
    assert support.subjects() == ["Confirm your e-mail address", "You already have an account"]
    assert log_in(client, "zoe@example.com", "another 7 walnut").status_code == 422


def test_two_registrations_at_one_moment_make_one_account(app: Flask) -> None:
    def register() -> None:
        with unit_of_work():
            services.register(email="zoe@example.com", name="Zoe", password_hash="hash", locale="en", at=clock.now())

    support.all_at_once(app, 8, register)
    assert db.session.scalar(select(func.count(User.id))) == 1
    assert sum(event == "account.registered" for event, _ in support.audit_lines()) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 121),
        ("email", ""),
        ("email", "not an address"),
        ("email", "ą@example.com"),
        ("email", "a@b\r\nBcc: victim@example.com"),
        ("email", "x" * 250 + "@example.com"),
        ("password", ""),
        ("password", "short 1"),
        ("password", "password1"),
        ("password", "no digits here"),
        ("password", "x" * 128 + "1"),
    ],
)
def test_bad_input_is_explained_and_makes_nothing(client: FlaskClient, field: str, value: str) -> None:
    response = post_form(client, "/register", {**NEW, field: value})
    assert response.status_code == 422
    assert f'id="{field}-error"' in response.get_data(as_text=True)
    assert db.session.scalars(select(User)).all() == []
    assert db.session.scalars(select(OutboxMessage)).all() == []


def test_the_form_takes_no_rights(client: FlaskClient) -> None:
    forged = {
        "role": "admin",
        "is_admin": "1",
        "is_active": "0",
        "id": "1",
        "email_verified_at": "2020-01-01",
        "user_id": "7",
    }
    post_form(client, "/register", {**NEW, **forged})
    user = db.session.scalars(select(User)).one()
    assert (user.role, user.is_active, user.email_verified_at) == (Role.CUSTOMER, True, None)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{97*97}}", "${97*97}", "'--"]
)
def test_a_name_is_text_on_pages_and_in_mails(client: FlaskClient, name: str) -> None:
    post_form(client, "/register", {**NEW, "name": name})
    letter = support.deliver()[-1]
    html = letter.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()
    assert "<img src=x" not in html.get_content()
    assert f"Hello {name}," in support.text_of(letter)
    support.log_in(client, "zoe@example.com", GOOD_PASSWORD)
    page = client.get("/account").get_data(as_text=True)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "9409" not in page.split("<h1>")[1].split("</form>")[0].replace(name, "")


def test_without_a_token_nothing_is_made(client: FlaskClient) -> None:
    assert client.post("/register", data=NEW).status_code == 400
    assert db.session.scalars(select(User)).all() == []


def test_a_signed_in_user_is_sent_on(login: Callable[[User], FlaskClient], alice: User) -> None:
    assert login(alice).get("/register").status_code == 302


def test_registering_is_limited_by_network(client: FlaskClient) -> None:
    answers = [post_form(client, "/register", {}) for _ in range(22)]
    assert [answer.status_code for answer in answers[:20]] == [422] * 20
    assert answers[-1].status_code == 429
    # The library rounds the hour up to the next full second.
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 3_601
    assert client.get("/register").status_code == 200
    assert db.session.scalars(select(LoginSession)).all() == []


def test_with_redis_gone_registering_still_works(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_args: object, **_kwargs: object) -> bool:
        raise RedisError("gone")

    # Both flags go back afterwards: the limiter is one for all tests.
    monkeypatch.setattr(limiter, "_storage_dead", False)
    monkeypatch.setattr(limiter._storage, "acquire_entry", gone)
    monkeypatch.setattr(queues.connection(), "execute_command", gone)
    assert post_form(client, "/register", NEW).status_code == 303
    assert db.session.scalars(select(User.email)).all() == ["zoe@example.com"]


def test_a_closed_account_gets_no_mail(client: FlaskClient) -> None:
    factories.make_user(email="closed@example.com", is_active=False)
    post_form(client, "/register", {**NEW, "email": "closed@example.com"})
    assert support.deliver() == []
