"""Every page, as a guest, customers and staff see it: accessible, nothing broken, nothing wider than a phone.

Each kind of page is measured in one of four looks in turn (a phone or a desktop, light or dark), the pages of a
purchase in more; all of them must fit on a phone.
"""

from collections import deque
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page

from portal import config, create_app
from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop
from tests.servers.browser import WIDTHS, violations

# Files, and what is no page by itself.
NO_PAGES = (".pdf", ".csv", ".json", "/language", "/dev/ui", "/badge", "/static", "/html", "/files/")
LOOKS = ((1280, "light"), (390, "dark"), (1280, "dark"), (390, "light"))
PHONE = min(WIDTHS)
# The shops in which the customer has bought already: once is enough for all tests that look at it.
_SOLD: set[str] = set()
DOORS = {
    "guest": ("/", "/cart", "/checkout", "/register", "/login", "/password/forgot", "/verify/resend"),
    "empty": ("/dashboard", "/my/packages", "/orders", "/account/invoices", "/account"),
    "customer": ("/dashboard", "/orders", "/account/invoices", "/account/security"),
    "admin": ("/admin", "/admin/search?q=example"),
}


def set_look(page: Page, width: int, theme: str) -> None:
    page.set_viewport_size({"width": width, "height": WIDTHS[width]})
    page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")


def barriers(page: Page) -> list[str]:
    """What axe finds serious or critical."""
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in violations(page)
        if one["impact"] in ("serious", "critical")
    ]


def wider_than_the_phone(page: Page) -> list[str]:
    """What sticks out on the right, when the page can be moved sideways."""
    excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"the page is {excess} px wider than the screen"] if excess > 0 else []


def problems_of(page: Page, *looks: tuple[int, str]) -> list[str]:
    """Everything wrong with the open page in these looks, and whether it fits on a phone."""
    found = []
    for width, theme in looks:
        set_look(page, width, theme)
        found += [f"{width} {theme}: {problem}" for problem in barriers(page)]
    set_look(page, PHONE, "light")
    return found + wider_than_the_phone(page)


def walk(person: Person, doors: tuple[str, ...], without: tuple[str, ...] = ()) -> tuple[dict[str, list[str]], int]:
    """Follow every link from the doors, one page of each kind; what is wrong, by page, and how many were seen."""
    app = create_app(config.load(person.shop.values))
    adapter = app.url_map.bind("")
    waiting, seen, wrong = deque(doors), set(), {}
    while waiting:
        path = waiting.popleft()
        plain = urlsplit(path).path
        if any(part in plain for part in NO_PAGES + without):
            continue
        kind = adapter.match(plain)[0] if adapter.test(plain, method="GET") else plain
        if kind in seen:
            continue
        seen.add(kind)
        person.open(path)
        if found := problems_of(person.page, LOOKS[len(seen) % len(LOOKS)]):
            wrong[path] = found
        links = person.page.eval_on_selector_all("a[href^='/']", "all => all.map(one => one.getAttribute('href'))")
        waiting.extend(link.split("#")[0] for link in links)
    return wrong, len(seen)


@pytest.fixture
def sold(shop: Shop, visit: Visit) -> Person:
    """A customer who has bought, and has an order that is not paid; with a conflict for staff to look at."""
    person = visit(shop, shop.log_in_of("customer")[0], as_role="customer")
    if shop.url not in _SOLD:
        person.buy(action="Pay twice", slug="chatbot-rag")
        person.check_out(slug="sales-automation")
        person.press("Cancel and go back to the shop")
        _SOLD.add(shop.url)
    return person


def test_every_page_of_a_guest(shop: Shop, visit: Visit) -> None:
    person = visit(shop)
    person.add_to_cart()
    wrong, count = walk(person, DOORS["guest"])
    assert wrong == {}
    assert count >= 9


def test_every_page_of_a_customer(shop: Shop, visit: Visit, sold: Person) -> None:
    wrong, count = walk(sold, DOORS["customer"])
    assert wrong == {}
    assert count >= 15


def test_every_page_of_a_customer_who_has_nothing_yet(shop: Shop, visit: Visit) -> None:
    person = visit(shop, shop.log_in_of("staff")[0], as_role="staff")
    wrong, count = walk(person, DOORS["empty"], without=("/admin", "/packages/"))
    assert wrong == {}
    assert count >= 10


def test_every_room_of_the_back_office(shop: Shop, visit: Visit, sold: Person) -> None:
    wrong, count = walk(visit(shop, as_role="admin"), DOORS["admin"])
    assert wrong == {}
    assert count >= 18


def test_every_page_of_a_purchase(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "measured@example.com")
    wrong: dict[str, list[str]] = {}

    def measure(name: str) -> None:
        if found := problems_of(person.page, *LOOKS[:2]):
            wrong[name] = found
        set_look(person.page, 1280, "light")

    person.open("/packages/starter-biuro")
    person.page.locator("form.buy-form [type=submit]").click()
    person.page.get_by_role("dialog").wait_for()
    measure("drawer")
    person.give_details()
    measure("review")
    person.go_to_provider("sandbox")
    measure("sandbox")
    person.press("Decline")
    person.page.get_by_text("The card was declined").wait_for()
    measure("declined")
    person.press("Cancel and go back to the shop")
    person.page.wait_for_url("**/cancelled**")
    measure("cancelled")
    person.go_to_provider("sandbox")
    person.press("Pay late")
    person.page.wait_for_url("**/return**")
    measure("waiting")
    person.see_paid(60)
    measure("paid")
    person.page.goto(shop.link(person.email, "/set-up/"))
    measure("set-up")
    assert wrong == {}


@pytest.mark.parametrize(
    "path", ["/set-up/dead", "/nothing-here", "/packages/nothing", "/orders/ORD-1/return", "/invoices/INV-1"]
)
def test_error_pages(shop: Shop, visit: Visit, path: str) -> None:
    # Chromium notes each error status in the console: an error page is asked for in a window that expects one.
    person = visit(shop, as_role="customer", expects_errors=True)
    person.open(path)
    assert problems_of(person.page, *LOOKS) == []


def test_the_side_panel(shop: Shop, visit: Visit, sold: Person) -> None:
    staff = visit(shop, as_role="admin")
    staff.open("/admin/orders")
    staff.page.locator("tbody a[hx-get]").first.click()
    staff.page.locator("#panel-body > *").first.wait_for()
    assert problems_of(staff.page, *LOOKS) == []
