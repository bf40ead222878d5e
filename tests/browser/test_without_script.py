"""Everything of a purchase with JavaScript switched off."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import CHILDREN, Shop
from tests.servers import processes


def look_until_paid(person: Person) -> str:
    """Without script the page does not ask by itself: its link does."""
    paid = person.page.get_by_role("heading", name="Paid. Thank you!")

    def is_paid() -> bool:
        if not paid.count():
            person.page.get_by_role("link", name="Look again").click()
        return paid.count() > 0

    processes.wait_until(is_paid, seconds=30, what="the payment to be counted")
    return person.order_number()


def test_a_guest_buys_changes_the_cart_pays_and_sets_the_account_up(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "plain@example.com", java_script_enabled=False)
    page = person.page
    person.add_to_cart("biuro-autopilot")
    expect(page.get_by_role("heading", name="Your cart", exact=False)).to_be_visible()
    person.add_to_cart()
    page.locator("#cart .line-item", has_text="Starter").get_by_label(re.compile("^Licences of")).fill("2")
    page.locator("#cart .line-item", has_text="Starter").get_by_role("button", name="Update").click()
    expect(page.locator("#cart")).to_contain_text("994.00")
    page.get_by_role("button", name="Remove Biuro na autopilocie").click()
    expect(page.locator("#cart .line-item")).to_have_count(1)
    page.get_by_role("link", name="Go to checkout").click()
    person.give_details()
    person.go_to_provider("sandbox")
    person.press("Pay by card")
    number = look_until_paid(person)
    person.set_up_account("a quiet harbour at 8")
    person.open("/my/packages")
    for child in CHILDREN:
        expect(page.get_by_role("main")).to_contain_text(child)
    expect(page.get_by_text("2 licences").first).to_be_visible()
    person.open("/orders")
    page.get_by_role("link", name=number).click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(number)


def test_declined_cancelled_and_paid_elsewhere(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "plain-again@example.com", java_script_enabled=False)
    person.check_out()
    person.press("Decline")
    expect(person.page.get_by_text("The card was declined")).to_be_visible()
    person.press("Cancel and go back to the shop")
    expect(person.page.get_by_role("heading", name="Not paid yet")).to_be_visible()
    person.go_to_provider("stripe")
    person.press("Pay with card")
    look_until_paid(person)


def test_a_wrong_form_says_what_is_missing(shop: Shop, visit: Visit) -> None:
    person = visit(shop, expects_errors=True, java_script_enabled=False)
    person.add_to_cart()
    person.open("/checkout")
    person.page.locator("summary", has_text="I need an invoice").click()
    person.page.get_by_label("E-mail").fill("plain@example.com")
    person.page.get_by_label("Name", exact=True).fill("Plain")
    person.page.get_by_label("Company").fill("A company without an address")
    person.page.get_by_role("button", name="Continue to payment").click()
    expect(person.page.get_by_text("needs the whole address").first).to_be_visible()
    expect(person.page.get_by_label("Company")).to_have_value("A company without an address")


def test_menus_filters_and_search_work(shop: Shop, visit: Visit) -> None:
    person = visit(shop, java_script_enabled=False)
    person.open("/packages")
    person.page.get_by_role("searchbox").fill("chat")
    person.page.get_by_role("searchbox").press("Enter")
    expect(person.page.get_by_role("main")).not_to_contain_text("Starter dla biura")
    person.page.locator("summary[aria-label=Language]").first.click()
    person.page.get_by_role("link", name="Polski").first.click()
    expect(person.page.locator("html")).to_have_attribute("lang", "pl")
