"""Takes a picture of every page of the demo shop into docs/screens/, as a guest, customers and staff see it.

It starts a portal of its own on fresh demo data, buys, breaks and repairs things in it, then follows every link and
pictures each kind of page once, on a phone and a desktop; the main pages in the dark as well, with --all every page.
At the end it names the pages that no link led to.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

from portal import config, create_app
from tests.browser import shop as shops
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.servers import browser

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "screens"
# Files, partial pages, health, the developers' gallery.
LEFT_OUT = re.compile(
    r"(static|health\..*|dev_ui\..*|webhooks\..*|site\.set_locale|.*\.(pdf|.*_csv|attachment|badge|session_status"
    r"|letter_html))"
)
IN_THE_DARK = {
    "site-home", "catalogue-index", "catalogue-detail", "cart-drawer", "checkout-review", "returned-paid",
    "customer-dashboard", "orders-detail", "admin-home", "admin-panel", "admin-order",
}  # fmt: skip
LONGEST = 2000
# What the browser itself notes of an answer that a scene asks for: a refused form, a dead link, an error page.
ASKED_FOR = "console: Failed to load resource: the server responded with a status of"
ERRORS = (403, 404, 409, 413, 429, 500, 503)
PASSWORD = "a lighthouse at noon 7"  # noqa: S105  # of demo people in a shop that lives for a minute


@dataclass
class Tour:
    """Which pages have been pictured, and what was wrong with them."""

    app: Flask
    shop: Shop
    chromium: Browser
    everything: bool
    seen: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)

    @contextmanager
    def visit(self, who: str) -> Iterator[Person]:
        """A window of somebody's own; whatever goes wrong in it is noted."""
        context = self.chromium.new_context(locale="en", viewport={"width": 1280, "height": 800})
        page = context.new_page()
        trouble = browser.Problems(page)
        yield Person(self.shop, page)
        self.problems += [f"{who}: {problem}" for problem in trouble.found if not problem.startswith(ASKED_FOR)]
        context.close()

    def picture(self, page: Page, name: str, *, full_page: bool = True) -> None:
        """Keep pictures of the open page, on a phone and a desktop; a long page down to where it repeats itself."""
        self.seen.add(name)
        for width, height in browser.WIDTHS.items():
            page.set_viewport_size({"width": width, "height": height})
            for theme in browser.THEMES if self.everything or name in IN_THE_DARK else ("light",):
                page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
                page.wait_for_function("document.fonts.status === 'loaded'")
                whole = page.evaluate("document.documentElement.scrollHeight") if full_page else height
                page.screenshot(
                    path=TARGET / f"{name}-{width}-{theme}.png",
                    full_page=full_page,
                    clip={"x": 0, "y": 0, "width": width, "height": min(whole, LONGEST)},
                    animations="disabled",
                )
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 800})
        make_small(sorted(TARGET.glob(f"{name}-*.png")))
        print(f"  {name:<28} {page.url.removeprefix(self.shop.url)[:80]}", flush=True)

    def endpoint(self, url: str) -> str | None:
        """The page behind an address of ours, or None."""
        parts = urlsplit(url)
        if f"{parts.scheme}://{parts.netloc}" != self.shop.url:
            return None
        try:
            endpoint, _ = self.app.url_map.bind("").match(parts.path, method="GET")
        except (HTTPException, RequestRedirect):
            return None
        return None if LEFT_OUT.fullmatch(endpoint) else str(endpoint)

    def walk(self, context: BrowserContext, who: str, doors: tuple[str, ...], prefix: str = "") -> None:
        """Follow links from the doors; picture each kind of page the first time it is met."""
        page = context.new_page()
        page.set_viewport_size({"width": 1280, "height": 800})
        trouble = browser.Problems(page)
        waiting = deque(self.shop.url + door for door in doors)
        visited: set[str] = set()
        while waiting:
            endpoint = self.endpoint(address := waiting.popleft())
            if endpoint is None or endpoint in visited:
                continue
            visited.add(endpoint)
            answer = page.goto(address, wait_until="load")
            arrived = self.endpoint(page.url)
            if answer is None or arrived is None:
                continue
            if not answer.ok:
                self.problems.append(f"{who}: {address} answered {answer.status}")
                continue
            if (name := prefix + _file_name(arrived)) not in self.seen:
                self.picture(page, name)
            waiting.extend(page.eval_on_selector_all("a[href]", "links => links.map(link => link.href.split('#')[0])"))
        self.problems += [f"{who}: {problem}" for problem in trouble.found]
        page.close()

    def missing(self) -> list[str]:
        """Pages that nobody came to."""
        pages = {rule.endpoint for rule in self.app.url_map.iter_rules() if "GET" in (rule.methods or ())}
        wanted = {page for page in pages if not LEFT_OUT.fullmatch(page)}
        return sorted(page for page in wanted if _file_name(page) not in self.seen)


