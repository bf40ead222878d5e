"""Issuing invoices: amounts that add up, numbers without gaps, and everything on the paper frozen."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from portal.core.db import db, unit_of_work
from portal.core.numbering import NumberSequence
from portal.payments import invoices
from portal.payments.hooks import BillLine
from portal.payments.invoice_paper import tax_summary
from portal.payments.invoices import BillDoesNotAddUp
from portal.payments.models import Invoice, InvoiceLine, PaymentSession
from tests.payments.invoicing import issue, issue_and_fail, issue_for, line, numbers, paid_session

CROWD = 20
AT = datetime(2026, 6, 1, tzinfo=UTC)
COMPLETE = [f"INV-2026-{number:05d}" for number in range(1, CROWD + 1)]


def amounts(invoice: Invoice) -> tuple[int, int, int]:
    return invoice.net_minor, invoice.tax_minor, invoice.gross_minor


def test_23_percent_of_69_00_is_12_90(app: Flask) -> None:
    assert amounts(issue(line(6900))) == (5610, 1290, 6900)


@pytest.mark.parametrize(
    ("gross", "quantity", "rate", "net", "tax"),
    [
        (14900, 1, 2300, 12114, 2786),  # 27.861...
        (49700, 1, 2300, 40407, 9293),  # 92.934...
        (59700, 1, 2300, 48537, 11163),  # 111.634...
        (39700, 1, 2300, 32276, 7424),  # 74.235... up
        (3333, 3, 1900, 8403, 1596),  # 9999: 15.9647...
        (6900, 1, 800, 6389, 511),
        (6900, 1, 0, 6900, 0),
        (1, 1, 2300, 1, 0),
        (3, 1, 2300, 2, 1),  # 0.56 of the smallest unit
        (123, 1, 2300, 100, 23),
        (49500, 1, 0, 49500, 0),
        (100_000_000_000, 9, 2300, 731_707_317_073, 168_292_682_927),
    ],
)
def test_the_tax_is_what_is_inside_the_line(
    app: Flask, gross: int, quantity: int, rate: int, net: int, tax: int
) -> None:
    assert amounts(issue(line(gross, quantity=quantity, rate=rate))) == (net, tax, gross * quantity)


def test_several_lines_add_up_exactly(app: Flask) -> None:
    # Rounding once for the sum would give 3739 of tax on 19998, not 1870 twice.
    invoice = issue(line(9999), line(9999), line(6900, rate=800), line(2000, rate=0))
    assert [one.tax_minor for one in invoice.lines] == [1870, 1870, 511, 0]
    assert amounts(invoice) == (24647, 4251, 28898)
    assert tax_summary(invoice) == [(2300, 16258, 3740, 19998), (800, 6389, 511, 6900), (0, 2000, 0, 2000)]


def test_a_discount_is_a_line_below_zero(app: Flask) -> None:
    invoice = issue(line(6900), line(-900, description="Voucher"))
    assert [one.tax_minor for one in invoice.lines] == [1290, -168]
    assert amounts(invoice) == (4878, 1122, 6000)


@pytest.mark.parametrize(("currency", "net", "tax"), [("JPY", 5610, 1290), ("KWD", 5610, 1290), ("USD", 5610, 1290)])
def test_every_currency_is_counted_in_its_smallest_unit(app: Flask, currency: str, net: int, tax: int) -> None:
    invoice = issue(line(6900), currency=currency)
    assert (invoice.currency, invoice.net_minor, invoice.tax_minor) == (currency, net, tax)


_LINES = st.lists(
    st.builds(
        BillLine,
        description=st.just("x"),
        quantity=st.integers(1, 99),
        unit_gross_minor=st.integers(1, 10**10),
        tax_rate_basis_points=st.sampled_from([0, 500, 800, 1900, 2100, 2300, 2550, 10_000]),
    ),
    min_size=1,
    max_size=40,
)


@given(_LINES)
@settings(max_examples=200)
def test_whatever_is_sold_adds_up(lines: list[BillLine]) -> None:
    made = [invoices._line(position, one) for position, one in enumerate(lines, start=1)]
    for one, sold in zip(made, lines, strict=True):
        assert one.net_minor + one.tax_minor == one.gross_minor == sold.unit_gross_minor * sold.quantity
        exact = one.gross_minor * sold.tax_rate_basis_points / (10_000 + sold.tax_rate_basis_points)
        assert abs(one.tax_minor - exact) <= 0.5 + exact * 1e-12
    invoice = Invoice(lines=made)
    sums = [sum(column) for column in zip(*[row[1:] for row in tax_summary(invoice)], strict=True)]
    assert sums[0] + sums[1] == sums[2] == sum(one.gross_minor for one in lines)


@pytest.mark.parametrize("paid", [6899, 6901, 1])
def test_a_bill_that_is_not_what_was_paid_is_no_invoice(app: Flask, paid: int) -> None:
    with unit_of_work():
        session = paid_session((line(paid),))
        for billed in ((line(6900),), ()):
            with pytest.raises(BillDoesNotAddUp):
                issue_for(session, *billed)
    assert numbers() == []
    assert issue().number.endswith("-00001")


def test_a_session_has_one_invoice(app: Flask) -> None:
    first = issue()
    with unit_of_work():
        session = db.session.get_one(PaymentSession, first.session_id)
        with pytest.raises(IntegrityError), db.session.begin_nested():
            issue_for(session, line())
    assert numbers() == [first.number]
    assert issue().number == f"INV-{first.issued_at.year}-00002"


# --- Numbers


@pytest.mark.parametrize(
    ("at", "number"),
    [
        (datetime(2026, 12, 31, 22, 59, tzinfo=UTC), "INV-2026-00001"),
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), "INV-2027-00001"),  # Midnight in Warsaw.
        (datetime(2027, 1, 1, 0, 0, tzinfo=UTC), "INV-2027-00001"),
        (datetime(2026, 7, 1, 12, 0, tzinfo=UTC), "INV-2026-00001"),
    ],
)
def test_the_year_is_the_one_where_the_business_is(app: Flask, at: datetime, number: str) -> None:
    assert issue(at=at).number == number


def test_numbers_follow_each_other_and_begin_anew_each_year(app: Flask) -> None:
    old, new = datetime(2026, 6, 1, tzinfo=UTC), datetime(2027, 6, 1, tzinfo=UTC)
    made = [issue(at=at).number for at in (old, old, new, old, new)]
    assert made == ["INV-2026-00001", "INV-2026-00002", "INV-2027-00001", "INV-2026-00003", "INV-2027-00002"]


def test_after_99999_the_number_grows(app: Flask) -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)
    issue(at=at)
    with unit_of_work():
        db.session.get_one(NumberSequence, "INV-2026").value = 99_999
    assert issue(at=at).number == "INV-2026-100000"


def test_a_rollback_gives_the_number_back(app: Flask) -> None:
    issue(at=AT)
    with pytest.raises(LookupError):
        issue_and_fail(at=AT)
    issue(at=AT)
    assert numbers() == ["INV-2026-00001", "INV-2026-00002"]


def test_a_number_drawn_outside_the_transaction_would_leave_a_gap(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control twin of the test above: this is how database sequences draw numbers."""
    drawn = iter(["INV-2026-00001", "INV-2026-00002", "INV-2026-00003"])
    monkeypatch.setattr(invoices, "next_number", lambda *_args, **_kwargs: next(drawn))
    issue(at=AT)
    with pytest.raises(LookupError):
        issue_and_fail(at=AT)
    issue(at=AT)
    assert numbers() == ["INV-2026-00001", "INV-2026-00003"]


