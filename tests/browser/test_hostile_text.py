"""What people type is shown as text, to them, to staff and in mails, and does nothing."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import Shop, html_of

STRINGS = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "'><svg onload=window.hacked=1>",
    "{{7*7}}{% raw %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "javascript:window.hacked=1",
    "</title></textarea></script><b>bold</b>",
    "<!-- comment --><![CDATA[x]]>",
    "<a href=//evil.example>click</a>",
    "<iframe srcdoc='<script>parent.hacked=1</script>'>",
    "Robert'); DROP TABLE orders;--",
    "%s %(name)s {0} {name} %00 %n",
    "&lt;i&gt; &amp; &#60;u&#62;",
    "\u202egnp.exe\u202c abc",
    "مرحبا بالعالم שלום",
    "Zażółć gęślą jaźń 🦊 👩‍👩‍👧",
    "Z̸̡͓a̷͖l̶͎g̵̱o̸͚",
    "=HYPERLINK(\"http://evil.example\")",
    "#set text(red) #read(\"/etc/passwd\") $x^2$ *b* _i_",
    "<mj-raw><style>*{display:none}</style></mj-raw>",
)  # fmt: skip
LABELS = ("Company", "Street and number", "City")


def visible_text(page: Page) -> str:
    """All that can be read on the page, also in values; spaces and invisible marks do not matter."""
    return squeezed(page.locator("body").inner_text())


def squeezed(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and not letter.isspace())


def does_nothing(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("main img[src=x], main iframe[srcdoc], main b, a[href*='evil.example']").count() == 0
    assert page.locator("[href^='javascript:']").count() == 0


def buy_as(person: Person, texts: tuple[str, ...]) -> str:
    """Buy with these as name, company, street and city; the order's number."""
    person.name = texts[0]
    person.details = {"Tax number": "", **dict(zip(LABELS, texts[1:], strict=True)), "Postal code": "<i>00</i>"}
    return person.buy(slug="biuro-autopilot")


def test_every_page_and_mail_shows_it_as_text(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "mallory@example.com")
    staff = visit(shop, as_role="admin")
    for start in range(0, len(STRINGS), 4):
        texts = STRINGS[start : start + 4]
        number = buy_as(person, texts)
        if start == 0:
            person.set_up_account("a quiet harbour at 9")
        does_nothing(person.page)

        person.open(f"/orders/{number}")
        does_nothing(person.page)
        invoice = person.page.get_by_role("link", name=re.compile(r"^Invoice INV-")).get_attribute("href")
        assert invoice is not None
        person.open(urlsplit(invoice).path.removesuffix(".pdf"))
        shown = visible_text(person.page)
        for text in texts:
            assert squeezed(text) in shown
        does_nothing(person.page)
        person.open("/checkout")
        does_nothing(person.page)

        staff.open(f"/admin/orders/{number}")
        shown = visible_text(staff.page)
        assert squeezed(texts[0]) in shown
        does_nothing(staff.page)
        for path in ("/admin/orders", "/admin/payments", "/admin/invoices"):
            staff.open(path)
            does_nothing(staff.page)

        receipt = shop.mail(person.email, number)
        letter = visit(shop)
        letter.page.set_content(html_of(receipt))
        does_nothing(letter.page)
        letter.page.context.close()


def test_a_hostile_profile_greets_nobody_with_anything_but_text(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "profile@example.com")
    person.buy(slug="biuro-autopilot")
    person.set_up_account("a quiet harbour at 10")
    staff = visit(shop, as_role="admin")
    for text in STRINGS[::3]:
        person.open("/account")
        name = person.page.locator("main input[name=name]")
        name.fill(text)
        name.press("Enter")
        expect(person.page.get_by_text("Saved", exact=False).first).to_be_visible()
        person.open("/dashboard")
        does_nothing(person.page)
        assert squeezed(text) in visible_text(person.page)
        staff.open("/admin/customers?q=profile@example.com")
        does_nothing(staff.page)
        assert squeezed(text) in visible_text(staff.page)