def main() -> None:
    """Start a portal, fill it with life, walk through it, say what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="every page in the dark as well")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="portal-screens-") as folder,
        shops.opened(Path(folder), environment="development") as shop,
        browser.running() as chromium,
    ):
        tour = Tour(create_app(config.load(shop.values)), shop, chromium, arguments.all)
        clear(TARGET)
        for part in (show_staff_without_work, show_guest, show_new_owner, show_customer, show_newcomer, show_staff):
            part(tour)
        for status in ERRORS:
            show_error(tour, status)
    for problem in tour.problems:
        print(f"  problem: {problem}")
    print(f"{len(tour.seen)} pages in {TARGET.relative_to(ROOT)}/. Nobody came to: {', '.join(tour.missing()) or '-'}.")
    sys.exit(1 if tour.problems else 0)


def clear(folder: Path) -> None:
    """Remove old pictures: one of a page that is gone would tell a story."""
    folder.mkdir(parents=True, exist_ok=True)
    for picture in folder.glob("*.png"):
        picture.unlink()


def make_small(pictures: list[Path]) -> None:
    """Reduce pictures to a palette, a third of the size, where ImageMagick is at hand."""
    if program := shutil.which("convert"):
        for picture in pictures:
            subprocess.run([program, picture, "+dither", "-colors", "256", f"PNG8:{picture}"], check=True)


def show_staff_without_work(tour: Tour) -> None:
    """The back office on its first day."""
    with tour.visit("staff, first day") as person:
        person.log_in(*tour.shop.log_in_of("admin"))
        for room in ("", "/orders", "/payments", "/webhooks", "/mail"):
            person.open(f"/admin{room}")
            tour.picture(person.page, f"empty-admin{room.replace('/', '-') or '-home'}")


def show_guest(tour: Tour) -> None:
    """The shop as anybody sees it, from the shelf to the provider and back."""
    with tour.visit("guest") as person:
        page = person.page
        person.open("/cart")
        tour.picture(page, "empty-cart")
        person.open("/packages?q=perpetuum")
        tour.picture(page, "empty-shelf")
        person.open("/packages/starter-biuro")
        page.locator("form.buy-form [type=submit]").click()
        page.locator("#cart .line-item").first.wait_for()
        tour.picture(page, "cart-drawer", full_page=False)
        tour.walk(page.context, "guest", ("/", "/cart", "/checkout", "/register", "/password/sent", "/verify/resend"))
        person.open("/checkout")
        page.locator("input[name=name]").fill("Gabriela Gość")
        page.get_by_role("button", name="Continue to payment").click()
        page.locator("[name=email]:invalid").wait_for()
        page.locator("form[action='/checkout']").evaluate("form => form.noValidate = true")
        page.get_by_role("button", name="Continue to payment").click()
        page.locator(".has-error").first.wait_for()
        tour.picture(page, "checkout-errors")
        person.details = {
            "Company": "Pracownia Gość sp. z o.o.",
            "Tax number": "123-456-32-18",
            "Street and number": "ul. Długa 7/12",
            "Postal code": "00-263",
            "City": "Warszawa",
        }
        person.give_details()
        tour.picture(page, "checkout-review")
        person.go_to_provider("sandbox")
        tour.picture(page, "sandbox-open")
        person.press("Decline")
        page.get_by_text("The card was declined").wait_for()
        page.locator("summary", has_text="Try what can go wrong").click()
        tour.picture(page, "sandbox-declined")
        hosted = page.url
        page.get_by_role("button", name="Cancel and go back to the shop").click()
        page.wait_for_url("**/cancelled**")
        tour.picture(page, "orders-cancelled")
        person.go_to_provider("sandbox")
        hosted = page.url
        person.press("Pay late")
        page.wait_for_url("**/return**")
        tour.picture(page, "returned-waiting")
        person.see_paid(60)
        page.wait_for_timeout(1000)
        tour.picture(page, "returned-paid")
        tour.seen.add("orders-returned")
        page.goto(hosted)
        tour.picture(page, "sandbox-paid")
        tour.seen.add("sandbox-show")


def show_new_owner(tour: Tour) -> None:
    """A buyer without an account uses the link that was mailed."""
    with tour.visit("new owner") as person:
        page = person.page
        page.goto(tour.shop.link(person.email, "/set-up/"))
        tour.picture(page, "accounts-set-up")
        person.set_up_account(PASSWORD)
        person.open("/my/packages")
        tour.picture(page, "new-owner-packages")
        person.open("/account/security/totp")
        if page.locator("input[name=password]").count():
            tour.picture(page, "accounts-confirm-password")
            page.locator("input[name=password]").first.fill(PASSWORD)
            page.locator("main [type=submit]").last.click()
        page.locator("input[name=code]").wait_for()
        tour.picture(page, "accounts-set-up-totp")


def show_newcomer(tour: Tour) -> None:
    """Somebody who has just registered and has bought nothing."""
    with tour.visit("newcomer") as person:
        page, address = person.page, "newcomer@example.com"
        person.open("/register")
        page.locator("input[name=email]").fill(address)
        page.locator("input[name=name]").fill("Nina Nowa")
        page.locator("input[name=password]").fill("x")
        page.locator("main form [type=submit]").first.click()
        page.locator(".has-error").first.wait_for()
        tour.picture(page, "register-errors")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main form [type=submit]").first.click()
        page.wait_for_url("**/verify**")
        tour.picture(page, "accounts-verify-pending")
        page.goto(tour.shop.link(address, "/verify/"))
        tour.picture(page, "accounts-verify")
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Confirm and log in").click()
        page.wait_for_url(lambda url: "/verify/" not in url)
        for path in ("/dashboard", "/my/packages", "/orders", "/account/invoices", "/account/addresses"):
            person.open(path)
            tour.picture(page, f"empty-{path.rsplit('/', 1)[1]}")
    with tour.visit("forgetful") as person:
        page = person.page
        person.open("/password/forgot")
        page.locator("input[name=email]").fill(address)
        page.locator("main form [type=submit]").first.click()
        page.goto(tour.shop.link(address, "/password/reset/"))
        tour.picture(page, "accounts-reset-password")
        person.open("/password/reset/not-a-token")
        tour.picture(page, "dead-link")
        person.open("/login")
        page.locator("input[name=email]").fill(address)
        page.locator("input[name=password]").fill("wrong")
        page.get_by_role("main").get_by_role("button", name="Log in").click()
        page.get_by_role("alert").first.wait_for()
        tour.picture(page, "log-in-refused")


def show_customer(tour: Tour) -> None:
    """A customer who has bought, cancelled, and paid twice."""
    with tour.visit("customer") as person:
        person.email, person.name = tour.shop.log_in_of("customer")[0], "Maria Wiśniewska"
        person.log_in(*tour.shop.log_in_of("customer"))
        person.buy(slug="biuro-autopilot")
        person.buy(action="Pay twice", slug="chatbot-rag")
        person.buy("stripe", "Pay with BLIK", slug="social-media")
        person.check_out(slug="sales-automation")
        person.page.get_by_role("button", name="Cancel and go back to the shop").click()
        person.page.wait_for_url("**/cancelled**")
        person.open("/orders")
        tour.picture(person.page, "orders-index")
        person.page.locator("main tbody a").last.click()
        person.page.wait_for_url("**/orders/ORD-**")
        tour.picture(person.page, "orders-detail")
        person.open("/orders")
        person.page.locator("main tbody a").first.click()
        person.page.wait_for_url("**/orders/ORD-**")
        tour.picture(person.page, "order-unpaid")
        tour.walk(person.page.context, "customer", ("/dashboard", "/account"))


def show_staff(tour: Tour) -> None:
    """Every room of the back office, and a side panel."""
    with tour.visit("staff") as person:
        page = person.page
        person.log_in(*tour.shop.log_in_of("admin"))
        person.open("/admin")
        page.locator("tbody a[hx-get]").first.click()
        page.locator("#panel-body > *").first.wait_for()
        tour.picture(page, "admin-panel", full_page=False)
        tour.walk(page.context, "staff", ("/admin", "/admin/search?q=maria", "/admin/orders", "/dev/mailbox"))
        person.open("/dev/mailbox")
        letters = page.eval_on_selector_all("tbody a", "all => all.map(one => [one.innerText, one.href])")
        for subject, link in letters:
            name = re.sub(r"ord-\d+-\w+", "", subject.lower())
            name = f"mail-{re.sub(r'[^a-z]+', '-', name).strip('-')}"
            if name not in tour.seen:
                page.goto(f"{link}/html")
                tour.picture(page, name)


def show_error(tour: Tour, status: int) -> None:
    """What somebody sees when it goes wrong."""
    with tour.visit(f"error {status}") as person:
        person.open(f"/dev/ui/errors/{status}")
        tour.picture(person.page, f"error-{status}")


def _file_name(endpoint: str) -> str:
    return endpoint.replace(".", "-").replace("_", "-")


if __name__ == "__main__":
    main()
