"""A printed part from a file to the doorstep: quoted, ordered, paid in two payments, made, shipped, delivered."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.browser.test_quotes import see_priced
from tests.quotes import models

_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360f8cfc0f01f0005"
    "0001ff5695ba1b0000000049454e44ae426082"
)


def quote(customer: Person, folder: Path) -> None:
    """From a file to an accepted quote: small enough that nobody has to check it."""
    model = folder / "bracket.stl"
    model.write_bytes(models.stl(20))
    customer.open("/quotes/new")
    customer.page.locator("#models").set_input_files(str(model))
    see_priced(customer.page, "bracket.stl")
    customer.page.get_by_role("button", name="Send the quote").click()
    expect(customer.page.get_by_role("heading", level=1)).to_contain_text(re.compile(r"Quote Q-\d{4}-\d{3}"))


def order(customer: Person) -> str:
    """From the quote to an order with a deposit; gives its number."""
    page = customer.page
    page.get_by_role("link", name="Order these parts").click()
    for label, value in (("Name", "Anna Nowak"), ("Postal code", "00-850"), ("City", "Warszawa")):
        page.get_by_label(label, exact=False).first.fill(value)
    page.locator("#line1").fill("ul. Prosta 20")
    page.get_by_text("A deposit:").click()
    page.get_by_role("button", name="Place the order").click()
    page.wait_for_url(re.compile(r"/orders/SO-"))
    # The order's whole page, and not the part of it that htmx gets.
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    match = re.search(r"SO-\d{4}-\d{3,}", page.url)
    assert match is not None
    return match[0]


def pay(customer: Person, number: str, sees: str) -> None:
    """Pay what the order asks for next, on the sandbox's page."""
    customer.open(f"/orders/{number}")
    customer.page.locator("input[name=provider][value=sandbox]").check()
    customer.page.get_by_role("button", name=re.compile("^Pay ")).click()
    customer.page.wait_for_url(re.compile("/sandbox/"))
    customer.press("Pay by card")
    customer.page.wait_for_url(re.compile(r"/orders/[^/]+/return"))
    expect(customer.page.get_by_role("heading", name=sees)).to_be_visible(timeout=30_000)


def move(maker: Person, number: str, action: str) -> None:
    """Press the one next action of an order in the back office."""
    maker.open(f"/admin/production/{number}")
    maker.page.get_by_role("main").get_by_role("button", name=action, exact=True).click()


def test_a_part_from_its_file_to_the_doorstep(shop: Shop, visit: Visit, tmp_path: Path) -> None:
    address = shop.log_in_of("customer")[0]
    customer = visit(shop, address, as_role="customer")
    # It tries to ship before the rest is paid, and is refused.
    maker = visit(shop, as_role="staff", expects_errors=True)
    quote(customer, tmp_path)
    number = order(customer)

    pay(customer, number, "Your part payment is here")
    expect(customer.page.get_by_role("main")).to_contain_text("is left")
    move(maker, number, "Start production")
    move(maker, number, "Printed: to the quality check")
    (tmp_path / "photo.png").write_bytes(_PNG)
    maker.open(f"/admin/production/{number}")
    maker.page.locator("input[type=file]").set_input_files(str(tmp_path / "photo.png"))
    maker.page.get_by_role("button", name="Add the photo").click()
    customer.open(f"/orders/{number}")
    expect(customer.page.get_by_role("main").locator("img").first).to_be_visible()

    # The rest is to be paid before anything leaves.
    maker.open(f"/admin/production/{number}/shipping")
    maker.page.get_by_label("Carrier").fill("InPost")
    maker.page.get_by_label("Tracking number").fill("620000000000000000000001")
    maker.page.get_by_role("button", name="Enter the parcel").click()
    maker.page.get_by_role("button", name="Mark as shipped").click()
    expect(maker.page.get_by_role("alert").first).to_contain_text("paid")
    pay(customer, number, "Paid. Thank you!")
    maker.open(f"/admin/production/{number}/shipping")
    maker.page.get_by_role("button", name="Mark as shipped").click()
    expect(maker.page.get_by_role("main")).to_contain_text("Handed over")

    link = shop.link(address, "/track/")
    stranger = visit(shop)
    stranger.page.goto(link)
    expect(stranger.page.get_by_role("main")).to_contain_text(number)
    expect(stranger.page.get_by_role("main")).not_to_contain_text("Prosta")
    expect(stranger.page.get_by_role("main")).not_to_contain_text("PLN")
    move(maker, number, "Mark as delivered")
    stranger.page.reload()
    expect(stranger.page.get_by_role("main")).to_contain_text("Delivered")
    customer.open("/account/invoices")
    expect(customer.page.get_by_role("main")).to_contain_text(number)
