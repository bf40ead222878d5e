"""Making invoices for tests, through the front door."""

from datetime import datetime
from typing import Any

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.money import Money
from portal.payments.hooks import BillLine, BillOfSale
from portal.payments.invoices import issue_invoice
from portal.payments.models import Invoice, PaymentSession
from portal.payments.services.sessions import create_session

POLISH_BUYER = {
    "name": "Kunegunda Brzęczyszczykiewicz",
    "company": "Łódzkie Zakłady Wełny Sp. z o.o.",
    "tax_id": "PL7250000011",
    "line1": "ul. Gęsia 8/12",
    "postal_code": "90-001",
    "city": "Łódź",
    "country": "PL",
    "email": "kunegunda@example.com",
}


def line(
    gross_minor: int = 6900, *, quantity: int = 1, rate: int = 2300, description: str = "Biuro Autopilot"
) -> BillLine:
    """A line of a bill; `gross_minor` is the price of one."""
    return BillLine(description, quantity, gross_minor, rate)


def paid_session(
    lines: tuple[BillLine, ...], *, currency: str = "PLN", locale: str = "en", at: datetime | None = None
) -> PaymentSession:
    """A session for exactly what the lines cost, in the caller's transaction."""
    return create_session(
        purpose="test",
        subject_id=1,
        amount=Money(sum(one.gross_minor for one in lines), currency),
        description="A test purchase",
        success_url="http://localhost/ok",
        cancel_url="http://localhost/cancel",
        customer_email="alice@example.com",
        customer_name="Alice Nowak",
        locale=locale,
        at=at or clock.now(),
    )


def issue(
    *lines: BillLine,
    user: User | None = None,
    buyer: dict[str, Any] | None = None,
    currency: str = "PLN",
    locale: str = "en",
    at: datetime | None = None,
    subject_number: str | None = "ORD-20260121-A3F9",
    reference: str | None = "pi_1",
    mode: str = "live",
) -> Invoice:
    """Issue an invoice in a transaction of its own."""
    lines = lines or (line(),)
    at = at or clock.now()
    with unit_of_work():
        session = paid_session(lines, currency=currency, locale=locale, at=at)
        session.mode = mode
        bill = BillOfSale(subject_number, user.id if user else None, buyer or {"name": "Alice Nowak"}, lines)
        return issue_invoice(session, bill=bill, provider="stripe", provider_reference=reference, at=at)


def issue_for(session: PaymentSession, *lines: BillLine, at: datetime | None = None) -> Invoice:
    """Issue an invoice in the caller's transaction."""
    bill = BillOfSale(None, None, {"name": "Alice Nowak"}, lines)
    return issue_invoice(session, bill=bill, provider="stripe", provider_reference=None, at=at or clock.now())


def issue_and_fail(at: datetime | None = None) -> None:
    """Issue an invoice in a transaction that comes to nothing. Raises LookupError."""
    with unit_of_work():
        issue_for(paid_session((line(),), at=at), line(), at=at)
        raise LookupError


def numbers() -> list[str]:
    """The numbers of all invoices, in order."""
    db.session.rollback()
    return sorted(db.session.scalars(db.select(Invoice.number)))