def all_at_once(app: Flask, work: Callable[[], Any], count: int = CROWD) -> list[Exception]:
    """Do it in `count` threads at one moment; returns what went wrong."""
    barrier = threading.Barrier(count)
    troubles: list[Exception] = []

    def run() -> None:
        with app.app_context():
            barrier.wait()
            try:
                work()
            except IntegrityError as error:
                troubles.append(error)
            finally:
                db.session.remove()

    threads = [threading.Thread(target=run) for _number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return troubles


def test_twenty_at_once_have_twenty_numbers_without_a_gap(app: Flask) -> None:
    assert all_at_once(app, lambda: issue(at=AT)) == []
    assert numbers() == COMPLETE


def test_with_failures_among_them_there_is_no_gap_either(app: Flask) -> None:
    turn = iter(range(2 * CROWD))

    def half_of_them_fail() -> None:
        if next(turn) % 2:
            with pytest.raises(LookupError):
                issue_and_fail(at=AT)
        else:
            issue(at=AT)

    assert all_at_once(app, half_of_them_fail, 2 * CROWD) == []
    assert numbers() == COMPLETE


def test_without_the_lock_two_would_draw_one_number(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control twin: read the highest number, think, take the next one."""
    mine = threading.local()

    def careless() -> None:
        highest = db.session.scalar(select(func.max(Invoice.number))) or "INV-2026-00000"
        db.session.rollback()
        time.sleep(0.1)
        mine.number = f"INV-2026-{int(highest[-5:]) + 1:05d}"
        issue(at=AT)

    monkeypatch.setattr(invoices, "next_number", lambda *_args, **_kwargs: mine.number)
    assert all_at_once(app, careless) != []
    assert numbers() != COMPLETE


# --- What is frozen


def test_the_seller_is_who_we_were_on_that_day(app: Flask) -> None:
    before = issue()
    now = app.config["SETTINGS"]
    app.config["SETTINGS"] = replace(
        now, business_name="Atelier Süd", business_tax_id="PL1", business_address="Elsewhere"
    )
    try:
        after = issue()
    finally:
        app.config["SETTINGS"] = now
    assert before.seller == {
        "name": "Atelier Nord",
        "address": "ul. Prosta 20, 00-850 Warszawa, Poland",
        "tax_id": "",
        "email": "hello@atelier-nord.example",
    }
    assert (after.seller["name"], after.seller["tax_id"]) == ("Atelier Süd", "PL1")


def test_a_later_price_changes_no_invoice(app: Flask) -> None:
    buyer = {"name": "Alice Nowak"}
    invoice = issue(buyer=buyer)
    buyer["name"] = "Somebody Else"
    db.session.expire_all()
    stored = db.session.get_one(Invoice, invoice.id)
    assert stored.buyer == {"name": "Alice Nowak"}


@pytest.mark.parametrize(("wanted", "given"), [("pl", "pl"), ("es", "es"), ("en", "en"), ("de", "en"), ("", "en")])
def test_it_is_in_the_buyers_language_if_we_speak_it(app: Flask, wanted: str, given: str) -> None:
    assert issue(locale=wanted).locale == given


def test_it_carries_session_provider_and_reference(app: Flask) -> None:
    invoice = issue(reference="pi_123", subject_number="ORD-20260121-A3F9")
    assert (invoice.provider, invoice.provider_reference) == ("stripe", "pi_123")
    assert invoice.subject_number == "ORD-20260121-A3F9"
    assert invoice.session.amount_minor == invoice.gross_minor


def test_a_description_longer_than_its_column_is_cut(app: Flask) -> None:
    issue(line(description="ż" * 500))
    db.session.expire_all()
    assert db.session.scalars(select(InvoiceLine.description)).one() == "ż" * 200


def test_forty_lines_are_stored_as_quickly_as_two(app: Flask, count_queries: Callable[[], int]) -> None:
    # SQLite has no round trips to save, and SQLAlchemy inserts its lines one by one.
    expected = {"sqlite": [2 + 2, 2 + 40], "postgresql": [3, 3]}[db.engine.dialect.name]
    issue()
    costs = []
    for count in (2, 40):
        lines = tuple(line() for _ in range(count))
        with unit_of_work():
            session = paid_session(lines)
            count_queries()
            issue_for(session, *lines)
            costs.append(count_queries())
    assert costs == expected


# --- prices without tax ---


@pytest.mark.parametrize(
    ("net", "quantity", "rate", "tax"),
    [
        (5610, 1, 2300, 1290),
        (3333, 3, 1900, 1900),  # 9999: 1899.81
        (3333, 3, 2300, 2300),  # 2299.77, where three single prices would give 2301
        (1, 1, 2300, 0),
        (2, 1, 2500, 1),  # half a unit, up
        (49500, 1, 0, 0),
    ],
)
def test_tax_is_added_to_a_price_without_it_once_a_line(
    app: Flask, net: int, quantity: int, rate: int, tax: int
) -> None:
    invoice = issue(BillLine.net("Cut part", quantity, net, rate))
    assert amounts(invoice) == (net * quantity, tax, net * quantity + tax)
    assert [one.unit_price_minor for one in invoice.lines] == [net]


def test_both_kinds_of_price_stand_on_one_invoice(app: Flask) -> None:
    invoice = issue(BillLine.net("Cut part", 3, 3333, 2300), line(6900), line(2000, rate=0))
    assert [(one.unit_net_minor, one.unit_price_minor) for one in invoice.lines] == [
        (3333, 3333), (None, 6900), (None, 2000),
    ]  # fmt: skip
    assert amounts(invoice) == (9999 + 5610 + 2000, 2300 + 1290, 12299 + 6900 + 2000)
    assert tax_summary(invoice) == [(2300, 15609, 3590, 19199), (0, 2000, 0, 2000)]


@given(st.integers(0, 10**10), st.integers(1, 99), st.sampled_from([0, 500, 800, 1900, 2100, 2300, 2550, 10_000]))
@settings(max_examples=200)
def test_whatever_is_sold_without_tax_adds_up(net: int, quantity: int, rate: int) -> None:
    sold = BillLine.net("x", quantity, net, rate)
    made = invoices._line(1, sold)
    assert made.net_minor == net * quantity
    assert made.net_minor + made.tax_minor == made.gross_minor == sold.gross_minor
    assert abs(made.tax_minor - made.net_minor * rate / 10_000) <= 0.5 + made.net_minor * 1e-12
