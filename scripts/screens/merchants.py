"""Merchants: asking to become one, payment links and keys, the page where others pay them, and webhooks to them."""

import re

from playwright.sync_api import Page, expect

from scripts.screens.buying import PASSWORD
from scripts.screens.tour import Tour
from tests.browser.people import Person

_BUYER = "jadwiga.przybylska-kowalczyk@example.com"


def show(tour: Tour) -> None:
    """A customer becomes a merchant, is paid through a link, and connects a program."""
    _show_declined(tour)
    with (
        tour.visit("merchant", as_role="customer") as merchant,
        tour.visit("merchants' desk", as_role="admin") as staff,
    ):
        _show_asking(tour, merchant, staff)
        _show_selling(tour, merchant)
        _show_keys(tour, merchant)
        _show_webhooks(tour, merchant)
        for path in ("/merchant", "/merchant/sessions?mode=test", "/merchant/invoices?mode=test"):
            tour.show(merchant, path)
        tour.show(merchant, "/docs")
        tour.show(staff, "/admin/merchants/new")
        staff.open("/admin/merchants")
        staff.page.locator("main tbody a").first.click()
        staff.page.wait_for_url(re.compile(r"/admin/merchants/\d+"))
        tour.picture(staff.page)


def _ask(page: Page, name: str, message: str) -> None:
    page.get_by_label("Name of your business").fill(name)
    page.get_by_label("E-mail for your customers").fill("kawiarnia@example.com")
    page.get_by_label("What do you want to sell?").fill(message)
    page.get_by_role("button", name="Send the request").click()
    page.wait_for_load_state("networkidle")


def _show_declined(tour: Tour) -> None:
    """Staff say no, and why."""
    with tour.visit("declined") as person, tour.visit("desk", as_role="admin") as staff:
        person.log_in(person.email, PASSWORD)
        person.open("/merchant")
        _ask(person.page, "Zegarki z Importu", "Watches.")
        staff.open("/admin/merchants")
        staff.page.get_by_role("link", name="Zegarki z Importu").click()
        staff.page.locator("summary", has_text="Decline").click()
        staff.page.get_by_label("Reason").first.fill("Please tell us where the watches come from.")
        staff.page.get_by_role("button", name="Decline the request").click()
        tour.shop.mail(person.email, "where the watches come from")
        tour.show(person, "/merchant", "merchant-declined")


def _show_asking(tour: Tour, merchant: Person, staff: Person) -> None:
    tour.show(merchant, "/merchant", "merchant-request")
    _ask(
        merchant.page,
        "Kawiarnia i Palarnia Kawy „Pod Misiem” Wiśniewska i Wspólnicy",
        "Coffee by the kilo, and places at our tastings.\nWe have a shop of our own and need a way to be paid.",
    )
    tour.picture(merchant.page, "merchant-waiting")
    tour.show(staff, "/admin/merchants")
    staff.page.get_by_role("link", name="Pod Misiem").click()
    tour.picture(staff.page)
    staff.page.get_by_role("button", name="Approve").click()
    staff.page.wait_for_load_state("networkidle")
    tour.shop.mail(merchant.email, "/merchant")
    tour.show(merchant, "/merchant", "merchant-new")
    tour.show(merchant, "/merchant/keys", "empty-merchant-keys")
    tour.show(merchant, "/merchant/webhooks?mode=test", "empty-merchant-webhooks")


def _make_link(merchant: Person, what: str, amount: str) -> str:
    """A payment link in test mode; gives the address of the pay page."""
    page = merchant.page
    merchant.open("/merchant/sessions/new?mode=test")
    page.get_by_label("Amount").fill(amount)
    page.get_by_label("Currency").fill("PLN")
    page.get_by_label("What is it for?").fill(what)
    page.get_by_label("Buyer's name").fill("Jadwiga Przybylska-Kowalczyk")
    page.get_by_label("Buyer's e-mail").fill(_BUYER)
    page.get_by_role("button", name="Make the link").click()
    page.wait_for_url(re.compile(r"/merchant/sessions/[0-9a-f-]{36}"))
    return str(page.get_by_role("link", name="Open the pay page").get_attribute("href"))


def _show_selling(tour: Tour, merchant: Person) -> None:
    tour.show(merchant, "/merchant/sessions/new?mode=test")
    link = _make_link(merchant, "Tasting on 12 December, two places", "178.00")
    tour.picture(merchant.page, "merchant-link")
    with tour.visit("merchant's buyer") as buyer:
        page = buyer.page
        tour.show(buyer, link)
        page.locator("input[name=provider][value=sandbox]").check()
        page.get_by_role("button", name=re.compile("^Pay ")).click()
        page.wait_for_url("**/sandbox/**")
        buyer.press("Pay by card")
        page.get_by_role("heading", name="Paid. Thank you!").wait_for()
        tour.picture(page, "pay-returned")
        tour.show(buyer, link, "pay-paid")
        page.goto(tour.shop.link(_BUYER, "/access/"))
        tour.picture(page, "purchases-show")
        tour.show(buyer, "/access/not-a-link", "dead-access-link")
        _make_link(merchant, "Ethiopia Yirgacheffe, 1 kg", "119.50")
    merchant.open("/merchant/sessions?mode=test&status=paid")
    merchant.page.locator("main tbody a").first.click()
    merchant.page.wait_for_url(re.compile(r"/merchant/sessions/[0-9a-f-]{36}"))
    tour.picture(merchant.page)


def _show_keys(tour: Tour, merchant: Person) -> None:
    page = merchant.page
    merchant.open("/merchant/keys")
    page.get_by_role("link", name="Show it once").click()
    tour.picture(page)
    page.get_by_role("button", name="Show it to me now").click()
    page.get_by_role("link", name="I have kept it").wait_for()
    tour.picture(page, "merchant-key-secret")
    tour.show(merchant, "/merchant/keys/new")
    page.get_by_label("Label").fill("Till at the bar")
    page.get_by_text("Read payments", exact=True).click()
    page.get_by_role("button", name="Make the key").click()
    page.get_by_role("link", name="I have kept it").click()
    tour.show(merchant, "/merchant/keys")
    page.get_by_role("link", name="Replace").first.click()
    tour.picture(page)


def _show_webhooks(tour: Tour, merchant: Person) -> None:
    page, receiver = merchant.page, tour.street.receiver
    tour.show(merchant, "/merchant/webhooks/address?mode=test")
    page.get_by_label("Webhook address").or_(page.locator("input[name=url]")).first.fill(receiver.url)
    page.get_by_role("button", name="Save").click()
    page.get_by_role("link", name="I have kept it").wait_for()
    tour.picture(page, "webhook-secret-shown")
    receiver.answers.append("500")
    for _ in range(2):
        merchant.open("/merchant/webhooks?mode=test")
        page.get_by_role("button", name="Send a test event").click()
        page.wait_for_load_state("networkidle")
    tour.wait_for(merchant, "/merchant/webhooks?mode=test", "Delivered")
    tour.picture(page)
    page.locator("main tbody a").first.click()
    page.wait_for_url("**/deliveries/**")
    tour.picture(page)
    tour.show(merchant, "/merchant/webhooks/secret?mode=test")
    # The program has gone for good: it says so, and nothing more is sent.
    receiver.answers += ["410"]
    merchant.open("/merchant/webhooks?mode=test")
    page.get_by_role("button", name="Send a test event").click()
    tour.wait_for(merchant, "/merchant/webhooks?mode=test", "Nothing is sent")
    tour.picture(page, "merchant-webhooks-paused")
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
