"""Printed parts from the order to the doorstep, as the customer, the workshop and a stranger with the link see them."""

from playwright.sync_api import expect

from scripts.screens import models
from scripts.screens.parts import ask
from scripts.screens.tour import Tour
from tests.browser.people import Person
from tests.browser.test_parts_to_delivery import move, order, pay
from tests.servers import processes


def show(tour: Tour) -> None:
    """One order goes all the way; others stay behind on the board, each in another column."""
    path = tour.shop.folder / "camera-mount.stl"
    path.write_bytes(models.knob(22, 18))
    with (
        tour.visit("customer of parts", as_role="customer") as customer,
        tour.visit("workshop", as_role="admin") as maker,
    ):
        tour.show(maker, "/admin/production", "empty-admin-production")
        number = _show_ordering(tour, customer, str(path))
        others = [_ordered(customer, str(path)) for _ in range(3)]
        for other in others[:2]:
            pay(customer, other, "Your part payment is here")
        _move(tour, maker, others[0], "Start production")
        _show_making(tour, customer, maker, number)
        tour.show(maker, f"/admin/production/{others[1]}/cancel")
        _hold(maker, others[1])
        tour.show(customer, f"/orders/{others[1]}", "sales-order-held")
        _show_shipping(tour, customer, maker, number)


def _ordered(customer: Person, path: str) -> str:
    ask(customer, path)
    return order(customer)


def _show_ordering(tour: Tour, customer: Person, path: str) -> str:
    page = customer.page
    ask(customer, path)
    page.get_by_role("link", name="Order these parts").click()
    tour.picture(page, "production-convert")
    page.go_back()
    number = order(customer)
    tour.picture(page, "sales-order-unpaid")
    pay(customer, number, "Your part payment is here")
    tour.picture(page, "returned-part")
    return number


def _show_making(tour: Tour, customer: Person, maker: Person, number: str) -> None:
    page = maker.page
    tour.show(maker, "/admin/production")
    page.locator(".board-card a[hx-get]").first.click()
    page.locator("#panel-body > *").first.wait_for()
    tour.picture(page, "admin-sales-order-panel", full_page=False)
    tour.show(maker, "/admin/production?state=", "admin-production-list")
    _move(tour, maker, number, "Start production")
    _move(tour, maker, number, "Printed: to the quality check")
    photo = tour.shop.folder / "photo.png"
    if photo.exists():
        page.locator("input[type=file]").set_input_files(str(photo))
        page.get_by_label("Caption").fill("Printed, cleaned and measured")
        page.get_by_role("button", name="Add the photo").click()
        expect(page.locator(".photo-grid img")).to_be_visible()
    tour.show(maker, f"/admin/production/{number}")
    tour.show(customer, f"/orders/{number}", "sales-order")


def _move(tour: Tour, maker: Person, number: str, action: str) -> None:
    """Press the next action as soon as the worker has made it possible."""
    tour.wait_for(maker, f"/admin/production/{number}", action)
    move(maker, number, action)


def _hold(maker: Person, number: str) -> None:
    maker.open(f"/admin/production/{number}")
    maker.page.locator("summary", has_text="Put on hold").click()
    maker.page.locator("form[action$='/hold']").get_by_label("Reason").fill("The black filament is on its way.")
    maker.page.locator("form[action$='/hold']").get_by_role("button", name="Put on hold").click()
    expect(maker.page.get_by_role("button", name="Resume")).to_be_visible()


def _show_shipping(tour: Tour, customer: Person, maker: Person, number: str) -> None:
    page = maker.page
    pay(customer, number, "Paid. Thank you!")
    tour.show(maker, f"/admin/production/{number}/shipping", "shipping-start")
    for label, value in (
        ("Weight in grams", "420"),
        ("Length in cm", "24"),
        ("Width in cm", "18"),
        ("Height in cm", "9"),
    ):
        page.get_by_label(label).fill(value)
    page.get_by_role("button", name="Get prices").click()
    page.get_by_role("button", name="Buy for").first.wait_for()
    tour.picture(page, "admin-shipping")
    page.get_by_role("button", name="Buy for").first.click()
    page.get_by_role("button", name="Mark as shipped").wait_for()
    tour.picture(page, "shipping-label")
    page.get_by_role("button", name="Mark as shipped").click()
    expect(page.get_by_role("main")).to_contain_text("Handed over")
    link = tour.shop.link(customer.email, "/track/")
    with tour.visit("stranger with the link") as stranger:
        parcel = next(iter(tour.street.carrier.world.trackers))
        tour.street.carrier.world.scan(parcel, "in_transit")

        def is_moving() -> bool:
            stranger.page.goto(link)
            return "arrier" in stranger.page.get_by_role("main").inner_text()

        processes.wait_until(is_moving, seconds=30, what="the carrier's first scan")
        tour.picture(stranger.page, "tracking-show")
    tour.show(customer, f"/orders/{number}/tracking")
    tour.show(customer, f"/orders/{number}", "sales-order-shipped")
