"""Who may see which invoice, and how the pages and the file come."""

import re
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO

import pypdf
import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db
from portal.payments import invoices
from portal.payments.errors import InvoiceNotFound
from tests.payments.invoicing import POLISH_BUYER, issue, line

Login = Callable[[User], FlaskClient]
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)>{{7*7}}'
# The request's own number differs from answer to answer.
_REQUEST_ID = re.compile(r"<code>[0-9a-f]{16}</code>")
_TOKEN = re.compile(r'name="csrf_token" value="[^"]+"')


def body_of(browser: FlaskClient, path: str) -> tuple[int, str]:
    """Status and page, without what differs every time, and without the address that was asked for."""
    response = browser.get(path)
    text = _TOKEN.sub("", _REQUEST_ID.sub("", response.get_data(as_text=True)))
    return response.status_code, text.replace(path, "").replace(path.replace("/", "%2F"), "")


def test_the_list_shows_ones_own_invoices_newest_first(app: Flask, alice: User, bob: User, login: Login) -> None:
    first, second, other = issue(user=alice), issue(line(14900), user=alice), issue(user=bob)
    text = login(alice).get("/account/invoices").get_data(as_text=True)
    assert text.index(second.number) < text.index(first.number)
    assert other.number not in text
    assert "149.00" in text
    assert f'href="/invoices/{first.number}.pdf"' in text


def test_an_empty_list_says_so(app: Flask, alice: User, login: Login) -> None:
    assert "No invoices yet" in login(alice).get("/account/invoices").get_data(as_text=True)


def test_a_guests_invoice_is_on_no_list(app: Flask, alice: User, login: Login) -> None:
    invoice = issue(user=None, buyer={"name": "Guest", "email": alice.email})
    browser = login(alice)
    assert invoice.number not in browser.get("/account/invoices").get_data(as_text=True)
    assert browser.get(f"/invoices/{invoice.number}").status_code == 404


def test_the_list_is_paged_and_as_cheap_for_a_hundred_as_for_one(
    app: Flask, alice: User, login: Login, count_queries: Callable[[], int]
) -> None:
    browser = login(alice)
    issue(user=alice)
    browser.get("/account/invoices")
    count_queries()
    browser.get("/account/invoices")
    cost_of_one = count_queries()
    for _ in range(29):
        issue(user=alice)
    count_queries()
    page = browser.get("/account/invoices").get_data(as_text=True)
    assert count_queries() == cost_of_one <= 4
    assert len(set(re.findall(r"INV-\d{4}-\d{5}(?=\.pdf)", page))) == 25
    older = re.search(r'rel="next" href="([^"]+)"', page)
    assert older is not None
    rest = browser.get(older.group(1)).get_data(as_text=True)
    assert len(set(re.findall(r"INV-\d{4}-\d{5}(?=\.pdf)", rest))) == 5


@pytest.mark.parametrize(
    "query", ["before=-1", "before=x", "after=1e9", "before=" + "9" * 400, "before=1&before=2", "a=" * 50]
)
def test_odd_queries_are_harmless(app: Flask, alice: User, login: Login, query: str) -> None:
    issue(user=alice)
    assert login(alice).get(f"/account/invoices?{query}").status_code == 200


def test_htmx_gets_the_list_alone(app: Flask, alice: User, login: Login) -> None:
    issue(user=alice)
    response = login(alice).get("/account/invoices", headers={"HX-Request": "true"})
    text = response.get_data(as_text=True)
    assert text.lstrip().startswith('<div id="results"')
    assert "<html" not in text
    assert "HX-Request" in response.headers["Vary"]


def test_one_invoice_as_a_page(app: Flask, alice: User, login: Login) -> None:
    invoice = issue(
        line(6900, quantity=2), line(14900, rate=800, description="Chatbot"), user=alice, buyer=POLISH_BUYER
    )
    text = login(alice).get(f"/invoices/{invoice.number}").get_data(as_text=True)
    for expected in (
        invoice.number, "Łódzkie Zakłady Wełny Sp. z o.o.", "90-001 Łódź", "Biuro Autopilot", "Chatbot", "23%", "8%",
        "112.20", "25.80", "138.00", "137.96", "11.04", "287.00", "ORD-20260121-A3F9", "Paid in full",
    ):  # fmt: skip
        assert expected in text, expected


def test_a_page_costs_the_same_whatever_the_lines(
    app: Flask, alice: User, login: Login, count_queries: Callable[[], int]
) -> None:
    browser, costs = login(alice), []
    for count in (1, 40):
        invoice = issue(*(line() for _ in range(count)), user=alice)
        db.session.expunge_all()
        count_queries()
        assert browser.get(f"/invoices/{invoice.number}").status_code == 200
        costs.append(count_queries())
    assert costs[0] == costs[1] <= 5


