"""Credit notes: issued in the transaction that books a refund, frozen for ever after, and found for who may see them.

A note never takes more of an invoice than is left of it at each tax rate, so that all notes together end at zero to the
cent in net, tax and gross. When a refund fails after it succeeded, a second note with negative amounts cancels the
first: numbers are never taken back.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from portal.accounts.models import User
from portal.core import settings
from portal.core.db import db
from portal.core.money import largest_remainders
from portal.core.numbering import next_number
from portal.payments.errors import CreditNoteNotFound
from portal.payments.models import Invoice
from portal.payments.refund_models import CreditNote, CreditNoteLine, Refund

SERIES = "CN"
_WIDTH = 5
_NUMBER = re.compile(r"[A-Z]{2,8}-[0-9]{4}-[0-9]{5,12}")


class NotThatMuchLeft(ValueError):
    """A note would take more than is left of its invoice: a bug in the books, and never a wrong paper."""


@dataclass
class Rest:
    """What is left of an invoice at one tax rate, in minor units."""

    net_minor: int = 0
    tax_minor: int = 0

    @property
    def gross_minor(self) -> int:
        """Tax included."""
        return self.net_minor + self.tax_minor


def issue_credit_note(refund: Refund, invoice: Invoice, *, at: datetime) -> CreditNote:
    """Credit a refund of an invoice's money, in the transaction that books it. Raises NotThatMuchLeft.

    By lines when the refund names lines and they are still whole, else one line for each tax rate. The caller holds the
    session's lock, so nobody else credits the invoice meanwhile.
    """
    rests = rests_of(invoice)
    if refund.amount_minor > sum(rest.gross_minor for rest in rests.values()):
        raise NotThatMuchLeft(f"{refund.amount_minor} of {invoice.number}")
    lines = _by_line(refund, invoice, rests) or _by_rate(refund.amount_minor, rests)
    return _keep(refund, invoice, lines, cancels=None, at=at)


def cancel_credit_note(refund: Refund, *, at: datetime) -> CreditNote | None:
    """Take a refund's credit note back by a second one with negative amounts; None when there is none to cancel."""
    notes = _notes(CreditNote.refund_id == refund.id)
    credited = next((note for note in notes if note.cancels_id is None), None)
    if credited is None or any(note.cancels_id == credited.id for note in notes):
        return None
    lines = [
        CreditNoteLine(
            position=line.position,
            invoice_line_id=line.invoice_line_id,
            description=line.description,
            quantity=line.quantity,
            unit_gross_minor=-line.unit_gross_minor,
            unit_net_minor=-line.unit_net_minor if line.unit_net_minor is not None else None,
            tax_rate_basis_points=line.tax_rate_basis_points,
            net_minor=-line.net_minor,
            tax_minor=-line.tax_minor,
            gross_minor=-line.gross_minor,
        )
        for line in credited.lines
    ]
    return _keep(refund, credited.invoice, lines, cancels=credited, at=at)


def rests_of(invoice: Invoice) -> dict[int, Rest]:
    """What is left of an invoice, by tax rate in basis points, highest rate first."""
    rests: dict[int, Rest] = defaultdict(Rest)
    for line in invoice.lines:
        rests[line.tax_rate_basis_points].net_minor += line.net_minor
        rests[line.tax_rate_basis_points].tax_minor += line.tax_minor
    for note in _notes(CreditNote.invoice_id == invoice.id):
        for credited in note.lines:
            rests[credited.tax_rate_basis_points].net_minor -= credited.net_minor
            rests[credited.tax_rate_basis_points].tax_minor -= credited.tax_minor
    return dict(sorted(rests.items(), reverse=True))


def _by_line(refund: Refund, invoice: Invoice, rests: dict[int, Rest]) -> list[CreditNoteLine]:
    """A line for each invoice line that is given back whole; nothing when they no longer fit."""
    chosen = [line for line in invoice.lines if line.id in refund.line_ids]
    if not chosen or sum(line.gross_minor for line in chosen) != refund.amount_minor:
        return []
    left = {rate: Rest(rest.net_minor, rest.tax_minor) for rate, rest in rests.items()}
    lines: list[CreditNoteLine] = []
    for position, line in enumerate(chosen, start=1):
        rest = left[line.tax_rate_basis_points]
        if line.net_minor > rest.net_minor or line.tax_minor > rest.tax_minor:
            return []
        rest.net_minor -= line.net_minor
        rest.tax_minor -= line.tax_minor
        lines.append(
            CreditNoteLine(
                position=position,
                invoice_line_id=line.id,
                description=line.description,
                quantity=line.quantity,
                unit_gross_minor=line.unit_gross_minor,
                unit_net_minor=line.unit_net_minor,
                tax_rate_basis_points=line.tax_rate_basis_points,
                net_minor=line.net_minor,
                tax_minor=line.tax_minor,
                gross_minor=line.gross_minor,
            )
        )
    return lines


