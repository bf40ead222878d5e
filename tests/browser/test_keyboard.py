"""The shop without a mouse: every step by Tab, Enter and the arrow keys, and always visible where one is."""

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Visit
from tests.browser.shop import Shop

# The focused element, and whether a person can see that it is focused.
FOCUS_IS_VISIBLE = """() => {
  const outlined = (style) => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
  const marked = (style) => outlined(style) || style.boxShadow !== 'none';
  const here = document.activeElement;
  const box = here.getBoundingClientRect();
  let isSeen = marked(getComputedStyle(here));
  // A link that covers its card or row lets that show the focus.
  for (let one = here.parentElement; one && !one.matches('main, body, dialog'); one = one.parentElement)
    isSeen ||= outlined(getComputedStyle(one));
  return box.width > 0 && box.height > 0 && isSeen;
}"""


def tab_to(page: Page, target: Locator, key: str = "Tab") -> None:
    """Press Tab until the target has the focus; each stop on the way must show itself."""
    seen = []
    for _ in range(80):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press(key)
        where = page.evaluate("document.activeElement.outerHTML.slice(0, 120)")
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(FOCUS_IS_VISIBLE), f"nobody sees that this has the focus: {where}"
        seen.append(where)
    raise AssertionError(f"Tab never came to {target}; the last stops: {seen[-5:]}")


def test_from_home_to_paid(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "keys@example.com")
    page, keys = person.page, person.page.keyboard
    person.open("/")
    tab_to(page, page.get_by_role("main").get_by_role("link", name="Starter dla biura").first)
    keys.press("Enter")
    page.wait_for_url("**/packages/starter-biuro")
    tab_to(page, page.locator("form.buy-form [type=submit]"))
    keys.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    tab_to(page, page.get_by_role("dialog").get_by_role("link", name="Go to checkout"))
    keys.press("Enter")
    page.wait_for_url("**/checkout")
    tab_to(page, page.get_by_label("E-mail"))
    keys.type(person.email)
    tab_to(page, page.get_by_label("Name", exact=True))
    keys.type("Kasia Klawisz")
    keys.press("Enter")
    page.wait_for_url("**/checkout/review")
    sandbox = page.locator("input[name=provider][value=sandbox]")
    tab_to(page, page.locator("input[name=provider]").first)
    for _ in range(4):
        if sandbox.is_checked():
            break
        keys.press("ArrowDown")
    expect(sandbox).to_be_checked()
    tab_to(page, page.get_by_role("button", name=re.compile("^Pay ")))
    keys.press("Enter")
    page.wait_for_url("**/sandbox/**")
    tab_to(page, page.get_by_role("button", name="Pay by card"))
    keys.press("Enter")
    person.see_paid()


def test_the_first_stop_skips_to_the_content(shop: Shop, visit: Visit) -> None:
    person = visit(shop)
    person.open("/packages")
    skip = person.page.get_by_role("link", name="Skip to the content")
    person.page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    person.page.keyboard.press("Enter")
    expect(person.page.locator("#main")).to_be_focused()
    person.page.keyboard.press("Tab")
    assert person.page.evaluate("document.getElementById('main').contains(document.activeElement)")


def test_the_drawer_keeps_the_focus_and_gives_it_back(shop: Shop, visit: Visit) -> None:
    person = visit(shop)
    page = person.page
    person.open("/packages")
    opener = page.get_by_role("main").get_by_role("button", name=re.compile("^Add .* to the cart")).first
    tab_to(page, opener)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    for key in ["Tab"] * 12 + ["Shift+Tab"] * 12:
        page.keyboard.press(key)
        # The body stands for the browser's own buttons, which a dialog may be left for.
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog[open]')"
        )
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(opener).to_be_focused()


def test_a_menu_closes_with_escape_and_gives_the_focus_back(shop: Shop, visit: Visit) -> None:
    person = visit(shop)
    person.open("/")
    summary = person.page.locator("summary[aria-label=Language]").first
    tab_to(person.page, summary)
    person.page.keyboard.press("Enter")
    expect(person.page.get_by_role("link", name="Polski").first).to_be_visible()
    person.page.keyboard.press("Tab")
    person.page.keyboard.press("Escape")
    expect(person.page.get_by_role("link", name="Polski").first).to_be_hidden()
    expect(summary).to_be_focused()
