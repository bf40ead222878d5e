"""Money goes back, click by click: with script and without, by the worker, and as the customer sees it afterwards."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.browser.test_every_page import LOOKS, problems_of, set_look
from tests.servers import processes


def give_back(owner: Person, number: str, amount: str) -> None:
    """From the order's page to the refund's."""
    owner.open(f"/admin/orders/{number}")
    owner.page.get_by_role("link", name="Give money back").click()
    owner.page.get_by_text("An amount", exact=True).click()
    owner.page.get_by_label("Amount", exact=False).and_(owner.page.locator("#amount")).fill(amount)
    owner.page.get_by_role("button", name="Give the money back").click()
    owner.page.wait_for_url(re.compile(r"/admin/refunds/\d+"))


def see_given(owner: Person) -> None:
    """The worker has asked the provider, and the page says so."""
    given = owner.page.get_by_role("heading", level=1).filter(has_text="Given back")

    def is_given() -> bool:
        owner.page.reload()
        return given.count() > 0

    processes.wait_until(is_given, seconds=60, what="the money to go back")


@pytest.mark.parametrize("has_script", [True, False])
def test_a_part_goes_back_and_the_customer_sees_it(shop: Shop, visit: Visit, has_script: bool) -> None:
    customer = visit(shop, shop.log_in_of("customer")[0], as_role="customer")
    number = customer.buy("stripe", action="Pay with card", slug="chatbot-rag")
    owner = visit(shop, as_role="admin", java_script_enabled=has_script)
    give_back(owner, number, "10.00")
    see_given(owner)
    customer.open(f"/orders/{number}")
    expect(customer.page.get_by_role("main")).to_contain_text("Money back")
    customer.open("/account/invoices")
    customer.page.get_by_role("link", name=re.compile("^CN-")).first.click()
    expect(customer.page.get_by_role("heading", level=1)).to_contain_text("Credit note CN-")
    message = shop.mail(shop.log_in_of("customer")[0], "The credit note is attached.")
    assert [part.get_content_type() for part in message.iter_attachments()] == ["application/pdf"]


def test_the_pages_of_money_that_goes_back(shop: Shop, visit: Visit) -> None:
    """Accessible, and nothing wider than a phone, in every look."""
    customer = visit(shop, shop.log_in_of("customer")[0], as_role="customer")
    number = customer.buy("stripe", action="Pay with card", slug="chatbot-rag")
    owner = visit(shop, as_role="admin")
    wrong: dict[str, list[str]] = {}

    def measure(person: Person, name: str) -> None:
        if found := problems_of(person.page, *LOOKS[:2]):
            wrong[name] = found
        set_look(person.page, 1280, "light")

    owner.open(f"/admin/orders/{number}/refund")
    measure(owner, "form")
    give_back(owner, number, "5")
    see_given(owner)
    measure(owner, "refund")
    owner.open("/admin/refunds")
    measure(owner, "refunds")
    customer.open(f"/orders/{number}")
    measure(customer, "order")
    customer.open("/account/invoices")
    measure(customer, "invoices")
    customer.page.get_by_role("link", name=re.compile("^CN-")).first.click()
    customer.page.wait_for_url(re.compile("/credit-notes/"))
    measure(customer, "credit note")
    intent = next(one for one in shop.stripe.world.all("payment_intent") if one["status"] == "succeeded")
    shop.stripe.control.dispute(intent["id"])

    def is_disputed() -> bool:
        owner.open("/admin/disputes?open=1")
        return owner.page.locator("a.row-link").count() > 0

    processes.wait_until(is_disputed, seconds=30, what="the dispute to be told")
    measure(owner, "disputes")
    owner.page.goto(shop.url + str(owner.page.locator("a.row-link").first.get_attribute("href")))
    owner.page.get_by_label("Evidence").fill("The log-ins of that day.")
    owner.page.get_by_text("The answer was sent at the provider").click()
    owner.page.get_by_role("button", name="Save").click()
    expect(owner.page.get_by_role("heading", level=1)).to_contain_text("Being decided")
    measure(owner, "dispute")
    owner.page.get_by_role("link", name="Note how it ended").click()
    measure(owner, "decide")
    assert wrong == {}
