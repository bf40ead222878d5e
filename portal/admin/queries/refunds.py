"""Reads for the rooms of refunds and disputes."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import joinedload, selectinload

from portal.admin.queries.matching import is_id, is_named
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.core.state import StatusChange, history
from portal.orders.models import Order
from portal.orders.queries import order_paid_by
from portal.payments.errors import DisputeNotFound, RefundNotFound
from portal.payments.models import Invoice, Payment, PaymentSession
from portal.payments.refund_models import (
    OPEN_DISPUTES,
    Dispute,
    DisputeStatus,
    Refund,
    RefundOrigin,
    RefundStatus,
)
from portal.payments.services.refunding import lines_going_back


@dataclass(frozen=True, slots=True)
class RefundFilter:
    """What staff want to see of the refunds; `is_flagged` leaves those that a person should look at."""

    text: str = ""
    status: RefundStatus | None = None
    origin: RefundOrigin | None = None
    provider: str | None = None
    is_flagged: bool = False


def refunds_page(wanted: RefundFilter, *, before: str | None, after: str | None) -> Page[Refund]:
    """A page of refunds with what they are for, newest first; found by a payment's id or the provider's reference."""
    statement: Select[Refund] = db.select(Refund).options(joinedload(Refund.session))
    if wanted.status is not None:
        statement = statement.where(Refund.status == wanted.status)
    if wanted.origin is not None:
        statement = statement.where(Refund.origin == wanted.origin)
    if wanted.provider is not None:
        statement = statement.where(Refund.provider == wanted.provider)
    if wanted.is_flagged:
        statement = statement.where(Refund.flag.is_not(None))
    if wanted.text:
        statement = statement.where(_named(wanted.text, Refund))
    return paginate(statement, Refund.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class DisputeFilter:
    """What staff want to see of the disputes; `is_open` leaves those that nobody has decided."""

    text: str = ""
    status: DisputeStatus | None = None
    provider: str | None = None
    is_open: bool = False


def disputes_page(wanted: DisputeFilter, *, before: str | None, after: str | None) -> Page[Dispute]:
    """A page of disputes with what they are about, newest first."""
    statement: Select[Dispute] = db.select(Dispute).options(joinedload(Dispute.session))
    if wanted.status is not None:
        statement = statement.where(Dispute.status == wanted.status)
    if wanted.is_open:
        statement = statement.where(Dispute.status.in_(OPEN_DISPUTES))
    if wanted.provider is not None:
        statement = statement.where(Dispute.provider == wanted.provider)
    if wanted.text:
        statement = statement.where(_named(wanted.text, Dispute))
    return paginate(statement, Dispute.id, before=before, after=after)


def _named(typed: str, model: type[Refund] | type[Dispute]) -> ColumnElement[bool]:
    """By the buyer's address, the provider's reference, or our id of the payment."""
    if "@" in typed:
        sessions = db.select(PaymentSession.id).where(is_named(PaymentSession.customer_email, typed.lower()))
        return model.session_id.in_(sessions)
    if len(typed) >= 8 and "_" not in typed and "-" in typed:
        sessions = db.select(PaymentSession.id).where(is_id(PaymentSession.public_id, typed))
        return model.session_id.in_(sessions)
    return model.provider_reference == typed


@dataclass(frozen=True, slots=True)
class RefundFile:
    """Everything staff see about one refund."""

    refund: Refund
    order: Order | None
    dispute: Dispute | None
    changes: list[StatusChange]


def read_refund(refund_id: int) -> RefundFile:
    """A refund with its payment, papers and history. Raises RefundNotFound."""
    refund = db.session.scalars(
        db.select(Refund)
        .where(Refund.id == refund_id)
        .options(joinedload(Refund.session), joinedload(Refund.payment), selectinload(Refund.credit_notes))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if refund is None:
        raise RefundNotFound
    dispute = db.session.scalar(db.select(Dispute).where(Dispute.refund_id == refund_id))
    return RefundFile(refund, order_paid_by(refund.session), dispute, history(refund))


@dataclass(frozen=True, slots=True)
class DisputeFile:
    """Everything staff see about one dispute."""

    dispute: Dispute
    order: Order | None
    changes: list[StatusChange]


def read_dispute(dispute_id: int) -> DisputeFile:
    """A dispute with its payment and history. Raises DisputeNotFound."""
    dispute = db.session.scalars(
        db.select(Dispute)
        .where(Dispute.id == dispute_id)
        .options(joinedload(Dispute.session), joinedload(Dispute.payment))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if dispute is None:
        raise DisputeNotFound
    return DisputeFile(dispute, order_paid_by(dispute.session), history(dispute))


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """What went back of some payment sessions, and what is disputed: for the pages of orders and payments."""

    refunds: list[Refund]
    disputes: list[Dispute]


def money_back_of(session_ids: Collection[int]) -> MoneyBack:
    """Refunds with their papers, and disputes, oldest first; the same number of statements however many."""
    ids = list(session_ids)
    refunds = db.session.scalars(
        db.select(Refund)
        .where(Refund.session_id.in_(ids))
        .order_by(Refund.id)
        .options(selectinload(Refund.credit_notes))
        .execution_options(populate_existing=True)
    )
    disputes = db.session.scalars(db.select(Dispute).where(Dispute.session_id.in_(ids)).order_by(Dispute.id))
    return MoneyBack(list(refunds), list(disputes))


@dataclass(frozen=True, slots=True)
class Giveable:
    """What the form for giving money back offers: payments with something left, and invoice lines still whole."""

    payments: list[Payment]
    invoices: list[Invoice]
    gone_line_ids: set[int]

    @property
    def currency(self) -> str | None:
        """The currency, when it is one."""
        currencies = {payment.currency for payment in self.payments}
        return currencies.pop() if len(currencies) == 1 else None

    @property
    def rest_minor(self) -> int:
        """What is left, of all payments together."""
        return sum(payment.rest_minor for payment in self.payments)


def read_giveable(sessions: Sequence[PaymentSession], payment_id: int | None = None) -> Giveable:
    """What can be given back of some sessions, or of one payment of theirs."""
    ids = [session.id for session in sessions]
    statement = db.select(Payment).where(Payment.session_id.in_(ids), Payment.amount_minor > Payment.returned_minor)
    if payment_id is not None:
        statement = statement.where(Payment.id == payment_id)
    payments = list(db.session.scalars(statement.order_by(Payment.id).execution_options(populate_existing=True)))
    invoices: list[Invoice] = []
    if payment_id is None:
        invoices = list(
            db.session.scalars(
                db.select(Invoice).where(Invoice.session_id.in_(ids)).options(selectinload(Invoice.lines))
            )
        )
    return Giveable(payments, invoices, lines_going_back(ids))
