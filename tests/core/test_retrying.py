"""Transactions that lose to another are begun again; nobody reads of a deadlock, and nothing is done twice."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError

from portal.core import retrying
from portal.core.db import db
from portal.orders.models import CartLine
from tests import factories
from tests.browser_like import csrf_token

pytestmark = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
_STATES = {"deadlock": "40P01", "serialization failure": "40001", "no access": "42501"}


class Opponent:
    """Has PostgreSQL itself say that the next inserts of cart lines have lost."""

    def __init__(self) -> None:
        self.state, self.wins, self.met = "40P01", 0, 0

    def __call__(self, _c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> tuple[str, Any]:
        if not statement.startswith("INSERT INTO cart_lines"):
            return statement, parameters
        self.met += 1
        if self.met > self.wins:
            return statement, parameters
        return _lose(self.state), ()


def _lose(state: str) -> str:
    return f"DO $$ BEGIN RAISE EXCEPTION 'forced' USING ERRCODE = '{state}'; END $$"


@pytest.fixture
def opponent(app: Flask) -> Iterator[Opponent]:
    one = Opponent()
    event.listen(db.engine, "before_cursor_execute", one, retval=True)
    yield one
    event.remove(db.engine, "before_cursor_execute", one)


@pytest.fixture
def browser(client: FlaskClient) -> FlaskClient:
    factories.make_package(slug="first")
    # The cart is there already, so that adding to it is one transaction with one insert.
    factories.make_package(slug="zero")
    token = csrf_token(client, "/packages/zero")
    client.post("/cart/add", data={"csrf_token": token, "slug": "zero"})
    return client


def add(browser: FlaskClient, **kind: Any) -> int:
    token = csrf_token(browser, "/packages/first")
    return browser.post("/cart/add", data={"csrf_token": token, "slug": "first"}, **kind).status_code


def lines() -> int:
    db.session.rollback()
    return len(db.session.scalars(select(CartLine)).all())


@pytest.mark.parametrize("state", ["deadlock", "serialization failure"])
def test_whoever_loses_twice_gets_through(browser: FlaskClient, opponent: Opponent, state: str) -> None:
    opponent.state, opponent.wins = _STATES[state], 2
    assert add(browser) == 303
    assert (opponent.met, lines()) == (3, 2)


def test_whoever_loses_three_times_is_told_to_try_again(browser: FlaskClient, opponent: Opponent) -> None:
    opponent.wins = 3
    assert add(browser) == 503
    assert (opponent.met, lines()) == (3, 1)
    assert add(browser) == 303
    assert lines() == 2


def test_what_is_no_lost_race_is_tried_once(browser: FlaskClient, opponent: Opponent, app: Flask) -> None:
    opponent.state, opponent.wins = _STATES["no access"], 9
    app.config["PROPAGATE_EXCEPTIONS"] = False
    try:
        assert add(browser) == 500
    finally:
        app.config["PROPAGATE_EXCEPTIONS"] = None
    assert opponent.met == 1


def test_a_form_with_files_is_not_read_a_second_time(browser: FlaskClient, opponent: Opponent) -> None:
    opponent.wins = 1
    assert add(browser, content_type="multipart/form-data") == 503
    assert (opponent.met, lines()) == (1, 1)


@pytest.mark.parametrize(("commits_before", "runs"), [(True, 1), (False, retrying.TRIES)])
def test_what_was_committed_before_is_not_done_twice(app: Flask, commits_before: bool, runs: int) -> None:
    seen = []

    def view() -> None:
        seen.append(1)
        if commits_before:
            factories.make_package()
        db.session.execute(text(_lose("40P01")))

    with app.test_request_context("/"), pytest.raises(DBAPIError):
        retrying.run(view)
    assert len(seen) == runs
