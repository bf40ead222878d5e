"""CSV exports: whole, in step with the list's filter, harmless in a spreadsheet, and read back as written."""

import csv
import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.admin import exporting
from portal.orders.models import OrderStatus, PaymentStatus
from portal.payments.models import SessionStatus
from tests.admin import support
from tests.admin.reading import audited

DANGEROUS = [
    "=HYPERLINK(\"http://evil\";\"x\")", "+48 600 100 200", "-2+3", "@SUM(1)", "\tTAB", "\rCR", "\nLF", "'=1", "''",
    "'", "＝1", "Zażółć, gęślą \"jaźń\"", "a;b", "multi\nline", "",
]  # fmt: skip


def _read(browser: FlaskClient, address: str) -> list[dict[str, str]]:
    answer = browser.get(address)
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert "attachment" in answer.headers["Content-Disposition"]
    text = answer.get_data().decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_cell_is_text_for_a_spreadsheet_and_comes_back_as_it_was(text: str) -> None:
    lines = "".join(exporting.csv_lines(["cell"], [[text]])).lstrip("\ufeff")
    [_header, row] = list(csv.reader(io.StringIO(lines, newline="")))
    cell = row[0] if row else ""
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    assert exporting.plain_cell(cell) == text


def test_orders_are_exported_as_they_are(office: FlaskClient, alice: User, staff: User) -> None:
    order = support.make_paid_order(alice, total_minor=123456)
    support.make_order(name="=cmd|' /C calc'!A0", email="evil@example.com")
    rows = _read(office, "/admin/orders.csv")
    assert [row["email"] for row in rows] == ["evil@example.com", alice.email]
    assert rows[0]["name"] == "'=cmd|' /C calc'!A0"
    assert rows[1]["number"] == order.number
    assert (rows[1]["total"], rows[1]["currency"], rows[1]["payment_status"]) == ("1234.56", "PLN", "paid")
    assert rows[1]["placed_at"].endswith("+00:00")
    [line] = audited("orders.exported")
    assert line.actor == staff.email


def test_the_export_takes_the_filter_of_the_list(office: FlaskClient, alice: User) -> None:
    support.make_order(alice)
    paid = support.make_order(alice, status=OrderStatus.FULFILLED, payment_status=PaymentStatus.PAID)
    assert [row["number"] for row in _read(office, "/admin/orders.csv?payment=paid")] == [paid.number]
    assert _read(office, "/admin/orders.csv?q=nobody@example.com") == []
    link = office.get("/admin/orders?payment=paid").get_data(as_text=True)
    assert 'href="/admin/orders.csv?payment=paid"' in link


def test_payments_are_exported_as_they_are(office: FlaskClient) -> None:
    session = support.make_session(status=SessionStatus.PAID, description="-danger", customer_email="a@example.com")
    [row] = _read(office, "/admin/payments.csv")
    assert row["id"] == session.public_id
    assert (row["description"], row["amount"], row["status"], row["mode"]) == ("'-danger", "69.00", "paid", "test")
    assert row["provider_reference"] == session.provider_reference
    assert len(audited("payments.exported")) == 1


def test_a_long_export_is_whole_and_read_in_batches(
    office: FlaskClient, alice: User, count_queries: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "BATCH", 10)
    numbers = [support.make_order(alice).number for _ in range(25)]
    count_queries()
    rows = _read(office, "/admin/orders.csv")
    assert [row["number"] for row in rows] == numbers[::-1]
    # Who asks, the audit line, and three batches.
    assert count_queries() <= 6


def test_an_export_is_sent_while_it_is_made(office: FlaskClient, alice: User) -> None:
    for _ in range(3):
        support.make_order(alice)
    answer = office.get("/admin/orders.csv", buffered=False)
    assert answer.is_streamed
    assert answer.content_length is None
    answer.close()
