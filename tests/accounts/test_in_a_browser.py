"""The pages of accounts in a real browser: the whole way once, the accessibility rules, and no script."""

import dataclasses
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import Browser, Page, expect

from portal import config, create_app
from portal.accounts.models import TokenPurpose
from tests import factories
from tests.accounts import support
from tests.conftest import dispose, settings_for
from tests.migrating import migrate_new
from tests.servers import browser as browsers
from tests.servers import web

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("accounts_browser")]
OPEN_PAGES = [
    "/login",
    "/login?next=/account",
    "/register",
    "/verify",
    "/password/forgot",
    "/password/sent",
    "/verify/x",
]
OWN_PAGES = [
    "/account", "/account/addresses", "/account/addresses/shipping", "/account/password", "/account/security",
    "/account/security/totp", "/confirm-password",
]  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> config.Settings:
    folder = tmp_path_factory.mktemp("browser")
    return settings_for(f"sqlite:///{folder / 'portal.db'}", "redis://127.0.0.1:9/0", folder)


@pytest.fixture(scope="module")
def app(settings: config.Settings) -> Iterator[Flask]:
    """The portal's other side: what the tests prepare and look up in its database and mailbox."""
    app = create_app(settings)
    with app.app_context():
        migrate_new()
        yield app
    dispose(app)


@pytest.fixture(scope="module")
def address(app: Flask, settings: config.Settings) -> Iterator[str]:
    """The portal served as in production; hashes are the real ones here."""
    values = {name.upper(): str(value) for name, value in dataclasses.asdict(settings).items() if name != "portal_url"}
    with web.web(values) as server:
        yield server.url


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page on which nothing may go wrong unnoticed: no script error, no CSP violation, no failed request."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    page = context.new_page()
    problems = browsers.Problems(page)
    yield page
    context.close()
    # A form that is refused, and a link that is dead, answer so by design.
    assert [found for found in problems.found if "status of 4" not in found] == []


def sign_in(page: Page, address: str, email: str, password: str = factories.PASSWORD) -> None:
    page.goto(f"{address}/login")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()


def test_from_registering_to_the_second_step(page: Page, address: str, app: Flask) -> None:
    page.goto(f"{address}/register")
    page.get_by_label("Name").fill("Zoë Żak")
    page.get_by_label("E-mail").fill("zoe@example.com")
    page.get_by_label("Password", exact=True).fill(support.GOOD_PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.get_by_role("heading", name="Look into your mail")).to_be_visible()

    page.goto(f"{address}{support.link_in(support.deliver()[-1])}")
    page.get_by_label("Password", exact=True).fill(support.GOOD_PASSWORD)
    page.get_by_role("button", name="Confirm and log in").click()
    expect(page.get_by_text("Your address is confirmed.")).to_be_visible()

    page.goto(f"{address}/account/security")
    page.get_by_role("link", name="Switch on").click()
    secret = (page.locator(".copyable code").text_content() or "").replace(" ", "")
    page.get_by_label("Code").fill(support.app_code(secret, steps=-1))
    page.get_by_role("button", name="Switch on").click()
    recovery = page.locator("#recovery-codes li code")
    expect(recovery).to_have_count(10)
    code = recovery.first.text_content() or ""

    page.get_by_label("Account menu").click()
    page.get_by_role("button", name="Log out").click()
    sign_in(page, address, "zoe@example.com", support.GOOD_PASSWORD)
    page.get_by_label("Code").fill(support.app_code(secret))
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login" not in url)
    assert len(code) == 14


def test_sessions_end_without_loading_the_page_again(page: Page, address: str, app: Flask, chromium: Browser) -> None:
    factories.make_user(email="sessions@example.com")
    other = chromium.new_context()
    sign_in(other.new_page(), address, "sessions@example.com")
    sign_in(page, address, "sessions@example.com")
    page.goto(f"{address}/account/security")
    expect(page.locator("#sessions .row-item")).to_have_count(2)
    page.evaluate("window.stillHere = true")
    page.locator("#sessions .row-item").nth(1).get_by_role("button", name="Log out").click()
    expect(page.locator("#sessions .row-item")).to_have_count(1)
    expect(page.get_by_text("That browser is logged out.")).to_be_visible()
    assert page.evaluate("window.stillHere") is True
    other.pages[0].goto(f"{address}/account")
    assert "/login" in other.pages[0].url
    other.close()


def test_a_refused_form_shows_why_and_moves_the_focus_there(page: Page, address: str, app: Flask) -> None:
    factories.make_user(email="profile@example.com")
    sign_in(page, address, "profile@example.com")
    page.goto(f"{address}/account")
    page.get_by_label("Phone").fill("call me")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_label("Phone").fill("+48 600 100 200")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()


def test_everything_works_without_script(chromium: Browser, address: str, app: Flask) -> None:
    factories.make_user(email="plain@example.com", name="Plain")
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, address, "plain@example.com")
    page.goto(f"{address}/account/addresses/billing")
    page.get_by_label("Street and number").fill("ul. Prosta 20")
    page.get_by_label("Postal code").fill("00850")
    page.get_by_label("City").fill("Warszawa")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("00-850 Warszawa")).to_be_visible()
    page.get_by_text("Remove", exact=True).first.click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("None yet.")).to_have_count(2)
    page.goto(f"{address}/account/security")
    page.get_by_text("Sign out everywhere").first.click()
    page.get_by_role("button", name="Sign out everywhere").click()
    expect(page.get_by_role("heading", name="Welcome back")).to_be_visible()
    context.close()


@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_pages_fit_and_pass_the_accessibility_rules(
    chromium: Browser, address: str, app: Flask, width: int, theme: browsers.Theme
) -> None:
    user = factories.make_user(name="Kunegunda Brzęczyszczykiewicz-Grzegżółka")
    link = f"/password/reset/{support.issue(user, TokenPurpose.RESET_PASSWORD)}"
    # Only the checker needs to run its own script; the tests above keep the CSP.
    context = chromium.new_context(
        viewport={"width": width, "height": browsers.WIDTHS[width]}, color_scheme=theme,
        bypass_csp=True, reduced_motion="reduce",
    )  # fmt: skip
    page = context.new_page()
    problems = look_at(page, address, [*OPEN_PAGES, link, "/verify/made-up"])
    sign_in(page, address, user.email)
    problems += look_at(page, address, OWN_PAGES)
    context.close()
    assert problems == []


def look_at(page: Page, address: str, paths: list[str]) -> list[str]:
    """What is wrong with these pages: wider than the screen, or hard to use for somebody."""
    problems = []
    for path in paths:
        page.goto(f"{address}{path}", wait_until="load")
        if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
            problems.append(f"{path}: wider than the screen")
        found = browsers.violations(page, only=browsers.RULES)
        problems += [f"{path}: {item['id']} {item['nodes'][0]['html']}" for item in found]
    return problems
