"""A guest buys the bundle, and has it: mails, invoice, account, packages. On both databases."""

from io import BytesIO
from pathlib import Path

import pytest
from playwright.sync_api import expect
from pypdf import PdfReader

from tests.browser.conftest import Visit
from tests.browser.people import Person
from tests.browser.shop import BUNDLE, CHILDREN, Shop

PASSWORD = "a quiet harbour at 6"


@pytest.fixture(params=["postgresql", "sqlite"])
def any_shop(request: pytest.FixtureRequest) -> Shop:
    found: Shop = request.getfixturevalue("shop" if request.param == "postgresql" else "sqlite_shop")
    return found


def pdf_text(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(content)).pages)


def sees_the_bundle(person: Person) -> None:
    """Exactly the bundle's children, and not the bundle."""
    person.open("/my/packages")
    titles = person.page.get_by_role("main").get_by_role("heading", level=2)
    expect(titles.first).to_be_visible()
    assert sorted(titles.all_inner_texts()) == sorted(CHILDREN)


def test_a_guest_buys_the_bundle_and_owns_its_children(any_shop: Shop, visit: Visit, tmp_path: Path) -> None:
    person = visit(any_shop, "gabriela@example.com")
    person.check_out()
    person.press("Pay by card")
    # The page is open before the payment is counted; nobody reloads it.
    number = person.see_paid()

    receipt = any_shop.mail(person.email, number)
    assert BUNDLE not in str(receipt)
    (attached,) = receipt.iter_attachments()
    assert attached.get_content_type() == "application/pdf"
    paper = pdf_text(attached.get_content())
    assert "Starter dla biura" in paper
    assert "497" in paper
    assert person.name in paper
    invoice = str(attached.get_filename()).removesuffix(".pdf")
    assert invoice in paper

    person.set_up_account(PASSWORD)
    sees_the_bundle(person)
    person.open("/orders")
    expect(person.page.get_by_role("link", name=number)).to_be_visible()
    person.open("/account/invoices")
    expect(person.page.get_by_role("main")).to_contain_text(invoice)
    with person.page.expect_download() as download:
        person.page.locator(f"main a[href$='{invoice}.pdf']").first.click()
    download.value.save_as(tmp_path / "invoice.pdf")
    assert pdf_text((tmp_path / "invoice.pdf").read_bytes()) == paper


def test_the_password_from_the_set_up_link_logs_in_later(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "later@example.com")
    person.buy()
    person.set_up_account(PASSWORD)
    again = visit(shop, "later@example.com")
    again.log_in("later@example.com", PASSWORD)
    sees_the_bundle(again)


def test_a_set_up_link_works_once(shop: Shop, visit: Visit) -> None:
    person = visit(shop, "once@example.com")
    person.buy()
    person.set_up_account(PASSWORD)
    stranger = visit(shop, expects_errors=True)
    stranger.page.goto(shop.link("once@example.com", "/set-up/"))
    expect(stranger.page.get_by_label("Password", exact=True)).to_have_count(0)
