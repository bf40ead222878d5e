"""Owners of websites: buying one, its subscription, a change, its versions, a domain; and the same as staff see it."""

import re

from playwright.sync_api import expect

from scripts.screens.buying import PASSWORD
from scripts.screens.tour import Tour
from tests.browser.people import Person

ADDRESS = "olga.owner@example.com"
SITE = "corner-bakery"
DOMAIN = "www.corner-bakery.com"


def show(tour: Tour) -> None:
    """Somebody buys a site, subscribes, has it changed and asks for a domain; staff look at all of it."""
    with tour.visit("owner of a site", email=ADDRESS) as owner:
        owner.name = "Olga Owner"
        owner.buy_site(SITE)
        owner.set_up_account(PASSWORD)
        tour.show(owner, "/my/sites")
        tour.show(owner, f"/my/sites/{SITE}", "my-site-not-active")
        owner.subscribe(SITE)
        tour.show(owner, f"/my/sites/{SITE}")
        tour.show(owner, f"/my/sites/{SITE}/changes", "empty-changes")
        ask_for_change(
            owner, 'Please replace "<h1>" with "<h1>Since 1987: ", so that people know how long we have been here.'
        )
        expect(owner.page.locator(".piece").first).to_be_visible(timeout=30_000)
        tour.picture(owner.page)
        tour.show(owner, f"/my/sites/{SITE}/changes")
        tour.show(owner, f"/my/sites/{SITE}/versions")
        tour.show(owner, f"/my/sites/{SITE}/versions/1")
        tour.show(owner, f"/my/sites/{SITE}/domain", "empty-domain")
        owner.page.get_by_label("Your domain", exact=False).first.fill(DOMAIN)
        owner.page.get_by_role("button", name="Connect it").click()
        expect(owner.page.get_by_role("main")).to_contain_text("Records to set")
        tour.picture(owner.page)
    with tour.visit("webmaster", as_role="admin") as staff:
        for room in ("changes?status=preview_ready", "domains", "subscriptions"):
            tour.show(staff, f"/admin/{room}")
            link = staff.page.locator("main a").filter(has_text=re.compile("Corner Bakery|corner-bakery|Change"))
            staff.open(link.first.get_attribute("href") or "")
            tour.picture(staff.page)
        tour.show(staff, "/admin/statistics")


def ask_for_change(owner: Person, words: str) -> None:
    """From the list of changes that is open to the page of the new one."""
    page = owner.page
    page.get_by_label("What should be different?", exact=False).first.fill(words)
    page.get_by_role("button", name="Send the request").click()
    page.wait_for_url(re.compile(r"/changes/\d+"))
