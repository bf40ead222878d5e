"""The visual system in a real browser: sizes, themes, keyboard, screen reader rules, no script."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from portal.devtools.ui import PAGES
from tests.servers import browser as browsers
from tests.servers import web

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("gallery")]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The gallery on a free port, as the portal serves it."""
    folder = tmp_path_factory.mktemp("visual")
    settings = {"DATABASE_URL": f"sqlite:///{folder / 'portal.db'}", "REDIS_URL": "redis://127.0.0.1:9/0"}
    with web.web(settings) as server:
        yield f"{server.url}/dev/ui"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsers.running() as browser:
        yield browser


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
    yield context
    context.close()


@pytest.fixture(scope="module")
def measured(chromium: Browser) -> Iterator[Page]:
    """The page of the checker, which needs to run a script of its own; every other test keeps the CSP. One for all: a
    browser reads the checker anew for each."""
    context = chromium.new_context(bypass_csp=True)
    yield context.new_page()
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong unnoticed: no script error, no CSP violation, no failed request."""
    page = context.new_page()
    problems = browsers.Problems(page)
    yield page
    assert problems.found == []


@pytest.mark.parametrize("name", [*PAGES, "components?errors=1&flash=1", "login?errors=1", "panel/90", "errors/503"])
@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_page_fits_and_passes_the_accessibility_rules(
    measured: Page, address: str, width: int, theme: browsers.Theme, name: str
) -> None:
    measured.set_viewport_size({"width": width, "height": browsers.WIDTHS[width]})
    measured.emulate_media(color_scheme=theme, reduced_motion="reduce")
    measured.goto(f"{address}/{name}")
    assert measured.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    found = browsers.violations(measured, only=browsers.RULES)
    assert [(item["id"], item["nodes"][0]["html"]) for item in found] == []


def test_nothing_is_refused_by_the_strict_policy(page: Page, address: str) -> None:
    for name in PAGES:
        answer = page.goto(f"{address}/{name}", wait_until="networkidle")
        assert answer is not None
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_row_opens_the_panel_and_gives_the_focus_back(page: Page, address: str) -> None:
    page.goto(f"{address}/admin")
    row = page.locator(".row-link").nth(1)
    row.focus()
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open] .panel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(row).to_be_focused()


def test_a_click_beside_the_panel_closes_it(page: Page, address: str) -> None:
    page.goto(f"{address}/admin")
    page.locator(".row-link").first.click()
    expect(page.locator("dialog[open] .panel")).to_be_visible()
    page.mouse.click(100, 400)
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_the_theme_follows_the_system_until_it_is_chosen(context: BrowserContext, page: Page, address: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(f"{address}/home")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.locator("[data-theme-toggle]").locator("visible=true").click()
    light = page.evaluate(ground)
    assert light != dark
    page.reload()
    assert page.evaluate(ground) == light
    other = context.new_page()
    other.emulate_media(color_scheme="dark")
    other.goto(f"{address}/cart")
    assert other.evaluate(ground) == light


def test_messages_leave_by_themselves_but_errors_stay(page: Page, address: str) -> None:
    page.clock.install()
    page.goto(f"{address}/shelf?flash=1")
    expect(page.locator(".toast-item")).to_have_count(2)
    page.clock.run_for(7000)
    expect(page.locator(".toast-item")).to_have_count(1)
    expect(page.locator(".toast-item")).to_contain_text("did not answer")
    page.locator(".toast-item [data-dismiss]").click()
    page.clock.run_for(1000)
    expect(page.locator(".toast-item")).to_have_count(0)


def test_a_broken_form_is_announced_and_leads_to_its_fields(page: Page, address: str) -> None:
    page.goto(f"{address}/login?errors=1")
    summary = page.locator(".error-summary")
    expect(summary).to_be_focused()
    email = page.locator("#email")
    expect(email).to_have_attribute("aria-invalid", "true")
    described = (email.get_attribute("aria-describedby") or "").split()
    texts = [page.locator(f"#{target}").inner_text() for target in described]
    assert any("not an e-mail address" in text for text in texts)
    summary.get_by_role("link", name="E-mail").click()
    expect(email).to_be_focused()


def test_a_password_can_be_shown(page: Page, address: str) -> None:
    page.goto(f"{address}/login")
    page.locator("#password").fill("secret123")
    button = page.get_by_role("button", name="Show the password")
    button.click()
    expect(page.locator("#password")).to_have_attribute("type", "text")
    expect(button).to_have_attribute("aria-pressed", "true")


def test_a_form_is_sent_once_however_often_the_button_is_pressed(page: Page, address: str) -> None:
    sent: list[str] = []

    def answer(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.url)
            route.fulfill(status=204)
        else:
            route.continue_()

    page.route("**/*", answer)
    page.goto(f"{address}/login")
    page.locator("#email").fill("ada@example.com")
    page.locator("#password").fill("secret123")
    page.evaluate("() => { const b = document.querySelector('.btn-submit'); b.click(); b.click(); b.click(); }")
    page.evaluate("() => new Promise(done => setTimeout(done, 50))")
    page.evaluate("() => { document.querySelector('.btn-submit').click(); }")
    expect(page.locator("form[aria-busy=true]")).to_have_count(1)
    assert len(sent) == 1


def test_menus_close_with_escape_and_a_click_elsewhere(page: Page, address: str) -> None:
    page.goto(f"{address}/home")
    menu = page.locator("summary[aria-label='Account menu']")
    menu.click()
    expect(page.locator(".menu[open]")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator(".menu[open]")).to_have_count(0)
    expect(menu).to_be_focused()
    menu.click()
    page.locator("h1").click()
    expect(page.locator(".menu[open]")).to_have_count(0)


def test_the_skip_link_comes_first_and_leads_to_the_content(page: Page, address: str) -> None:
    page.goto(f"{address}/home")
    page.keyboard.press("Tab")
    link = page.locator(".skip-to")
    expect(link).to_be_focused()
    expect(link).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize("width", browsers.WIDTHS)
def test_everything_can_be_reached_without_script(chromium: Browser, address: str, width: int) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": browsers.WIDTHS[width]}, java_script_enabled=False
    )
    page = context.new_page()
    page.goto(f"{address}/admin")
    if width < 992:
        expect(page.locator(".admin-nav")).to_be_hidden()
        page.locator(".admin-burger").click()
    expect(page.locator(".admin-nav")).to_be_visible()
    page.goto(f"{address}/shelf?flash=1")
    expect(page.locator(".toast-item").first).to_be_visible()
    expect(page.locator(".filters-submit")).to_be_visible()
    expect(page.locator("[data-theme-toggle]").locator("visible=true")).to_have_count(0)
    page.locator("summary[aria-label='Account menu']").click()
    expect(page.locator(".menu[open] .menu-panel")).to_be_visible()
    page.goto(f"{address}/admin")
    page.locator(".row-link").first.click()
    expect(page.locator("h1")).to_contain_text("ORD-")
    context.close()


def test_messages_stay_in_sight_while_a_panel_is_open(page: Page, address: str) -> None:
    page.goto(f"{address}/admin?flash=1")
    page.locator(".row-link").first.click()
    expect(page.locator("dialog[open] .toast-item")).to_have_count(2)
    page.locator("dialog[open] .toast-item [data-dismiss]").last.click()
    expect(page.locator("dialog[open] .toast-item")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("body > #flashes .toast-item")).to_have_count(1)


def test_a_refused_request_is_told(context: BrowserContext, address: str) -> None:
    context.route("**/panel/*", lambda route: route.fulfill(status=500, body="<p>secret</p>"))
    noisy = context.new_page()
    noisy.goto(f"{address}/admin")
    noisy.locator(".row-link").first.click()
    expect(noisy.locator(".toast-item")).to_contain_text("did not work")
    expect(noisy.locator("dialog[open]")).to_have_count(0)
    expect(noisy.locator("body")).not_to_contain_text("secret")
