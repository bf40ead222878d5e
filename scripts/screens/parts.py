"""Printed parts until their price is accepted: a visitor tries it, a customer asks, staff look and decide."""

from pathlib import Path

from playwright.sync_api import expect

from scripts.screens import models
from scripts.screens.tour import Tour
from tests.browser.people import Person
from tests.browser.test_quotes import see_priced
from tests.quotes.models import open_stl

_GEAR = "Planetengetriebe-Sonnenrad-Modul-1.5-Revision-C.stl"


def show(tour: Tour) -> None:
    """From a file to a price that was accepted, and to ones that were not."""
    files = _write_models(tour.shop.folder)
    _show_visitor(tour, files)
    with (
        tour.visit("customer with parts", as_role="customer") as customer,
        tour.visit("estimator", as_role="admin") as staff,
    ):
        number = _show_draft(tour, customer, files)
        _show_desk(tour, staff, number)
        tour.shop.mail(customer.email, "Sanded by hand")
        tour.show(customer, f"/quotes/{number}", "quote-priced")
        customer.page.get_by_role("button", name="Accept this price").click()
        customer.page.get_by_role("link", name="Order these parts").wait_for()
        tour.picture(customer.page, "quote-accepted")
        _show_refusals(tour, customer, staff, files)
        tour.show(customer, "/quotes")


def ask(customer: Person, path: str, note: str = "") -> str:
    """A quote for one model, sent; gives its number."""
    page = customer.page
    customer.open("/quotes/new")
    page.locator("#models").set_input_files(path)
    see_priced(page, Path(path).name)
    if note:
        page.get_by_label("Note to us").fill(note)
        expect(page.locator("#note-saved")).to_contain_text("Saved")
    page.get_by_role("button", name="Send the quote").click()
    expect(page.get_by_role("button", name="Send the quote")).to_have_count(0)
    return page.url.rpartition("/")[2]


def _write_models(folder: Path) -> dict[str, str]:
    made = {
        _GEAR: models.gear(),
        "sun-gear-wider.stl": models.gear(radius=26, height=11),
        "knob.stl": models.knob(),
        "open-box.stl": open_stl(30),
        "notes.txt": b"hello",
    }
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return {name: str(folder / name) for name in made}


def _show_visitor(tour: Tour, files: dict[str, str]) -> None:
    with tour.visit("visitor with parts") as person:
        page = person.page
        tour.show(person, "/quote")
        page.locator("#models").set_input_files([files["knob.stl"], files["open-box.stl"]])
        see_priced(page, "knob.stl")
        page.locator(".model-row", has_text="open-box.stl").get_by_role("note").wait_for()
        expect(page.locator(".model-row .spinning")).to_have_count(0, timeout=60_000)
        page.locator("#models").set_input_files(files["notes.txt"])
        expect(page.locator(".upload-item.is-wrong")).to_be_visible()
        tour.picture(page, "quote-visitor")


def _show_draft(tour: Tour, customer: Person, files: dict[str, str]) -> str:
    page = customer.page
    tour.show(customer, "/quotes/new")
    page.locator("#models").set_input_files([files[_GEAR], files["knob.stl"]])
    see_priced(page, _GEAR)
    see_priced(page, "knob.stl")
    row = page.locator(".model-row", has_text=_GEAR)
    row.get_by_label("Quantity").fill("24")
    row.get_by_label("Quantity").press("Tab")
    expect(row.locator(".model-price")).to_contain_text("24 ×")
    page.get_by_label("Note to us").fill("The teeth should be sanded; the gear turns a telescope and must run quietly.")
    expect(page.locator("#note-saved")).to_contain_text("Saved")
    row.get_by_text("How this price is made").click()
    tour.picture(page, "quotes-detail")
    draft = page.url

    row.get_by_role("link", name="View in 3D").click()
    page.locator(".viewer.is-ready, .viewer[data-state=ready]").or_(page.locator(".viewer-canvas")).first.wait_for()
    page.wait_for_timeout(1500)
    tour.picture(page, "quotes-model")
    page.locator(".viewer-stage").screenshot(path=tour.shop.folder / "photo.png")

    page.goto(draft)
    page.locator(".model-row", has_text=_GEAR).get_by_role("link", name="Replace by a changed model").click()
    tour.picture(page, "revision-start")
    page.locator("#models").set_input_files(files["sun-gear-wider.stl"])
    page.get_by_role("main").get_by_role("button", name="Upload").click()
    compared = page.url
    tour.wait_for(customer, compared.removeprefix(tour.shop.url), "Before, see-through")
    page.wait_for_timeout(1500)
    tour.picture(page, "quotes-revision")

    page.goto(draft)
    see_priced(page, "sun-gear-wider.stl")
    page.get_by_role("button", name="Send the quote").click()
    expect(page.locator("#quote")).to_contain_text("We are checking this price")
    tour.picture(page, "quote-waiting")
    return page.url.rpartition("/")[2]


def _show_desk(tour: Tour, staff: Person, number: str) -> None:
    page = staff.page
    tour.show(staff, "/admin/quotes")
    page.locator("tbody a[hx-get]").first.click()
    page.locator("#panel-body > *").first.wait_for()
    tour.picture(page, "admin-quote-panel", full_page=False)
    tour.show(staff, f"/admin/quotes/{number}")
    page.get_by_role("main").locator("a[href^='/admin/models/']").first.click()
    page.wait_for_url("**/admin/models/**")
    page.wait_for_timeout(1500)
    tour.picture(page)
    staff.open(f"/admin/quotes/{number}")
    page.get_by_text("Write to the customer", exact=True).click()
    page.locator("form[action$='/message']").get_by_label("Message to the customer").fill("Which lubricant do you use?")
    page.get_by_role("button", name="Send the message").click()
    page.wait_for_load_state("networkidle")
    staff.open(f"/admin/quotes/{number}")
    page.get_by_text("Set another price", exact=True).click()
    form = page.locator("form[action$='/override']")
    form.get_by_label("New total, tax included").press_sequentially("612.00")
    page.locator(f"#margin-{number} > *").first.wait_for()
    form.get_by_label("Reason").fill("Sanding by hand takes two hours more.")
    form.get_by_label("Message to the customer").fill("Sanded by hand, as you asked.")
    tour.picture(page, "admin-quote-override")
    page.get_by_role("button", name="Set this price and send").click()
    page.wait_for_load_state("networkidle")


def _show_refusals(tour: Tour, customer: Person, staff: Person, files: dict[str, str]) -> None:
    """Staff turn a quote down; and a customer has a model destroyed that nobody needs any more."""
    number = ask(customer, files["knob.stl"], "In pure gold, please.")
    # The button to send goes when it is pressed, the quote comes a moment later.
    tour.wait_for(staff, f"/admin/quotes/{number}", "^Turn it down$")
    staff.page.get_by_text("Turn it down", exact=True).click()
    form = staff.page.locator("form[action$='/reject']")
    form.get_by_label("Reason").fill("We print plastics only.")
    staff.page.get_by_role("button", name="Turn the quote down").click()
    tour.shop.mail(customer.email, "We print plastics only.")
    tour.show(customer, f"/quotes/{number}", "quote-rejected")
    page = customer.page
    page.locator(".model-row").get_by_role("link", name="View in 3D").click()
    page.get_by_role("link", name="Destroy this model").click()
    tour.picture(page, "quotes-destroy")
    page.get_by_role("button", name="Destroy it for good").click()
    page.wait_for_url("**/receipt")
    tour.picture(page, "quotes-receipt")
    page.get_by_role("link", name="knob.stl").first.click()
    tour.picture(page, "model-destroyed")
