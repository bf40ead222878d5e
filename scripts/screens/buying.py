"""The shop: from the shelf to the provider and back, as a guest, a new owner and a customer."""

from scripts.screens.tour import Tour

PASSWORD = "a lighthouse at noon 7"  # noqa: S105  # of demo people in a shop that lives for a minute


def show(tour: Tour) -> None:
    """A guest buys and opens the account that follows; a customer buys, cancels, and pays twice."""
    _show_guest(tour)
    _show_new_owner(tour)
    _show_customer(tour)


def _show_guest(tour: Tour) -> None:
    with tour.visit("guest") as person:
        page = person.page
        tour.show(person, "/cart", "empty-cart")
        tour.show(person, "/packages?q=perpetuum", "empty-shelf")
        person.open("/packages/starter-biuro")
        page.locator("form.buy-form [type=submit]").click()
        page.locator("#cart .line-item").first.wait_for()
        tour.picture(page, "cart-drawer", full_page=False)
        tour.walk(
            page, "guest", "/", "/cart", "/checkout", "/packages", "/register", "/password/sent", "/verify/resend"
        )
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
        tour.picture(page, "sandbox-show")
        person.press("Decline")
        page.get_by_text("The card was declined").wait_for()
        page.locator("summary", has_text="Try what can go wrong").click()
        tour.picture(page, "sandbox-declined")
        page.get_by_role("button", name="Cancel and go back to the shop").click()
        page.wait_for_url("**/cancelled**")
        tour.picture(page, "orders-cancelled")
        person.pay_again("sandbox")
        hosted = page.url
        person.press("Pay late")
        page.wait_for_url("**/return**")
        tour.picture(page, "returned-waiting")
        person.see_paid(60)
        page.wait_for_timeout(1000)
        tour.picture(page, "returned-paid")
        page.goto(hosted)
        tour.picture(page, "sandbox-paid")


def _show_new_owner(tour: Tour) -> None:
    with tour.visit("new owner") as person:
        page = person.page
        page.goto(tour.shop.link(person.email, "/set-up/"))
        tour.picture(page, "accounts-set-up")
        person.set_up_account(PASSWORD)
        tour.show(person, "/my/packages", "new-owner-packages")


def _show_customer(tour: Tour) -> None:
    with tour.visit("customer", as_role="customer") as person:
        page = person.page
        person.buy(slug="biuro-autopilot")
        person.buy(action="Pay twice", slug="chatbot-rag")
        person.buy("stripe", "Pay with BLIK", slug="social-media")
        # On a chain a part of it comes, and never the rest.
        person.check_out("web3", slug="content-creator")
        tour.picture(page, "web3-show")
        address = page.locator("#chain-address figcaption code").inner_text()
        tour.street.token.transfer(address, 100 * 10**tour.street.token.decimals)
        tour.street.chain.mine(5)
        tour.wait_for(person, page.url.removeprefix(tour.shop.url), "Part of it has come")
        tour.picture(page, "web3-part")
        person.check_out(slug="sales-automation")
        page.get_by_role("button", name="Cancel and go back to the shop").click()
        page.wait_for_url("**/cancelled**")
        tour.show(person, "/orders", "orders-index")
        page.locator("main tbody a").last.click()
        page.wait_for_url("**/orders/ORD-**")
        tour.picture(page, "orders-detail")
        person.open("/orders")
        page.locator("main tbody a").first.click()
        page.wait_for_url("**/orders/ORD-**")
        tour.picture(page, "order-unpaid")
