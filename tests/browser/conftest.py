"""One browser and one running shop for all of these tests; each person has a window of their own."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser import shop as shops
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.servers import browser, postgres

Visit = Callable[..., Person]
_HERE = Path(__file__).parent

expect.set_options(timeout=10_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder needs a browser, and one xdist worker: the shop is started once."""
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))
            # The first of them starts the shop.
            item.add_marker(pytest.mark.timeout(240), append=False)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with browser.running() as running:
        yield running


@pytest.fixture(scope="session")
def shop(postgres_server: postgres.Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop on PostgreSQL."""
    url = postgres_server.create_database("browser")
    with shops.opened(tmp_path_factory.mktemp("shop"), database_url=url) as running:
        yield running


@pytest.fixture(scope="session")
def sqlite_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop on SQLite, as `make run` serves it."""
    with shops.opened(tmp_path_factory.mktemp("sqlite-shop")) as running:
        yield running


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """A person in a browser of their own: `visit(shop, "anna@example.com", as_role="customer", java_script=False)`.

    Fails at the end when a page of theirs had a script error, broke the CSP or missed a file.
    """
    opened: list[tuple[Any, browser.Problems, bool]] = []

    def enter(
        shop: Shop,
        email: str = "guest@example.com",
        *,
        as_role: str | None = None,
        expects_errors: bool = False,
        **options: Any,
    ) -> Person:
        state = shop.states.get(as_role) if as_role else None
        context = chromium.new_context(**{"locale": "en", "storage_state": state, **options})
        context.set_default_timeout(20_000)
        page = context.new_page()
        trouble = browser.Problems(page)
        opened.append((context, trouble, expects_errors))
        person = Person(shop, page, email)
        if as_role and state is None:
            person.log_in(*shop.log_in_of(as_role))
            shop.states[as_role] = context.storage_state()
        return person

    yield enter
    problems = [
        problem
        for _context, trouble, expects_errors in opened
        for problem in trouble.found
        if not (expects_errors and problem.startswith("console: Failed to load resource"))
    ]
    for context, _trouble, _expects_errors in opened:
        context.close()
    assert problems == []
