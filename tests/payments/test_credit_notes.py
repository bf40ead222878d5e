"""Credit notes: right to the cent at every rate, numbered without a gap, and shown to nobody else."""

import itertools
from collections.abc import Callable
from io import BytesIO

import pytest
from flask.testing import FlaskClient
from hypothesis import given as over
from hypothesis import strategies as st
from pypdf import PdfReader

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.money import largest_remainders
from portal.payments.credit_notes import NotThatMuchLeft, issue_credit_note, rests_of
from portal.payments.hooks import BillLine
from portal.payments.models import EventStatus, Invoice, Payment, ProviderEvent, Standing
from portal.payments.refund_models import CreditNote, Refund, RefundOrigin
from portal.payments.services.returning import book_failure, book_success, lock_refund, record_refund
from portal.payments.services.sales import day_of
from tests import invariants
from tests.payments.invoicing import POLISH_BUYER, issue, line

_numbers = itertools.count(1)


def billed(*lines: BillLine, user: User | None = None, **values: object) -> Invoice:
    """An invoice whose money came in one payment."""
    invoice = issue(*lines, user=user, **values)  # type: ignore[arg-type]  # passed on as they are
    at = clock.now()
    with unit_of_work():
        number = next(_numbers)
        event = ProviderEvent(
            provider="stripe", delivery_key=f"evt_bill_{number}", event_type="paid", source="webhook", body="{}",
            normalised=[], status=EventStatus.APPLIED, available_at=at, received_at=at,
        )  # fmt: skip
        db.session.add(event)
        db.session.flush()
        db.session.add(
            Payment(
                session_id=invoice.session_id, event_id=event.id, provider="stripe",
                provider_reference=f"pi_bill_{number}", business_key=f"bill:{number}", amount_minor=invoice.gross_minor,
                currency=invoice.currency, standing=Standing.COUNTED, received_at=at,
            )
        )  # fmt: skip
    return invoice


def give(invoice: Invoice, amount_minor: int, *line_ids: int) -> Refund:
    """A refund that succeeded."""
    with unit_of_work():
        payment = db.session.scalars(db.select(Payment).where(Payment.session_id == invoice.session_id)).one()
        refund = record_refund(
            payment, amount_minor, origin=RefundOrigin.STAFF, request_key=f"k{next(_numbers)}", by="a@example.com",
            at=clock.now(), line_ids=list(line_ids),
        )  # fmt: skip
        book_success(refund, by="a@example.com", at=clock.now())
    return refund


def take_back(refund: Refund) -> None:
    """The refund fails after all."""
    with unit_of_work():
        book_failure(lock_refund(refund.id), by="a@example.com", at=clock.now(), reason="the card is gone")


def notes() -> list[CreditNote]:
    db.session.rollback()
    db.session.expire_all()
    return list(db.session.scalars(db.select(CreditNote).order_by(CreditNote.id)))


def amounts(note: CreditNote) -> list[tuple[int, int, int, int]]:
    return [(one.tax_rate_basis_points, one.net_minor, one.tax_minor, one.gross_minor) for one in note.lines]


def papers_are_right() -> list[str]:
    """The breaches about paper; these invoices have no settled session, which others look for."""
    return [text for text in invariants.check(db.session()) if "credit" in text or "numbers of CN" in text]


@pytest.mark.usefixtures("app")
def test_a_line_goes_back_as_it_was_billed() -> None:
    invoice = billed(line(6900, quantity=2), line(3333, rate=800, description="Reduced"))
    give(invoice, 13800, invoice.lines[0].id)
    [note] = notes()
    first = invoice.lines[0]
    assert amounts(note) == [(2300, first.net_minor, first.tax_minor, 13800)]
    assert (note.lines[0].quantity, note.lines[0].description) == (2, "Biuro Autopilot")
    assert papers_are_right() == []


@pytest.mark.usefixtures("app")
def test_a_part_is_split_over_the_rates() -> None:
    invoice = billed(line(10000), line(5000, rate=800), line(5000, rate=0))
    give(invoice, 1000)
    assert [(rate, gross) for rate, _net, _tax, gross in amounts(notes()[0])] == [(2300, 500), (800, 250), (0, 250)]
    assert papers_are_right() == []


