"""The purchase at Stripe, played by the fake one over real sockets: what goes right, late, twice and unheard."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.browser.test_guest_buys import sees_the_bundle

PASSWORD = "a quiet harbour at 7"


@pytest.fixture(autouse=True)
def quick_banks(shop: Shop) -> None:
    shop.stripe.control.set_late(2.0)


def owns_it_after(person: Person) -> None:
    person.set_up_account(PASSWORD)
    sees_the_bundle(person)


@pytest.mark.parametrize("button", ["Pay with card", "Pay with BLIK"])
def test_a_guest_pays_at_stripe(shop: Shop, visit: Visit, button: str) -> None:
    person = visit(shop, f"stripe-{button.split()[-1].lower()}@example.com")
    number = person.buy("stripe", button)
    receipt = shop.mail(person.email, number)
    assert [part.get_content_type() for part in receipt.iter_attachments()] == ["application/pdf"]
    owns_it_after(person)


def test_paid_twice_is_one_sale_and_one_conflict_for_staff(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "twice@example.com")
    number = person.buy("stripe", "Pay twice")
    owns_it_after(person)
    person.open("/account/invoices")
    expect(person.page.locator("main a[href$='.pdf']")).to_have_count(1)
    person.open("/my/packages")
    expect(person.page.get_by_text("1 licence ·")).to_have_count(3)

    staff = visit(shop, as_role="staff")
    staff.open("/admin")
    row = staff.page.locator("tr", has_text=number)
    expect(row).to_have_count(1)
    expect(row).to_contain_text("497")


def test_money_that_comes_late_is_waited_for(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "late@example.com")
    person.check_out("stripe")
    person.press("Pay late")
    expect(person.page.get_by_role("heading", name="Waiting for the provider")).to_be_visible()
    person.see_paid()
    owns_it_after(person)


def test_a_lost_webhook_is_made_up_for_by_asking(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "unheard@example.com")
    person.check_out("stripe")
    person.press("Pay, and lose the webhook")
    person.see_paid(60)
    expect(person.page.get_by_text("It has not reached us, so we asked the provider ourselves.")).to_be_visible()
    owns_it_after(person)


def test_declined_then_paid(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "declined@example.com")
    person.check_out("stripe")
    person.press("Use a card that is declined")
    expect(person.page.get_by_role("alert")).to_be_visible()
    person.press("Pay with card")
    person.see_paid()
    owns_it_after(person)


def test_cancelled_then_paid_at_the_same_order(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "cancelled@example.com")
    person.check_out("stripe")
    person.page.get_by_role("link", name="Cancel and go back").click()
    expect(person.page.get_by_role("heading", name="Not paid yet")).to_be_visible()
    number = person.order_number()
    # The cart is kept, and paying again is paying this order.
    expect(person.page.locator("#cart-badge")).to_contain_text("1")
    person.go_to_provider("stripe")
    person.press("Pay with card")
    assert person.see_paid() == number
    owns_it_after(person)


def test_cancelled_at_stripe_then_paid_at_the_sandbox(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "elsewhere@example.com")
    person.check_out("stripe")
    person.page.get_by_role("link", name="Cancel and go back").click()
    person.page.wait_for_url(re.compile("/cancelled"))
    person.go_to_provider("sandbox")
    person.press("Pay by card")
    person.see_paid()
    owns_it_after(person)
