"""Invoices: issued in the transaction that settles a payment, frozen for ever after, and found for who may see them."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, select, update
from sqlalchemy.orm import joinedload, selectinload

from portal.accounts.models import User
from portal.core import settings
from portal.core.db import db
from portal.core.languages import LANGUAGES
from portal.core.numbering import next_number
from portal.payments.errors import InvoiceNotFound
from portal.payments.hooks import BillLine, BillOfSale
from portal.payments.invoice_paper import pdf
from portal.payments.models import Invoice, InvoiceLine, PaymentSession

if TYPE_CHECKING:
    from portal.config import Settings

__all__ = ["BillDoesNotAddUp", "get_invoice", "hand_to_user", "invoices_of", "issue_invoice", "pdf"]

SERIES = "INV"
# A test on an installation that sells for real must not take a number out of the tax office's sequence.
TEST_SERIES = "TEST"
_WIDTH = 5
_NUMBER = re.compile(r"[A-Z]{2,8}-[0-9]{4}-[0-9]{5,12}")
_LONGEST_DESCRIPTION = 200


class BillDoesNotAddUp(ValueError):
    """The lines of a bill are not what was paid: a bug in the seller's code, and never a wrong invoice."""


def issue_invoice(
    session: PaymentSession, *, bill: BillOfSale, provider: str, provider_reference: str | None, at: datetime
) -> Invoice:
    """Issue the invoice of a paid session, in the settling transaction: a rollback gives its number back.

    Raises BillDoesNotAddUp. A session has one invoice; a second one is refused by the database.
    """
    lines = [_line(position, line) for position, line in enumerate(bill.lines, start=1)]
    gross_minor = sum(line.gross_minor for line in lines)
    if gross_minor != session.amount_minor:
        raise BillDoesNotAddUp(f"{gross_minor} {session.currency} billed, {session.amount_minor} paid")
    conditions = settings.current()
    invoice = Invoice(
        session_id=session.id,
        user_id=bill.user_id,
        subject_number=bill.subject_number,
        seller=dict(bill.seller) if bill.seller is not None else _seller(conditions),
        buyer=dict(bill.buyer),
        locale=session.locale if session.locale in LANGUAGES else conditions.default_language,
        currency=session.currency,
        net_minor=sum(line.net_minor for line in lines),
        tax_minor=sum(line.tax_minor for line in lines),
        gross_minor=gross_minor,
        provider=provider,
        provider_reference=provider_reference,
        issued_at=at,
        paid_at=session.paid_at or at,
        lines=lines,
        # Last, because everybody else who issues one waits from here until this transaction ends.
        number=next_number(
            _series(session, conditions), year=at.astimezone(ZoneInfo(conditions.business_timezone)).year, width=_WIDTH
        ),
    )
    db.session.add(invoice)
    db.session.flush()
    return invoice


def _line(position: int, line: BillLine) -> InvoiceLine:
    """The tax inside the line's total, or on top of it, rounded once a line; the rest is the net."""
    return InvoiceLine(
        position=position,
        description=line.description[:_LONGEST_DESCRIPTION],
        quantity=line.quantity,
        unit_gross_minor=line.unit_gross_minor,
        unit_net_minor=line.unit_net_minor,
        tax_rate_basis_points=line.tax_rate_basis_points,
        net_minor=line.gross_minor - line.tax_minor,
        tax_minor=line.tax_minor,
        gross_minor=line.gross_minor,
    )


def _series(session: PaymentSession, conditions: "Settings") -> str:
    return TEST_SERIES if session.mode == "test" and conditions.payment_mode == "live" else SERIES


def _seller(conditions: "Settings") -> dict[str, Any]:
    """Who we are on the day of the sale; a later move or a new name changes no issued invoice."""
    return {
        "name": conditions.business_name,
        "address": conditions.business_address,
        "tax_id": conditions.business_tax_id,
        "email": conditions.business_email,
    }


def hand_to_user(session_ids: Sequence[int], user_id: int) -> None:
    """Show the invoices of these sessions in an account: a guest's purchase has found its owner."""
    db.session.execute(
        update(Invoice).where(Invoice.session_id.in_(session_ids), Invoice.user_id.is_(None)).values(user_id=user_id)
    )


def invoices_of(user: User) -> Select[Invoice]:
    """A customer's own invoices, for a paged list."""
    return select(Invoice).where(Invoice.user_id == user.id)


def get_invoice(number: str, *, viewer: User) -> Invoice:
    """An invoice with its lines, for its customer or for staff. Raises InvoiceNotFound, also for a stranger's."""
    if not _NUMBER.fullmatch(number):
        raise InvoiceNotFound
    statement = (
        select(Invoice)
        .where(Invoice.number == number)
        .options(selectinload(Invoice.lines), joinedload(Invoice.session))
    )
    # Staff who still owe their second factor are customers like others.
    if not viewer.is_staff or viewer.needs_second_factor:
        statement = statement.where(Invoice.user_id == viewer.id)
    invoice = db.session.scalars(statement).one_or_none()
    if invoice is None:
        raise InvoiceNotFound
    return invoice