def test_the_pdf_is_a_download_that_nobody_keeps(app: Flask, alice: User, login: Login) -> None:
    invoice = issue(user=alice)
    response = login(alice).get(f"/invoices/{invoice.number}.pdf")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/pdf"
    assert response.headers["Content-Disposition"] == f"attachment; filename={invoice.number}.pdf"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    text = pypdf.PdfReader(BytesIO(response.data)).pages[0].extract_text()
    assert invoice.number in text


def test_the_page_speaks_the_readers_language_and_the_file_its_own(app: Flask, alice: User, login: Login) -> None:
    invoice = issue(line(123450), user=alice, locale="pl")
    browser = login(alice)
    page = browser.get(f"/invoices/{invoice.number}", headers={"Accept-Language": "en"}).get_data(as_text=True)
    assert "PLN\u00a01,234.50" in page
    content = browser.get(f"/invoices/{invoice.number}.pdf", headers={"Accept-Language": "en"}).data
    text = pypdf.PdfReader(BytesIO(content)).pages[0].extract_text()
    assert "234,50" in text
    assert "1,234.50" not in text


PAGES = ("/invoices/{number}", "/invoices/{number}.pdf")


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_learns_nothing(app: Flask, alice: User, mallory: User, login: Login, page: str) -> None:
    number = issue(user=alice).number
    browser = login(mallory)
    theirs = body_of(browser, page.format(number=number))
    unknown = body_of(browser, page.format(number="INV-2026-99999"))
    nonsense = body_of(browser, page.format(number="nonsense"))
    assert theirs == unknown == nonsense
    assert theirs[0] == 404


@pytest.mark.parametrize("page", [*PAGES, "/account/invoices"])
def test_logged_out_one_is_asked_to_log_in(app: Flask, client: FlaskClient, alice: User, page: str) -> None:
    path = page.format(number=issue(user=alice).number)
    response = client.get(path)
    assert response.status_code == 303
    assert response.location.startswith("/login?next=")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("who", ["staff", "admin"])
def test_staff_see_every_invoice(
    app: Flask, alice: User, login: Login, request: pytest.FixtureRequest, page: str, who: str
) -> None:
    number = issue(user=alice).number
    assert login(request.getfixturevalue(who)).get(page.format(number=number)).status_code == 200


def test_staff_who_owe_their_second_factor_see_their_own_only(app: Flask, alice: User, staff: User) -> None:
    theirs, own = issue(user=alice), issue(user=staff)
    assert invoices.get_invoice(theirs.number, viewer=staff).id == theirs.id
    staff.needs_second_factor = True
    assert invoices.get_invoice(own.number, viewer=staff).id == own.id
    with pytest.raises(InvoiceNotFound):
        invoices.get_invoice(theirs.number, viewer=staff)


@pytest.mark.parametrize(
    "number", ["INV-2026-00001%00", "%00", "INV-2026-00001'", "inv-2026-00001", "INV-2026-1", "INV-2026-" + "9" * 5000,
               "..%2F..%2Fetc%2Fpasswd", "INV-2026-00001%0d%0aX: y", "ＩＮＶ-2026-00001", "INV-2026-0000١"],
)  # fmt: skip
def test_odd_numbers_are_not_found(app: Flask, alice: User, login: Login, number: str) -> None:
    browser = login(alice)
    for page in PAGES:
        assert browser.get(page.format(number=number)).status_code == 404


def test_what_people_typed_is_text(app: Flask, alice: User, login: Login) -> None:
    buyer = dict.fromkeys(("name", "company", "line1", "city", "country", "tax_id", "email"), HOSTILE)
    invoice = issue(line(description=HOSTILE), user=alice, buyer=buyer, reference=HOSTILE, subject_number=HOSTILE[:32])
    browser = login(alice)
    for path in ("/account/invoices", f"/invoices/{invoice.number}"):
        text = browser.get(path).get_data(as_text=True)
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert "&lt;script&gt;alert(1)" in text
    assert "{{7*7}}" in browser.get(f"/invoices/{invoice.number}").get_data(as_text=True)
    assert browser.get(f"/invoices/{invoice.number}.pdf").status_code == 200


@pytest.mark.parametrize("path", ["/account/invoices", "/invoices/INV-2026-00001", "/invoices/INV-2026-00001.pdf"])
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_nothing_about_an_invoice_can_be_changed(app: Flask, alice: User, login: Login, path: str, method: str) -> None:
    assert getattr(login(alice), method)(path).status_code in (400, 405)


def test_a_deleted_login_session_sees_nothing(app: Flask, alice: User, login: Login) -> None:
    number = issue(user=alice).number
    browser = login(alice)
    assert browser.get(f"/invoices/{number}").status_code == 200
    with clock.shifted(timedelta(days=40)):
        assert browser.get(f"/invoices/{number}").status_code == 303
