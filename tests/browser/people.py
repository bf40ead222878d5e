"""What people do in the shop, click by click. Everything is found by its words, as a person finds it."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Page, expect

from tests.browser.shop import BUNDLE, Shop

ORDER_NUMBER = re.compile(r"ORD-\d{8}-\w+")


@dataclass
class Person:
    """Somebody at a browser: `page` is their window."""

    shop: Shop
    page: Page
    email: str = "guest@example.com"
    name: str = "Gabriela Gość"
    details: dict[str, str] = field(default_factory=dict)

    def open(self, path: str) -> None:
        """Go to an address of the shop."""
        self.page.goto(self.shop.url + path)

    def log_in(self, email: str, password: str) -> None:
        """Sign in by the form."""
        self.open("/login")
        self.page.get_by_label("E-mail", exact=False).first.fill(email)
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("main").get_by_role("button", name="Log in").click()
        self.page.wait_for_url(lambda url: urlsplit(url).path != "/login")

    def add_to_cart(self, slug: str = BUNDLE) -> None:
        """Put a package into the cart from its page, and go to the cart."""
        self.open(f"/packages/{slug}")
        self.page.locator("form.buy-form [type=submit]").click()
        self.page.locator("#cart .line-item").first.wait_for()

    def give_details(self) -> None:
        """The first screen of checkout."""
        self.open("/checkout")
        self.page.get_by_label("E-mail", exact=False).first.fill(self.email)
        self.page.get_by_label("Name", exact=False).first.fill(self.name)
        if self.details and not self.page.get_by_label("Company").is_visible():
            self.page.locator("summary", has_text="I need an invoice").click()
        for label, value in self.details.items():
            self.page.get_by_label(label, exact=False).first.fill(value)
        self.page.get_by_role("button", name="Continue to payment").click()
        expect(self.page.get_by_role("heading", name="Review and pay")).to_be_visible()

    def choose_provider(self, provider: str) -> None:
        """Say who should take the money, where there is a choice."""
        choice = self.page.locator(f"input[name=provider][value={provider}]")
        if choice.get_attribute("type") == "radio":
            choice.check()

    def go_to_provider(self, provider: str) -> None:
        """Choose who takes the money, and go there."""
        self.choose_provider(provider)
        self.page.get_by_role("button", name=re.compile("^Pay ")).click()
        self.page.wait_for_url(re.compile(r"/sandbox/|/c/pay/|/pay[/?]"))

    def pay_again(self, provider: str) -> None:
        """Go to a provider once more after cancelling there; its message that it was cancelled may be on its way."""
        for _ in range(20):
            self.go_to_provider(provider)
            if not self.page.get_by_text("This payment was cancelled").count():
                return
            self.page.get_by_role("link", name="Back to the shop").click()
            self.page.wait_for_url(re.compile(r"/orders/"))
            self.page.wait_for_timeout(250)

    def check_out(self, provider: str = "sandbox", slug: str = BUNDLE) -> None:
        """Everything up to the provider's page."""
        self.add_to_cart(slug)
        self.give_details()
        self.go_to_provider(provider)

    def press(self, name: str) -> None:
        """Press a button of the provider's page, wherever it hides, and be sent on."""
        trouble = self.page.locator("summary", has_text="Try what can go wrong")
        button = self.page.get_by_role("button", name=name, exact=True)
        if trouble.count() and not button.is_visible():
            trouble.click()
        button.click()

    def see_paid(self, seconds: float = 30) -> str:
        """The return page turns to paid by itself; gives the order's number."""
        self.page.wait_for_url(re.compile(r"/orders/[^/]+/return"))
        expect(self.page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible(timeout=seconds * 1000)
        return self.order_number()

    def order_number(self) -> str:
        """Which order the open page is about."""
        match = ORDER_NUMBER.search(self.page.url)
        assert match is not None, self.page.url
        return match[0]

    def buy(self, provider: str = "sandbox", action: str = "Pay by card", slug: str = BUNDLE) -> str:
        """From the shelf to paid; gives the order's number."""
        self.check_out(provider, slug)
        self.press(action)
        return self.see_paid()

    def buy_site(self, slug: str) -> None:
        """From a site's public page to the paid order."""
        self.open(f"/sites/{slug}")
        self.page.get_by_label("Name", exact=False).first.fill(self.name)
        self.page.get_by_label("E-mail", exact=False).first.fill(self.email)
        self.choose_provider("sandbox")
        self.page.get_by_role("button", name=re.compile("^Purchase for")).click()
        self.page.wait_for_url(re.compile("/sandbox/"))
        self.press("Pay by card")
        self.see_paid()

    def subscribe(self, slug: str) -> None:
        """Activate the subscription on the page of one's own site, which turns by itself when it is paid."""
        self.open(f"/my/sites/{slug}")
        self.choose_provider("sandbox")
        self.page.get_by_role("button", name=re.compile("^Activate for")).click()
        self.page.wait_for_url(re.compile("/sandbox/"))
        self.press("Pay by card")
        self.page.wait_for_url(re.compile(f"/my/sites/{slug}"))
        expect(self.page.get_by_role("main")).to_contain_text("Everything is open", timeout=30_000)

    def set_up_account(self, password: str) -> None:
        """Use the mailed set-up link and choose a password."""
        self.page.goto(self.shop.link(self.email, "/set-up/"))
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Open my account").click()
        self.page.wait_for_url(lambda url: not urlsplit(url).path.startswith("/set-up/"))
