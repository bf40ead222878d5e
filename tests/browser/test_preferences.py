"""What a visitor chooses for themselves is there at once, and is kept."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.shop import Shop

WORDS = {"pl": ("Polski", "Koszyk"), "es": ("Español", "Carrito")}


@pytest.mark.parametrize("code", ["pl", "es"])
def test_the_language_changes_and_is_kept(shop: Shop, visit: Visit, code: str) -> None:
    person = visit(shop)
    page, (name, cart) = person.page, WORDS[code]
    person.open("/packages?q=biuro")
    page.locator("summary[aria-label=Language]").first.click()
    page.get_by_role("link", name=name).first.click()
    expect(page.locator("html")).to_have_attribute("lang", code)
    assert page.url.endswith("/packages?q=biuro")
    for path in ("/packages?q=biuro", "/cart", "/login"):
        person.open(path)
        expect(page.locator("html")).to_have_attribute("lang", code)
    person.open("/")
    expect(page.locator("a.cart-button")).to_have_attribute("aria-label", cart)


def test_the_browsers_language_is_the_first_choice(shop: Shop, visit: Visit) -> None:
    person = visit(shop, locale="es-ES")
    person.open("/")
    expect(person.page.locator("html")).to_have_attribute("lang", "es")


@pytest.mark.parametrize(("scheme", "other"), [("light", "dark"), ("dark", "light")])
def test_the_theme_follows_the_system_until_chosen_and_is_kept(
    shop: Shop, visit: Visit, scheme: str, other: str
) -> None:
    person = visit(shop, color_scheme=scheme)
    page = person.page
    person.open("/")

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    systems = background()
    page.locator("[data-theme-toggle]:visible").first.click()
    expect(page.locator("html")).to_have_attribute("data-bs-theme", other)
    chosen = background()
    assert chosen != systems
    person.open("/packages")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", other)
    assert background() == chosen
    second = page.context.new_page()
    second.goto(shop.url)
    expect(second.locator("html")).to_have_attribute("data-bs-theme", other)
