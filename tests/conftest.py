"""Fixtures every test may use: both databases, a real Redis, the application, the cast."""

import gc
import json
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, g
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import event, inspect

from portal import config, create_app
from portal.accounts.models import Role, User
from portal.core.db import db, dispose
from portal.extensions import limiter
from tests import both_databases, compiled_addresses, compiled_templates, emptying, factories, pages
from tests.both_databases import DATABASES
from tests.migrating import upgrade
from tests.servers import postgres, redis

# Every page that any test fetches is checked: valid HTML, labels, CSRF tokens, no dead link, headers.
Flask.test_client_class = pages.CheckedClient
compiled_templates.share()
compiled_addresses.share()
# Reading the settings must not depend on the developer's own environment.
for _name in [
    name
    for name in os.environ
    if name.startswith(
        (
            "PORTAL_",
            "STRIPE_",
            "PAYU_",
            "RECURRENTE_",
            "ONECOM_",
            "BTCPAY_",
            "WEB3_",
            "SMTP_",
            "EASYPOST_",
            "SHIP_FROM_",
        )
    )
    and name != "PORTAL_FAULTS"
]:
    del os.environ[_name]
# Tests start hundreds of processes: each would compile the portal anew where Python is told to keep no compiled code.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Let tests not wait for how their second tries are counted: the plug-in writes its notes one by one to another
    process, and each waited up to 40 ms for the receipt of the one before."""
    connection = getattr(getattr(config, "failures_db", None), "sock", None)
    if connection is not None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Share the cases of tests out among the databases, and give what drives browsers and kills servers a second try,
    which the summary names: the machine is shared, and a real process may wait for its turn longer than a test does.
    Everything else has to pass at once, but for CI, whose machine nobody chose: there the summary names every second
    try, and each is a fault to be mended."""
    if left_out := both_databases.share_out(items):
        config.hook.pytest_deselected(items=left_out)
        gone = set(left_out)
        items[:] = [item for item in items if item not in gone]
    for item in items:
        if os.environ.get("CI") or item.get_closest_marker("browser") or item.get_closest_marker("slow_fault"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make, seldom, and not among the tests themselves."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


_SECOND_TRIES: list[pytest.TestReport] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what a first try said: whoever mends it has to know."""
    if report.outcome == "rerun":
        _SECOND_TRIES.append(report)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why tests had a second try."""
    for report in _SECOND_TRIES:
        terminalreporter.section(f"first try of {report.nodeid}")
        terminalreporter.write_line(report.longreprtext)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[redis.RedisServer]:
    with redis.running() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: SQLite waits for the disk at each commit, thousands of times here."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="portal-tests-", dir=shared) as name:
        yield Path(name)


# Payments on a chain, so that their page is there; nobody answers at the node, and nothing is sold in this currency.
CHAIN = {
    "name": "nowhere", "chain_id": 1, "rpc_urls": ["http://127.0.0.1:9"], "symbol": "NIL", "token": None,
    "decimals": 18, "currencies": ["XTS"], "confirmations": 1,
}  # fmt: skip
# BIP-32, test vector 2.
XPUB = "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"


# The chain of the tests is one for test money, so an installation for real money has to do without it.
NO_CHAINS: dict[str, Any] = {"web3_networks": "", "web3_xpub": "", "web3_webhook_secret": ""}


def settings_for(database_url: str, redis_url: str, folder: Path, **changes: Any) -> config.Settings:
    """Settings of a test application; `changes` replace single ones."""
    values: dict[str, Any] = {
        "portal_env": "testing",
        "secret_key": "a-secret-for-tests-only-0123456789abcdef",
        "database_url": database_url,
        "redis_url": redis_url,
        "portal_url": "http://localhost",
        "sites_root": str(folder / "sites"),
        "storage_url": f"file://{folder / 'storage'}",
        "mailbox_path": str(folder / "mailbox"),
        "sandbox_webhook_secret": "whsec_c2FuZGJveC1zZWNyZXQtZm9yLXRlc3RzLW9ubHk=",
        "stripe_secret_key": "sk_test_portal",
        "stripe_webhook_secret": "whsec_test_secret",
        "stripe_api_base": "http://127.0.0.1:9",
        # Domains are offered; nobody answers for them.
        "sites_addresses": "127.0.0.1",
        "dns_resolvers": "127.0.0.1:9",
        "acme_directory_url": "https://127.0.0.1:9/directory",
        "web3_networks": json.dumps([{**CHAIN, "test": changes.get("payment_mode", "test") == "test"}]),
        "web3_xpub": XPUB,
        "web3_webhook_secret": "whsec_d2ViMy1zZWNyZXQtZm9yLXRlc3RzLW9ubHk=",
        "log_level": "ERROR",
    }
    return config.Settings(**{**values, **changes})


@pytest.fixture(scope="session")
def on_sqlite(
    memory: Path, redis_server: redis.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    """The application of all tests on SQLite."""
    yield from _migrated(f"sqlite:///{memory / 'portal.db'}", redis_server, tmp_path_factory)


@pytest.fixture(scope="session")
def on_postgresql(
    postgres_server: postgres.Postgres, redis_server: redis.RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Flask]:
    """The application of all tests on PostgreSQL."""
    yield from _migrated(postgres_server.create_database("portal"), redis_server, tmp_path_factory)


def _migrated(url: str, server: redis.RedisServer, folders: pytest.TempPathFactory) -> Iterator[Flask]:
    """An application whose schema is made by the migrations."""
    app = create_app(settings_for(url, server.url, folders.mktemp("portal")))
    # First of all hooks: `app` below holds one context around a whole test, and Flask would carry `g` (who is signed
    # in, the form's token, the language) from each request of the test into the next.
    app.before_request_funcs.setdefault(None, []).insert(0, forget_last_request)
    with app.app_context():
        upgrade()
        emptying.prepare()
    yield app
    dispose(app)


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """Every test that touches the database runs on both, one after the other; both applications stay to the end."""
    kind: str = request.param
    return kind


@pytest.fixture
def application(database: str, request: pytest.FixtureRequest) -> Flask:
    """The application of a database. Use `app`, which is clean for each test."""
    found: Flask = request.getfixturevalue(f"on_{database}")
    return found


def forget_last_request() -> None:
    """Give a request the empty `g` that it would find outside the tests."""
    for name in list(g):
        g.pop(name)


@pytest.fixture
def app(application: Flask, redis_server: redis.RedisServer, request: pytest.FixtureRequest) -> Iterator[Flask]:
    """The application with an empty database, an empty Redis and an empty mailbox, inside its context."""
    application.config["PAGES_ARE_READ_ELSEWHERE"] = request.node.stash.get(both_databases.HAS_TWIN, False)
    with emptied(application, redis_server):
        yield application


# The limiter's counters, by the address of their Redis.
_STORAGES: dict[str, Any] = {}


@cache
def _connected(url: str) -> Redis:
    return Redis.from_url(url)


@contextmanager
def emptied(application: Flask, server: redis.RedisServer) -> Iterator[None]:
    """The context of an application in which nothing has happened yet; nothing stays of what happens in it."""
    _connected(server.url).flushall()
    # There is one limiter, and the application of an earlier test may have left it with a Redis of its own.
    if limiter._storage is not _STORAGES.get(server.url):
        limiter.init_app(application)
        _STORAGES[server.url] = limiter._storage
    limiter._storage_dead = False
    for letter in Path(application.config["MAILBOX_PATH"]).glob("*"):
        letter.unlink()
    with application.app_context():
        yield
        # No wake-up of this test reaches the Redis of the next one.
        application.extensions["gathered_wake_ups"].wait()
        db.session.remove()
        emptying.empty_database()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A browser that has not signed in. Forms need their CSRF token: see `tests/browser_like.py`."""
    return app.test_client()


@pytest.fixture
def alice(app: Flask) -> User:
    """The customer whose things they are."""
    return factories.make_user(email="alice@example.com", name="Alice Nowak")


@pytest.fixture
def bob(app: Flask) -> User:
    """Another honest customer."""
    return factories.make_user(email="bob@example.com", name="Bob Kowalski")


@pytest.fixture
def mallory(app: Flask) -> User:
    """The stranger who tries other people's addresses."""
    return factories.make_user(email="mallory@example.com", name="Mallory Stranger")


@pytest.fixture
def staff(app: Flask) -> User:
    """Somebody from the back office."""
    return factories.make_user(email="staff@example.com", name="Stefan Staff", role=Role.STAFF)


@pytest.fixture
def admin(app: Flask) -> User:
    """The owner of the business."""
    return factories.make_user(email="admin@example.com", name="Ada Admin", role=Role.ADMIN)


@pytest.fixture
def login(app: Flask) -> Callable[[User], FlaskClient]:
    """Sign a user in: `login(alice)` gives their browser."""

    def sign_in(user: User) -> FlaskClient:
        browser = app.test_client()
        factories.sign_in(browser, user)
        return browser

    return sign_in


@pytest.fixture
def count_queries(app: Flask) -> Iterator[Callable[[], int]]:
    """How many statements were sent since the fixture or the last call; transaction control does not count."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "SAVEPOINT", "RELEASE", "ROLLBACK")):
            statements.append(statement)

    engines = {db.engine, app.extensions["hot_engine"]}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)

    def take() -> int:
        count = len(statements)
        statements.clear()
        return count

    yield take
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


def table_names() -> list[str]:
    """Every table of the migrated database."""
    return inspect(db.engine).get_table_names()
