"""Everything the sandbox's page can do to a purchase, and everything a buyer does to it."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.shop import Shop
from tests.servers import processes


@pytest.mark.parametrize("button", ["Pay by card", "Pay by BLIK"])
def test_a_member_buys_and_opens_the_package_from_the_return_page(shop: Shop, visit: Visit, button: str) -> None:
    member = visit(shop, shop.log_in_of("customer")[0], as_role="customer")
    number = member.buy(action=button, slug="biuro-autopilot")
    member.page.get_by_role("link", name="See the order").click()
    expect(member.page.get_by_role("heading", level=1)).to_contain_text(number)
    member.open("/my/packages")
    expect(member.page.get_by_role("main")).to_contain_text("Biuro na autopilocie")


def test_declined_stays_and_pays_at_the_second_try(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "sandbox-declined@example.com")
    person.check_out()
    person.press("Decline")
    expect(person.page.get_by_text("The card was declined")).to_be_visible()
    person.press("Pay by card")
    person.see_paid()


def test_cancelling_keeps_the_cart_and_the_order(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "sandbox-cancelled@example.com")
    person.check_out()
    person.press("Cancel and go back to the shop")
    expect(person.page.get_by_role("heading", name="Not paid yet")).to_be_visible()
    number = person.order_number()
    person.page.get_by_role("link", name="Back to the cart").click()
    expect(person.page.locator("#cart .line-item")).to_have_count(1)
    person.page.go_back()
    person.pay_again("sandbox")
    person.press("Pay by card")
    assert person.see_paid() == number


def test_paid_twice_is_one_sale_and_one_conflict(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "sandbox-twice@example.com")
    number = person.buy(action="Pay twice")
    staff = visit(shop, as_role="staff")
    staff.open("/admin")
    expect(staff.page.locator("tr", has_text=number)).to_have_count(1)
    assert len(shop.mails_to(person.email)) == 2  # the receipt and the set-up link, each once


def test_a_webhook_that_never_comes_is_made_up_for(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "sandbox-unheard@example.com")
    person.check_out()
    person.press("Lose the webhook")
    person.see_paid(60)
    expect(person.page.get_by_text("It has not reached us, so we asked the provider ourselves.")).to_be_visible()


def test_two_tabs_submit_one_order(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "tabs@example.com")
    person.add_to_cart()
    person.give_details()
    first, second = person.page, person.page.context.new_page()
    second.goto(first.url)
    for tab in (first, second):
        tab.locator("input[name=provider][value=sandbox]").check()
    for tab in (first, second):
        tab.get_by_role("button", name=re.compile("^Pay ")).click(no_wait_after=True)
    for tab in (first, second):
        tab.wait_for_url("**/sandbox/**")
    assert first.url == second.url
    person.press("Pay by card")
    person.see_paid()
    second.reload()
    expect(second.get_by_text("This payment is done")).to_be_visible()


def test_the_back_button_after_paying_pays_nothing_again(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "back@example.com")
    person.check_out()
    hosted = person.page.url
    person.press("Pay by card")
    number = person.see_paid()
    person.page.goto(hosted)
    expect(person.page.get_by_text("This payment is done")).to_be_visible()
    person.page.get_by_role("link", name="Back to the shop").click()
    assert person.see_paid() == number
    # Back over the provider's page to checkout: what was bought is no longer there to be bought.
    # The worker takes it out of the cart a moment after it has counted the money.
    empty = person.page.get_by_text("Your cart is empty")

    def is_empty() -> bool:
        person.open("/checkout/review")
        return empty.count() > 0

    processes.wait_until(is_empty, seconds=30, what="what was bought to leave the cart")


def test_a_second_press_of_pay_at_checkout_is_not_sent(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "clicks@example.com")
    person.add_to_cart()
    person.give_details()
    sent: list[str] = []
    person.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    person.page.locator("input[name=provider][value=sandbox]").check()
    person.page.get_by_role("button", name=re.compile("^Pay ")).dblclick(no_wait_after=True)
    person.page.wait_for_url("**/sandbox/**")
    assert len([url for url in sent if "/checkout/review" in url]) == 1
