"""Money that goes back or is asked back, money that nobody can ask about, and books that are wrong."""

import re

from playwright.sync_api import expect

from portal.admin import nightly
from portal.core.db import db, unit_of_work
from portal.core.invariants import InvariantRun
from portal.payments.models import Invoice
from scripts.screens.tour import Tour
from tests.browser.people import Person
from tests.browser.test_money_back import give_back, see_given
from tests.servers import processes


def show(tour: Tour) -> None:
    """A refund, one that fails, a dispute, a payment decided by hand, and a night in which something was wrong."""
    with tour.visit("refunded", as_role="customer") as customer, tour.visit("bookkeeper", as_role="admin") as owner:
        for room in ("refunds", "disputes"):
            tour.show(owner, f"/admin/{room}", f"empty-admin-{room}")
        number = customer.buy("stripe", action="Pay with card", slug="chatbot-rag")
        _show_refund(tour, customer, owner, number)
        _show_dispute(tour, owner)
        _show_by_hand(tour, customer, owner)
        _show_broken_books(tour, owner)


def _show_refund(tour: Tour, customer: Person, owner: Person, number: str) -> None:
    page = owner.page
    tour.show(owner, f"/admin/orders/{number}/refund")
    give_back(owner, number, "10.00")
    see_given(owner)
    tour.picture(page)
    refunded = page.url
    tour.show(customer, f"/orders/{number}", "order-refunded")
    customer.open("/account/invoices")
    customer.page.get_by_role("link", name=re.compile("^CN-")).first.click()
    tour.picture(customer.page)
    page.goto(refunded)
    page.get_by_role("link", name="See the payment").click()
    page.wait_for_url("**/admin/payments/**")
    tour.show(owner, page.url.removeprefix(tour.shop.url) + "/refund")
    tour.shop.stripe.control.set_refunds("failed")
    give_back(owner, number, "12.00")
    tour.wait_for(owner, page.url.removeprefix(tour.shop.url), "^Failed$")
    tour.picture(page, "refund-failed")
    tour.shop.stripe.control.set_refunds("succeeded")


def _show_dispute(tour: Tour, owner: Person) -> None:
    page = owner.page
    intents = [one for one in tour.shop.stripe.world.all("payment_intent") if one["status"] == "succeeded"]
    dispute = tour.shop.stripe.control.dispute(intents[-1]["id"])

    def is_disputed() -> bool:
        owner.open("/admin/disputes?open=1")
        return page.locator("a.row-link").count() > 0

    processes.wait_until(is_disputed, seconds=30, what="the dispute to be told")
    tour.show(owner, "/admin/disputes")
    page.goto(tour.shop.url + str(page.locator("a.row-link").first.get_attribute("href")))
    address = page.url.removeprefix(tour.shop.url)
    page.get_by_label("Evidence").fill("The log-ins of that day, from the customer's own address.")
    tour.picture(page)
    page.get_by_text("The answer was sent at the provider").click()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Being decided")
    page.get_by_role("link", name="Note how it ended").click()
    tour.picture(page)
    tour.shop.stripe.control.close_dispute(dispute["id"], "won")
    tour.wait_for(owner, address, "Won")


def _show_by_hand(tour: Tour, customer: Person, owner: Person) -> None:
    """A shop at One.com can neither be asked nor told: somebody says how a payment and a refund ended."""
    page = owner.page
    number = customer.buy("onecom", action="Pay", slug="content-creator")
    give_back(owner, number, "20.00")
    tour.picture(page, "refund-by-hand")
    page.get_by_role("link", name="Note what happened").click()
    page.wait_for_url("**/decide")
    tour.picture(page)
    tour.show(owner, "/admin/refunds")
    customer.check_out("onecom", slug="devops-autopilot")
    owner.open("/admin/payments?status=pending")
    page.locator("main tbody a").first.click()
    page.locator("a[href$='/by-hand']").first.click()
    page.wait_for_url("**/by-hand")
    tour.picture(page)


def _show_broken_books(tour: Tour, owner: Person) -> None:
    """An invoice is lost, which no page of the portal can do; the nightly check finds it."""
    tour.show(owner, "/admin/invariants", "admin-invariants-right")
    with tour.app.app_context():
        with unit_of_work():
            db.session.delete(db.session.scalars(db.select(Invoice).order_by(Invoice.id.desc())).first())
            # The worker has looked today, when it started; another night has passed.
            db.session.execute(db.delete(InvariantRun))
        nightly.check_invariants()
    tour.show(owner, "/admin/invariants")
    tour.show(owner, "/admin/reconciliation")
