"""The back office: empty on its first day, and every room of it when there is work."""

from datetime import timedelta

from portal.core import clock
from portal.core.db import unit_of_work
from portal.quotes.services.expiring import announce_expiring
from scripts.screens.tour import Tour

_ROOMS = ("orders", "payments", "webhooks", "mail")


def show_first_day(tour: Tour) -> None:
    """Staff without any work; where the demo has something already, nothing that they look for is there."""
    with tour.visit("staff, first day", as_role="admin") as person:
        for room in ("", "/quotes", "/merchants"):
            tour.show(person, f"/admin{room}", f"empty-admin{room.replace('/', '-') or '-home'}")
        for room in _ROOMS:
            tour.show(person, f"/admin/{room}?q=nobody-of-this-name", f"empty-admin-{room}")


def show(tour: Tour) -> None:
    """Every room that the other parts have not shown, the side panel, prices being changed, and the customer's own."""
    with tour.visit("staff", as_role="admin") as person:
        page = person.page
        person.open("/admin")
        page.locator("tbody a[hx-get]").first.click()
        page.locator("#panel-body > *").first.wait_for()
        tour.picture(page, "admin-panel", full_page=False)
        for room in _ROOMS:
            tour.show(person, f"/admin/{room}", f"admin-{room}")
        _show_prices(tour)
        tour.show(person, "/admin/webhooks/check")
        tour.show(person, "/admin/search?q=nobody-of-this-name", "admin-search-nothing")
        _show_job(tour)
        tour.walk(page, "staff", "/admin", "/admin/search?q=maria", "/admin/orders", "/admin/webhooks", "/dev/mailbox")
    with tour.visit("customer at home", as_role="customer") as person:
        # Newcomers were shown these with nothing in them.
        for path in ("/dashboard", "/account/addresses", "/account/invoices"):
            tour.show(person, path)
        tour.walk(person.page, "customer", "/dashboard", "/account", "/account/addresses", "/my/packages")
    # What time would bring: prices that were not accepted end in three days.
    with tour.app.app_context(), unit_of_work():
        announce_expiring(at=clock.now() + timedelta(days=28))


def _show_job(tour: Tour) -> None:
    """A job of the list; those that are done are shown when somebody asks for them."""
    with tour.visit("operator", as_role="admin") as person:
        person.open("/admin/jobs?status=done")
        tour.show(person, str(person.page.locator("main tbody a").first.get_attribute("href")))


def _show_prices(tour: Tour) -> None:
    with tour.visit("estimator of prices", as_role="admin") as person:
        page = person.page
        tour.show(person, "/admin/price-book", "price-book-one")
        page.get_by_role("button", name="Change the prices").click()
        page.wait_for_url("**/edit")
        tour.picture(page)
        field = page.get_by_label("Minimum", exact=False).first
        field.fill("59.00")
        page.get_by_role("button", name="Save the draft").click()
        page.wait_for_url(lambda url: not url.endswith("/edit"))
        tour.picture(page)
        draft = page.url.removeprefix(tour.shop.url)
        for name in ("compare", "rehearsal"):
            tour.show(person, f"{draft}/{name}")
        tour.show(person, "/admin/price-book")