@pytest.mark.usefixtures("app")
def test_parts_add_up_to_the_invoice_to_the_cent() -> None:
    """Three times a third of an invoice that does not divide: net, tax and gross end at zero at every rate."""
    invoice = billed(line(3333, quantity=3), line(1, rate=800), line(9999, rate=500))
    rest = invoice.gross_minor
    for part in (rest // 3, rest // 3, rest - 2 * (rest // 3)):
        give(invoice, part)
        assert papers_are_right() == []
    assert all((one.net_minor, one.tax_minor) == (0, 0) for one in rests_of(invoice).values())
    assert sum(note.tax_minor for note in notes()) == invoice.tax_minor


@pytest.mark.usefixtures("app")
def test_a_line_that_no_longer_fits_becomes_a_part() -> None:
    """The money is gone, so there is paper for it, though the line was partly credited by then."""
    invoice = billed(line(6900), line(100, rate=800))
    give(invoice, 2000)
    give(invoice, 5000)
    assert sum(note.gross_minor for note in notes()) == 7000
    assert papers_are_right() == []


@pytest.mark.usefixtures("app")
def test_never_more_than_the_invoice() -> None:
    invoice = billed(line(6900))
    refund = give(invoice, 6900)
    with pytest.raises(NotThatMuchLeft), unit_of_work():
        issue_credit_note(
            db.session.get_one(Refund, refund.id), db.session.get_one(Invoice, invoice.id), at=clock.now()
        )
    assert len(notes()) == 1


@pytest.mark.usefixtures("app")
def test_numbers_have_no_gap_and_a_cancelled_note_stays() -> None:
    invoice = billed(line(6900))
    first = give(invoice, 1000)
    give(invoice, 500)
    take_back(first)
    year = day_of(clock.now())[:4]
    assert [(note.number, note.gross_minor) for note in notes()] == [
        (f"CN-{year}-00001", 1000), (f"CN-{year}-00002", 500), (f"CN-{year}-00003", -1000),
    ]  # fmt: skip
    assert papers_are_right() == []
    give(invoice, 6400)
    assert sum(note.gross_minor for note in notes()) == 6900
    assert papers_are_right() == []


@over(st.integers(0, 10**12), st.lists(st.integers(0, 10**12), min_size=1, max_size=6))
def test_largest_remainders_add_up_and_stay_below(amount: int, weights: list[int]) -> None:
    total = sum(weights)
    if total == 0:
        with pytest.raises(ValueError, match="nothing to split by"):
            largest_remainders(amount, weights)
        return
    parts = largest_remainders(min(amount, total), weights)
    assert sum(parts) == min(amount, total)
    assert all(0 <= part <= weight for part, weight in zip(parts, weights, strict=True))


# --- the page and the file ---


def text_of(answer: bytes) -> str:
    return " ".join(page.extract_text() for page in PdfReader(BytesIO(answer)).pages)


def test_its_customer_and_staff_see_it_and_nobody_else(
    login: Callable[[User], FlaskClient], client: FlaskClient, alice: User, mallory: User, staff: User
) -> None:
    give(billed(user=alice), 1000)
    number = notes()[0].number
    for path in (f"/credit-notes/{number}", f"/credit-notes/{number}.pdf"):
        assert login(alice).get(path).status_code == 200
        assert login(staff).get(path).status_code == 200
        assert login(mallory).get(path).status_code == 404
        assert client.get(path).status_code == 303
    for unknown in ("CN-2026-99999", "x", "CN-2026-1", "%00"):
        assert login(alice).get(f"/credit-notes/{unknown}").status_code == 404


def test_the_page_names_the_invoice_and_the_invoice_names_it(login: Callable[[User], FlaskClient], alice: User) -> None:
    invoice = billed(user=alice)
    give(invoice, 1000)
    number = notes()[0].number
    browser = login(alice)
    page = browser.get(f"/credit-notes/{number}").get_data(as_text=True)
    assert f"Credit note {number}" in page
    assert invoice.number in page
    assert f"Part of invoice {invoice.number}" in page
    assert number in browser.get(f"/invoices/{invoice.number}").get_data(as_text=True)
    assert number in browser.get("/account/invoices").get_data(as_text=True)


def test_the_file_speaks_the_customers_language(login: Callable[[User], FlaskClient], alice: User) -> None:
    invoice = billed(line(6900), user=alice, buyer=POLISH_BUYER, locale="pl")
    refund = give(invoice, 6900, invoice.lines[0].id)
    take_back(refund)
    note, cancellation = notes()
    browser = login(alice)
    answer = browser.get(f"/credit-notes/{note.number}.pdf")
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("application/pdf", "no-store")
    words = text_of(answer.data)
    for part in (note.number, invoice.number, "Łódzkie Zakłady Wełny", "Biuro Autopilot", "69,00"):
        assert part in words
    assert browser.get(f"/credit-notes/{note.number}.pdf").data == answer.data
    assert note.number in text_of(browser.get(f"/credit-notes/{cancellation.number}.pdf").data)


def test_the_list_of_invoices_costs_the_same_with_notes(
    login: Callable[[User], FlaskClient], alice: User, count_queries: Callable[[], int]
) -> None:
    browser = login(alice)
    give(billed(user=alice), 100)
    count_queries()
    browser.get("/account/invoices")
    with_one = count_queries()
    for _ in range(9):
        give(billed(user=alice), 100)
    count_queries()
    browser.get("/account/invoices")
    assert count_queries() == with_one
