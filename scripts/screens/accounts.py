"""Accounts: made, opened, forgotten, and secured by a second step."""

import pyotp

from scripts.screens.buying import PASSWORD
from scripts.screens.tour import Tour
from tests.browser.people import Person

_ADDRESS = "newcomer@example.com"


def show(tour: Tour) -> None:
    """Somebody registers, has nothing yet, forgets the password, and switches two-step login on."""
    _show_newcomer(tour)
    _buy_too_early(tour)
    _show_forgetful(tour)
    _show_careful(tour)


def _show_newcomer(tour: Tour) -> None:
    with tour.visit("newcomer") as person:
        page = person.page
        person.open("/register")
        page.locator("input[name=email]").fill(_ADDRESS)
        page.locator("input[name=name]").fill("Nina Nowa")
        page.locator("input[name=password]").fill("x")
        page.locator("main form [type=submit]").first.click()
        page.locator(".has-error").first.wait_for()
        tour.picture(page, "register-errors")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main form [type=submit]").first.click()
        page.wait_for_url("**/verify**")
        tour.picture(page, "accounts-verify-pending")
        page.goto(tour.shop.link(_ADDRESS, "/verify/"))
        tour.picture(page, "accounts-verify")
        page.locator("input[name=password]").fill(PASSWORD)
        page.get_by_role("button", name="Confirm and log in").click()
        page.wait_for_url(lambda url: "/verify/" not in url)
        for path in ("/dashboard", "/my/packages", "/orders", "/quotes", "/account/invoices", "/account/addresses"):
            tour.show(person, path, f"empty-{path.rsplit('/', 1)[1]}")


def _buy_too_early(tour: Tour) -> None:
    """Somebody buys before the address is proved: the purchase waits, and is unlocked by the proof."""
    with tour.visit("early buyer", email="early@example.com") as person:
        page = person.page
        person.open("/register")
        page.locator("input[name=email]").fill(person.email)
        page.locator("input[name=name]").fill("Ewa Wczesna")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main form [type=submit]").first.click()
        page.wait_for_url("**/verify**")
        person.check_out()
        person.press("Pay by card")
        page.get_by_role("heading", name="Paid. One step is left").wait_for()
        tour.picture(page, "returned-locked")
        person.set_up_account(PASSWORD)
        tour.shop.mail(person.email, "/my/packages")


def _show_forgetful(tour: Tour) -> None:
    with tour.visit("forgetful") as person:
        page = person.page
        person.open("/register")
        page.locator("input[name=email]").fill(_ADDRESS)
        page.locator("input[name=name]").fill("Nina Nowa")
        page.locator("input[name=password]").fill(PASSWORD)
        page.locator("main form [type=submit]").first.click()
        tour.shop.mail(_ADDRESS, "/password/forgot")
        tour.show(person, "/password/forgot")
        page.locator("input[name=email]").fill(_ADDRESS)
        page.locator("main form [type=submit]").first.click()
        page.goto(tour.shop.link(_ADDRESS, "/password/reset/"))
        tour.picture(page, "accounts-reset-password")
        page.locator("input[name=password]").fill(PASSWORD + "7")
        page.locator("main form [type=submit]").first.click()
        page.wait_for_url(lambda url: "/password/" not in url)
    with tour.visit("mistaken") as person:
        page = person.page
        tour.show(person, "/password/reset/not-a-token", "dead-link")
        person.open("/login")
        page.locator("input[name=email]").fill(_ADDRESS)
        page.locator("input[name=password]").fill("wrong")
        page.get_by_role("main").get_by_role("button", name="Log in").click()
        page.get_by_role("alert").first.wait_for()
        tour.picture(page, "log-in-refused")


def _show_careful(tour: Tour) -> None:
    with tour.visit("careful") as person:
        page = person.page
        person.log_in(_ADDRESS, PASSWORD + "7")
        # As if the password had been given long ago.
        tour.show(person, "/confirm-password?next=/account/security/totp")
        person.open("/account/security/totp")
        tour.picture(page, "accounts-set-up-totp")
        key = page.locator("main .copyable code").first.inner_text().replace(" ", "")
        page.locator("input[name=code]").fill(pyotp.TOTP(key).now())
        page.get_by_role("main").get_by_role("button", name="Switch on").click()
        page.locator(".recovery-codes li").first.wait_for()
        tour.picture(page, "accounts-recovery-codes")
        code = page.locator(".recovery-codes li").first.inner_text()
        tour.show(person, "/account/security")
    with tour.visit("careful, without the phone") as person:
        _give_password(person)
        tour.picture(person.page, "accounts-second-step")
        person.page.locator("input[name=code]").fill(code)
        person.page.get_by_role("main").get_by_role("button", name="Log in").click()
        person.page.wait_for_url("**/dashboard")


def _give_password(person: Person) -> None:
    person.open("/login")
    person.page.get_by_label("E-mail", exact=False).first.fill(_ADDRESS)
    person.page.get_by_label("Password", exact=True).fill(PASSWORD + "7")
    person.page.get_by_role("main").get_by_role("button", name="Log in").click()
    person.page.wait_for_url("**/login/code**")
