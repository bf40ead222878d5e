"""What must hold of money that went back, after anything that may happen; see `tests/invariants.py`."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from portal.core.mail import MailMessage
from portal.orders.models import Order, PaymentStatus
from portal.payments.models import Invoice, Payment, PaymentSession, Standing
from portal.payments.refund_models import (
    CreditNote,
    Dispute,
    DisputeStatus,
    Refund,
    RefundFlag,
    RefundOrigin,
    RefundStatus,
)
from portal.payments.sales_models import SalesDay

PURPOSE = "order"
Found = Iterator[str]


def _all(session: Session, model: type[Any], *options: Any) -> list[Any]:
    return list(session.scalars(select(model).order_by(model.id).options(*options)))


def _counts(refund: Refund) -> bool:
    """Whether it is of money that counted for its session."""
    return refund.payment is not None and refund.payment.standing is Standing.COUNTED


def refunds_fit_their_payments(session: Session) -> Found:
    """Of no payment more goes back than came, and what is set aside is what its refunds say."""
    sums: Counter[int] = Counter()
    for refund in _all(session, Refund, selectinload(Refund.payment)):
        if refund.status is not RefundStatus.FAILED:
            sums[refund.payment_id] += refund.amount_minor
        of = refund.payment
        if of is None or (refund.currency, refund.session_id) != (of.currency, of.session_id):
            yield f"refund {refund.id} is not of its payment {refund.payment_id}"
    for payment in _all(session, Payment):
        if sums[payment.id] > payment.amount_minor:
            yield f"payment {payment.id} is of {payment.amount_minor}, its refunds are {sums[payment.id]}"
        if sums[payment.id] != payment.returned_minor:
            yield f"payment {payment.id} has {payment.returned_minor} set aside, its refunds are {sums[payment.id]}"


def credit_notes_are_right(session: Session) -> Found:
    """Paper for each refund of invoiced money that stands, cancelled for each that does not, and never above the
    invoice at any tax rate."""
    invoices = {one.session_id: one for one in _all(session, Invoice, selectinload(Invoice.lines))}
    notes = _all(session, CreditNote, selectinload(CreditNote.lines))
    of_refund: dict[int, list[CreditNote]] = defaultdict(list)
    for note in notes:
        of_refund[note.refund_id].append(note)
        if note.net_minor + note.tax_minor != note.gross_minor:
            yield f"credit note {note.number} does not add up"
        for name in ("net_minor", "tax_minor", "gross_minor"):
            if sum(getattr(line, name) for line in note.lines) != getattr(note, name):
                yield f"credit note {note.number}: the {name} of its lines is another one"
    for refund in _all(session, Refund, selectinload(Refund.payment)):
        mine = of_refund.pop(refund.id, [])
        invoice = invoices.get(refund.session_id)
        is_due = invoice is not None and _counts(refund)
        wanted = refund.amount_minor if is_due and refund.status is RefundStatus.SUCCEEDED else 0
        if sum(note.gross_minor for note in mine) != wanted:
            yield f"refund {refund.id} is {refund.status} of {refund.amount_minor} and credited otherwise"
        if len(mine) != (1 if wanted else 2 if mine else 0):
            yield f"refund {refund.id} is {refund.status} and has {len(mine)} credit notes"
        if any(invoice is None or note.invoice_id != invoice.id for note in mine):
            yield f"refund {refund.id} is credited on another invoice"
    for invoice in invoices.values():
        yield from _above_the_invoice(invoice, [note for note in notes if note.invoice_id == invoice.id])


def _above_the_invoice(invoice: Invoice, notes: list[CreditNote]) -> Found:
    for name in ("net_minor", "tax_minor", "gross_minor"):
        billed: Counter[int] = Counter()
        credited: Counter[int] = Counter()
        for line in invoice.lines:
            billed[line.tax_rate_basis_points] += getattr(line, name)
        for note in notes:
            for credit in note.lines:
                credited[credit.tax_rate_basis_points] += getattr(credit, name)
        for rate, amount in credited.items():
            if not 0 <= amount <= billed[rate]:
                yield f"invoice {invoice.number} has {billed[rate]} {name} at {rate}, credited are {amount}"


def orders_know_what_went_back(session: Session) -> Found:
    """An order's refunded amount is the sum of its refunds; it is refunded when nothing is left, and only then."""
    subjects = {one.id: one.subject_id for one in _all(session, PaymentSession) if one.purpose == PURPOSE}
    sums: Counter[int] = Counter()
    for refund in _all(session, Refund, selectinload(Refund.payment)):
        counts = _counts(refund) and refund.session_id in subjects
        if counts and refund.status is RefundStatus.SUCCEEDED:
            sums[subjects[refund.session_id]] += refund.amount_minor
    for order in _all(session, Order):
        if sums[order.id] != order.refunded_minor:
            yield f"order {order.number} has {order.refunded_minor} refunded, its refunds are {sums[order.id]}"
        is_all_back = bool(order.paid_minor) and order.refunded_minor == order.paid_minor
        if is_all_back is not (order.payment_status is PaymentStatus.REFUNDED):
            back = f"{order.refunded_minor} of {order.paid_minor}"
            yield f"order {order.number} is {order.payment_status} and {back} went back"


