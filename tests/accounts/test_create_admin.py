"""The operator's command for the first administrator."""

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import Role, User
from portal.core.db import db
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, is_signed_in, log_in
from tests.browser_like import post_form


def run(app: Flask, *arguments: str, typed: str = f"{GOOD_PASSWORD}\n{GOOD_PASSWORD}\n") -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["create-admin", *arguments], input=typed)
    return result.exit_code, result.output


def test_a_new_administrator_can_log_in(app: Flask, client: FlaskClient) -> None:
    code, output = run(app, "Boss@Example.com", "--name", "Ada")
    assert code == 0, output
    assert GOOD_PASSWORD not in output
    user = db.session.scalars(select(User)).one()
    assert (user.email, user.name, user.role, user.is_verified) == ("boss@example.com", "Ada", Role.ADMIN, True)
    assert log_in(client, "boss@example.com", GOOD_PASSWORD).status_code == 303
    assert ("role.changed", "command:create-admin") in support.audit_lines()


def test_a_mailed_link_instead_of_a_password(app: Flask, client: FlaskClient) -> None:
    code, output = run(app, "boss@example.com", "--mail-link", typed="")
    assert code == 0, output
    link = support.link_in(support.deliver()[-1])
    assert post_form(client, link, {"name": "Ada", "password": GOOD_PASSWORD}).status_code == 303
    user = support.fresh(db.session.scalars(select(User)).one())
    assert user.is_admin
    assert user.is_verified
    assert is_signed_in(client)


def test_an_existing_account_is_raised(app: Flask, client: FlaskClient, alice: User) -> None:
    factories.sign_in(client, alice)
    assert run(app, "alice@example.com")[0] == 0
    user = support.fresh(alice)
    assert user.is_admin
    assert user.name == "Alice Nowak"
    assert not is_signed_in(client)
    assert log_in(client, "alice@example.com", GOOD_PASSWORD).status_code == 303


def test_a_bad_password_is_asked_for_again(app: Flask) -> None:
    code, output = run(app, "boss@example.com", typed=f"short 1\nshort 1\n{GOOD_PASSWORD}\n{GOOD_PASSWORD}\n")
    assert code == 0, output
    assert "at least 8 characters" in output


@pytest.mark.parametrize("email", ["nonsense", "", "a@b"])
def test_what_is_no_address_is_named(app: Flask, email: str) -> None:
    code, output = run(app, email)
    assert code == 2
    assert "EMAIL" in output
    assert db.session.scalars(select(User)).all() == []


def test_without_anybody_to_answer_nothing_is_made(app: Flask) -> None:
    code, _ = run(app, "boss@example.com", typed="")
    assert code == 1
    assert db.session.scalars(select(User)).all() == []
