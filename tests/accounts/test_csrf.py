"""Every form of accounts wants the token of the browser it was shown to (reliability I3)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import LoginSession, TokenPurpose, User
from portal.core.db import Base, db
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, issue
from tests.browser_like import csrf_token

Login = Callable[[User], FlaskClient]
# What a form could be filled in with, so that only the token is missing.
VALUES = {
    "email": "alice@example.com",
    "password": GOOD_PASSWORD,
    "current": factories.PASSWORD,
    "name": "Evil",
    "locale": "pl",
    "code": "000000",
    "line1": "Evil",
    "city": "Evil",
    "postal_code": "00-001",
    "country": "PL",
}


def forms(app: Flask, user: User) -> Iterator[str]:
    """The address of every form of accounts and of the language choice."""
    session_id = db.session.scalars(select(LoginSession.id)).first()
    purposes = {
        "accounts.submit_verify": TokenPurpose.VERIFY_EMAIL,
        "accounts.submit_reset_password": TokenPurpose.RESET_PASSWORD,
        "accounts.submit_set_up": TokenPurpose.SET_UP_ACCOUNT,
    }
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] in ("accounts", "site") and "POST" in (rule.methods or ()):
            values: dict[str, Any] = {"kind": "billing", "session_id": session_id}
            if rule.endpoint in purposes:
                values["token"] = issue(user, purposes[rule.endpoint])
            yield app.url_map.bind("localhost").build(
                rule.endpoint, {name: values[name] for name in rule.arguments}, method="POST"
            )


def everything() -> dict[str, list[Any]]:
    """Every row of every table."""
    db.session.rollback()
    return {
        table.name: [tuple(row) for row in db.session.execute(table.select().order_by(*table.primary_key))]
        for table in Base.metadata.sorted_tables
    }


@pytest.mark.parametrize("attack", ["no token", "somebody else's token", "made-up token", "text/plain", "JSON", "htmx"])
def test_a_forged_request_changes_nothing(app: Flask, login: Login, alice: User, mallory: User, attack: str) -> None:
    browser = login(alice)
    token = {
        "somebody else's token": lambda: csrf_token(login(mallory), "/account"),
        "made-up token": lambda: "x.y.z",
    }.get(attack, str)()
    addresses = list(forms(app, alice))
    assert len(addresses) >= 19
    before = everything()
    for address in addresses:
        arguments: dict[str, Any] = {"data": {**VALUES, **({"csrf_token": token} if token else {})}}
        if attack == "text/plain":
            arguments = {"data": "email=alice@example.com&csrf_token=", "content_type": "text/plain"}
        elif attack == "JSON":
            arguments = {"json": VALUES}
        elif attack == "htmx":
            arguments["headers"] = {"HX-Request": "true", "Origin": "https://evil.example"}
        assert browser.post(address, **arguments).status_code == 400, address
    assert everything() == before
    assert support.is_signed_in(browser)