def _by_rate(amount_minor: int, rests: dict[int, Rest]) -> list[CreditNoteLine]:
    """A part of what is left at each rate, in proportion; the last unit of each goes where the largest remainder is."""
    open_rests = [(rate, rest) for rate, rest in rests.items() if rest.gross_minor]
    parts = largest_remainders(amount_minor, [rest.gross_minor for _rate, rest in open_rests])
    lines: list[CreditNoteLine] = []
    for (rate, rest), gross_minor in zip(open_rests, parts, strict=True):
        if not gross_minor:
            continue
        net_minor, tax_minor = largest_remainders(gross_minor, [rest.net_minor, rest.tax_minor])
        lines.append(
            CreditNoteLine(
                position=len(lines) + 1,
                # Without a description: the paper says in its own language that it is a part.
                quantity=1,
                unit_gross_minor=gross_minor,
                tax_rate_basis_points=rate,
                net_minor=net_minor,
                tax_minor=tax_minor,
                gross_minor=gross_minor,
            )
        )
    return lines


def _keep(
    refund: Refund, invoice: Invoice, lines: list[CreditNoteLine], *, cancels: CreditNote | None, at: datetime
) -> CreditNote:
    year = at.astimezone(settings.business_zone()).year
    note = CreditNote(
        invoice=invoice,
        refund=refund,
        cancels=cancels,
        currency=invoice.currency,
        net_minor=sum(line.net_minor for line in lines),
        tax_minor=sum(line.tax_minor for line in lines),
        gross_minor=sum(line.gross_minor for line in lines),
        issued_at=at,
        lines=lines,
        # Last, because everybody else who issues one waits from here until this transaction ends.
        number=next_number(SERIES, year=year, width=_WIDTH),
    )
    db.session.add(note)
    db.session.flush()
    return note


def find_invoice(session_id: int) -> Invoice | None:
    """The invoice of a session with its lines."""
    return db.session.scalars(
        select(Invoice).where(Invoice.session_id == session_id).options(selectinload(Invoice.lines))
    ).one_or_none()


def positions_of(invoice: Invoice, line_ids: Collection[int]) -> frozenset[int]:
    """The places of some lines on the invoice, counted from 1."""
    return frozenset(line.position for line in invoice.lines if line.id in line_ids)


def notes_of_invoices(invoice_ids: Collection[int]) -> dict[int, list[CreditNote]]:
    """The credit notes of some invoices, by invoice, oldest first; one statement however many."""
    found: dict[int, list[CreditNote]] = defaultdict(list)
    if invoice_ids:
        statement = select(CreditNote).where(CreditNote.invoice_id.in_(list(invoice_ids))).order_by(CreditNote.id)
        for note in db.session.scalars(statement):
            found[note.invoice_id].append(note)
    return found


def get_credit_note(number: str, *, viewer: User) -> CreditNote:
    """A credit note with its lines, for the invoice's customer or for staff. Raises CreditNoteNotFound."""
    if not _NUMBER.fullmatch(number):
        raise CreditNoteNotFound
    statement = (
        select(CreditNote)
        .where(CreditNote.number == number)
        .options(
            selectinload(CreditNote.lines),
            joinedload(CreditNote.refund),
            joinedload(CreditNote.cancels),
            joinedload(CreditNote.invoice).joinedload(Invoice.session),
        )
    )
    # Staff who still owe their second factor are customers like others.
    if not viewer.is_staff or viewer.needs_second_factor:
        statement = statement.join(Invoice, Invoice.id == CreditNote.invoice_id).where(Invoice.user_id == viewer.id)
    note = db.session.scalars(statement).one_or_none()
    if note is None:
        raise CreditNoteNotFound
    return note


def _notes(condition: object) -> list[CreditNote]:
    statement = select(CreditNote).where(condition)  # type: ignore[arg-type]  # a column's comparison
    return list(
        db.session.scalars(
            statement.order_by(CreditNote.id)
            .options(selectinload(CreditNote.lines), joinedload(CreditNote.invoice))
            .execution_options(populate_existing=True)
        )
    )
