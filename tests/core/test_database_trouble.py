"""A database that refuses to write, is full, is locked or away: a quick 503, nothing lost, and then on as before.

The same with real processes under load is in tests/faults; here every page that writes is tried on both databases.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, select

from portal import create_app
from portal.core.db import db, dispose
from portal.orders.models import CartLine
from portal.payments.models import ProviderEvent
from tests import factories
from tests.both_databases import DATABASES
from tests.browser_like import csrf_token
from tests.conftest import settings_for
from tests.migrating import upgrade
from tests.payments import signed
from tests.servers import postgres
from tests.servers.redis import RedisServer

Trouble = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=DATABASES)
def shop(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Iterator[Flask]:
    """A portal with a database of its own, to be maltreated."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'shop.db'}"
    else:
        url = request.getfixturevalue("postgres_server").create_database("maltreated")
    app = create_app(settings_for(url, redis_server.url, tmp_path))
    with app.app_context():
        upgrade()
        factories.make_package(slug="first")
        yield app
        db.session.remove()
    dispose(app)


@contextmanager
def refusing_writes(app: Flask, server: postgres.Postgres | None) -> Iterator[None]:
    """What a full disk, a standby or an administrator does: reading works, writing does not."""
    if server is not None:
        server.set_read_only("maltreated", read_only=True)
        yield
        # This test's own context holds the session of its requests; a real request has given it back by now.
        db.session.remove()
        server.set_read_only("maltreated", read_only=False)
        return

    def forbid(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    with app.app_context():
        engine = db.engine
    engine.dispose()
    event.listen(engine, "connect", forbid)
    yield
    event.remove(engine, "connect", forbid)
    engine.dispose()


@contextmanager
def full(app: Flask) -> Iterator[None]:
    """SQLite's answer to a full disk, made with a limit on its pages."""

    def limit(connection: Any, _record: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")

    with app.app_context():
        engine = db.engine
    engine.dispose()
    event.listen(engine, "connect", limit)
    yield
    event.remove(engine, "connect", limit)
    engine.dispose()


@pytest.fixture
def read_only(shop: Flask, request: pytest.FixtureRequest) -> Trouble:
    is_sqlite = shop.config["DATABASE_URL"].startswith("sqlite")
    server = None if is_sqlite else request.getfixturevalue("postgres_server")
    return lambda: refusing_writes(shop, server)


def add_to_cart(browser: FlaskClient, token: str) -> int:
    return browser.post("/cart/add", data={"csrf_token": token, "slug": "first"}).status_code


def stored() -> tuple[int, int]:
    """How many cart lines and events there are."""
    db.session.rollback()
    return len(db.session.scalars(select(CartLine)).all()), len(db.session.scalars(select(ProviderEvent)).all())


def test_while_it_refuses_writes_pages_open_and_forms_say_try_again(shop: Flask, read_only: Trouble) -> None:
    browser = shop.test_client()
    token = csrf_token(browser, "/packages/first")
    session = signed.make_session()
    paid = signed.checkout_event(session)
    db.session.remove()
    with read_only():
        for path in ("/", "/packages", "/packages/first", "/cart", "/login", "/readyz"):
            assert browser.get(path).status_code == 200, path
        started = time.monotonic()
        answer = browser.post("/cart/add", data={"csrf_token": token, "slug": "first"})
        assert answer.status_code == 503
        assert "Nothing was lost" in answer.get_data(as_text=True)
        assert signed.post(browser, paid).status_code == 503
        assert signed.post(browser, paid).headers["Retry-After"] == "5"
        assert time.monotonic() - started < 5
    assert stored() == (0, 0)
    assert add_to_cart(browser, token) == 303
    assert signed.post(browser, paid).status_code == 200
    assert stored() == (1, 1)


def test_a_signed_in_customer_is_not_signed_out_by_it(shop: Flask, read_only: Trouble) -> None:
    user = factories.make_user()
    browser = shop.test_client()
    factories.sign_in(browser, user)
    db.session.remove()
    with read_only():
        assert browser.get("/account").status_code == 200
        assert browser.get("/dashboard").status_code == 200
    assert browser.get("/account").status_code == 200


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_full_disk_stores_nothing_half_and_works_again_once_there_is_room(shop: Flask) -> None:
    browser = shop.test_client()
    session = signed.make_session()
    # More than fits into the pages that are there.
    large = signed.checkout_event(session) | {"filler": "x" * 200_000}
    db.session.remove()
    with full(shop):
        assert signed.post(browser, large).status_code == 503
        assert browser.get("/packages").status_code == 200
    assert stored() == (0, 0)
    assert signed.post(browser, large).status_code == 200
    assert stored() == (0, 1)


@pytest.mark.parametrize("shop", ["sqlite"], indirect=True)
def test_a_writer_that_never_ends_is_not_waited_for_for_ever(shop: Flask, tmp_path: Path) -> None:
    """Fifteen seconds is the patience of a real shop; here it is a fifth of one, the answer is the same."""

    def hurry(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=200")

    browser = shop.test_client()
    token = csrf_token(browser, "/packages/first")
    db.session.remove()
    db.engine.dispose()
    event.listen(db.engine, "connect", hurry)
    hog = sqlite3.connect(tmp_path / "shop.db", isolation_level=None)
    try:
        hog.execute("BEGIN IMMEDIATE")
        assert browser.get("/packages").status_code == 200
        assert add_to_cart(browser, token) == 503
        hog.execute("ROLLBACK")
        assert add_to_cart(browser, token) == 303
    finally:
        hog.close()
        event.remove(db.engine, "connect", hurry)


@pytest.mark.slow_fault
def test_a_database_that_is_away_is_a_503_within_two_seconds(tmp_path: Path, redis_server: RedisServer) -> None:
    with postgres.running() as server:
        app = create_app(settings_for(server.create_database("away"), redis_server.url, tmp_path))
        browser = app.test_client()
        with app.app_context():
            upgrade()
            factories.make_package(slug="first")
            session = signed.make_session()
            paid = signed.checkout_event(session)
            token = csrf_token(browser, "/packages/first")
            db.session.remove()
            server.stop("immediate")
            for ask in (
                lambda: browser.get("/packages").status_code,
                lambda: browser.get("/packages/first").status_code,
                lambda: browser.get("/readyz").status_code,
                lambda: add_to_cart(browser, token),
                lambda: signed.post(browser, paid).status_code,
            ):
                started = time.monotonic()
                assert ask() == 503
                assert time.monotonic() - started < 2
            assert browser.get("/healthz").status_code == 200
            assert browser.get("/no/such/page").status_code == 404
            server.start()
            # The pool replaces its dead connections by itself: the first request after it works.
            assert browser.get("/packages").status_code == 200
            assert signed.post(browser, paid).status_code == 200
            assert add_to_cart(browser, token) == 303
            assert stored() == (1, 1)
        dispose(app)
