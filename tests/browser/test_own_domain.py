"""A domain of one's own as its owner sees it: the records to copy, what name servers see of them while they wait, and
what staff see of it. Nobody issues certificates in this shop, so it ends with an authority that does not answer."""

import secrets

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.shop import SITES_ADDRESS, Shop
from tests.browser.test_site_bought_and_changed import PASSWORD, slug  # noqa: F401  # a fixture

# The worker looks within a minute by itself, and within seconds when somebody presses the button.
SOON = 60_000


@pytest.mark.timeout(400)
def test_a_domain_is_asked_for_seen_and_proven(shop: Shop, visit: Visit, slug: str) -> None:  # noqa: F811  # the fixture
    person = visit(shop, f"otto-{slug}@example.com", permissions=["clipboard-read", "clipboard-write"])
    person.buy_site(slug)
    person.set_up_account(PASSWORD)
    person.open(f"/my/sites/{slug}")
    person.subscribe(slug)

    name = f"www.bakery-{secrets.token_hex(4)}.com"
    apex = name.removeprefix("www.")
    person.open(f"/my/sites/{slug}/domain")
    page, main = person.page, person.page.get_by_role("main")
    page.get_by_label("Your domain", exact=False).first.fill(name)
    page.get_by_role("button", name="Connect it").click()
    expect(main).to_contain_text("Records to set")
    expect(main).to_contain_text(f"Visitors who type {apex} find the site as well once its record below is set.")
    proof = page.get_by_role("row").filter(has_text="TXT")
    expect(proof).to_contain_text(f"_portal.{apex}")
    value = proof.locator("code").last.inner_text()
    assert value.startswith("portal-site=")
    proof.get_by_role("button", name="Copy the value").click()
    assert page.evaluate("navigator.clipboard.readText()") == value
    # Nothing is set, and the page says so by itself once somebody has looked.
    expect(main).to_contain_text("The domain does not lead anywhere yet", timeout=SOON)

    shop.name_server.set(name, "A", SITES_ADDRESS)
    page.get_by_role("button", name="Look now").click()
    expect(main).to_contain_text("The TXT record is not there yet", timeout=SOON)
    shop.name_server.set(f"_portal.{apex}", "TXT", f'"{value}"')
    shop.name_server.set(apex, "A", SITES_ADDRESS)
    page.get_by_role("button", name="Look now").click()
    expect(main).to_contain_text(f"{apex} is seen as well.", timeout=SOON)
    expect(main).to_contain_text("Verified")
    page.get_by_role("button", name="Look now").click()
    expect(main).to_contain_text("The certificate authority does not answer", timeout=SOON)
    expect(page.get_by_role("row").filter(has_text="TXT").first).to_contain_text("Seen")

    staff = visit(shop, as_role="admin")
    staff.open(f"/admin/domains?q={name}")
    staff.page.get_by_role("link", name=name).first.click()
    seen = staff.page.get_by_role("main")
    expect(seen).to_contain_text("The certificate authority does not answer")
    expect(seen).to_contain_text(SITES_ADDRESS)
    expect(seen).to_contain_text("The other name")