def refunds_are_told_once(session: Session) -> Found:
    """One mail to the buyer for each refund that succeeded, even if it failed later; none for what a bank took."""
    mails = Counter(mail.params["refund_id"] for mail in _all(session, MailMessage) if mail.template == "refund_given")
    for refund in _all(session, Refund, selectinload(Refund.session)):
        is_due = refund.succeeded_at is not None and refund.origin is not RefundOrigin.DISPUTE
        wanted = int(is_due and refund.session is not None and bool(refund.session.customer_email))
        if mails[refund.id] != wanted:
            yield f"refund {refund.id} is {refund.status} and the buyer was told {mails[refund.id]} times"


def lost_disputes_are_booked_out(session: Session) -> Found:
    """What a bank took is a refund of exactly that amount, unless more was lost than was left: then staff know."""
    refunds = {refund.id: refund for refund in _all(session, Refund)}
    for dispute in _all(session, Dispute):
        if (dispute.closed_at is None) is not dispute.is_open:
            yield f"dispute {dispute.id} is {dispute.status} and was closed at {dispute.closed_at}"
        booked = refunds.get(dispute.refund_id)
        if booked is not None and (dispute.status, booked.amount_minor) != (DisputeStatus.LOST, dispute.amount_minor):
            yield f"dispute {dispute.id} is {dispute.status} and booked out with {booked.amount_minor}"


def no_refund_waits(session: Session) -> Found:
    """After quiet a refund is over, on its way at the provider, or in the hands of a person."""
    for refund in _all(session, Refund):
        is_waiting = refund.status in (RefundStatus.REQUESTED, RefundStatus.ASKING)
        if is_waiting and refund.flag not in (RefundFlag.BY_HAND, RefundFlag.UNANSWERED):
            yield f"refund {refund.id} is still {refund.status}"


def sales_add_up(session: Session) -> Found:
    """The sums of all days are what counted money and its returns add up to."""
    wanted: Counter[tuple[str, str, bool]] = Counter()
    kept: Counter[tuple[str, str, bool]] = Counter()
    modes = {one.id: one.mode for one in _all(session, PaymentSession)}
    for payment in _all(session, Payment):
        if payment.standing is Standing.COUNTED:
            wanted[payment.currency, modes[payment.session_id], False] += payment.amount_minor
    for refund in _all(session, Refund, selectinload(Refund.payment)):
        if refund.status is RefundStatus.SUCCEEDED and _counts(refund):
            wanted[refund.currency, modes[refund.session_id], True] += refund.amount_minor
    for day in _all(session, SalesDay):
        kept[day.currency, day.mode, day.is_return] += day.amount_minor
    for key in sorted({*wanted, *kept}):
        if wanted[key] != kept[key]:
            yield f"sales of {key} are {wanted[key]}, their days say {kept[key]}"


RULES = (
    sales_add_up,
    refunds_fit_their_payments,
    credit_notes_are_right,
    orders_know_what_went_back,
    refunds_are_told_once,
    lost_disputes_are_booked_out,
)
