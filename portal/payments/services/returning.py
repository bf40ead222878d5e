"""The books of money that goes back: what a refund reserves, what its success and its failure change.

Everybody here holds the payment session's row first, then the payment's, then the refund's; what was sold is told last.
All of it runs in the caller's transaction, so refund, credit note, order, access and mails are there together or not at
all.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import select, update

from portal.accounts.models import STAFF_ROLES, User
from portal.core import audit, mail
from portal.core.db import db
from portal.core.faults import fault
from portal.core.state import transition
from portal.payments import credit_notes, hooks
from portal.payments.errors import RefundNotFound
from portal.payments.models import EventStatus, Payment, PaymentSession, ProviderEvent, Standing
from portal.payments.refund_models import (
    OPEN_DISPUTES,
    Dispute,
    Refund,
    RefundFlag,
    RefundOrigin,
    RefundReason,
    RefundStatus,
)
from portal.payments.services import sales


class NotThatMuchLeft(ValueError):
    """A refund would take more than is left of its payment: whoever asks must have looked under the lock."""


def lock_sessions(session_ids: Iterable[int]) -> list[PaymentSession]:
    """The payment sessions under their locks, in one order."""
    return list(
        db.session.scalars(
            select(PaymentSession)
            .where(PaymentSession.id.in_(list(session_ids)))
            .order_by(PaymentSession.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )


def lock_payments(session_ids: Iterable[int]) -> list[Payment]:
    """The payments of some sessions under their locks, those that count first, then the oldest."""
    payments = db.session.scalars(
        select(Payment)
        .where(Payment.session_id.in_(list(session_ids)))
        .order_by(Payment.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    return sorted(payments, key=lambda payment: (payment.standing is not Standing.COUNTED, payment.id))


def lock_refund(refund_id: int) -> Refund:
    """A refund as it is now, with its session and payment locked before it. Raises RefundNotFound."""
    session_id = db.session.scalar(select(Refund.session_id).where(Refund.id == refund_id))
    if session_id is None:
        raise RefundNotFound
    lock_sessions([session_id])
    lock_payments([session_id])
    return db.session.get_one(Refund, refund_id, populate_existing=True, with_for_update=True)


def is_disputed(payment_id: int) -> bool:
    """Whether a bank is deciding about the payment."""
    statement = select(Dispute.id).where(Dispute.payment_id == payment_id, Dispute.status.in_(OPEN_DISPUTES))
    return db.session.execute(statement.limit(1)).first() is not None


def record_refund(
    payment: Payment,
    amount_minor: int,
    *,
    origin: RefundOrigin,
    request_key: str,
    reason: RefundReason = RefundReason.OTHER,
    by: str,
    at: datetime,
    **values: Any,
) -> Refund:
    """Write down a refund and set its money aside, under the payment's lock. Raises NotThatMuchLeft."""
    if amount_minor > payment.rest_minor:
        raise NotThatMuchLeft(f"{amount_minor} of {payment.rest_minor} left of payment {payment.id}")
    _set_aside(payment, amount_minor)
    refund = Refund(
        payment=payment,
        session=db.session.get_one(PaymentSession, payment.session_id),
        provider=payment.provider,
        origin=origin,
        status=RefundStatus.REQUESTED,
        amount_minor=amount_minor,
        currency=payment.currency,
        reason=reason,
        request_key=request_key,
        idempotency_key=f"refund:{request_key}:{payment.id}",
        requested_by=by,
        requested_at=at,
        **values,
    )
    db.session.add(refund)
    db.session.flush()
    after = {"amount_minor": amount_minor, "currency": payment.currency, "origin": origin, "reason": reason}
    audit.record("refund.requested", actor=by, subject=f"refunds:{refund.id}", after=after)
    return refund


def _set_aside(payment: Payment, amount_minor: int) -> None:
    """Added up by the database, whose check is the last guard should a lock ever be forgotten."""
    db.session.execute(
        update(Payment)
        .where(Payment.id == payment.id)
        .values(returned_minor=Payment.returned_minor + amount_minor)
        .execution_options(synchronize_session=False)
    )
    db.session.refresh(payment, ["returned_minor"])


def book_success(
    refund: Refund, *, by: str, at: datetime, flag: RefundFlag | None = None, values: dict[str, Any] | None = None
) -> None:
    """The money is back with the buyer: credit note, order, mail. Call it under the locks."""
    changes = {"flag": flag, "failure": None, "succeeded_at": at, **(values or {})}
    transition(refund, RefundStatus.SUCCEEDED, by=by, at=at, values=changes)
    fault("refund-after-status")
    if refund.payment.standing is Standing.COUNTED:
        invoice = credit_notes.find_invoice(refund.session_id)
        positions: frozenset[int] = frozenset()
        if invoice is not None:
            credit_notes.issue_credit_note(refund, invoice, at=at)
            positions = credit_notes.positions_of(invoice, refund.line_ids)
        _tell_seller(refund, refund.amount_minor, positions, at=at)
        sales.count_return(refund.session, refund.amount_minor, at=at)
    else:
        _resolve_surplus(refund.payment, by=by, at=at)
    # What waited for the end of this one.
    reconsider(refund.provider, refund.payment.provider_reference, at)
    audit.record("refund.succeeded", actor=by, subject=f"refunds:{refund.id}", after=_facts(refund))
    if refund.origin is not RefundOrigin.DISPUTE and refund.session.customer_email:
        mail.send(
            "refund_given",
            to=refund.session.customer_email,
            locale=refund.session.locale,
            key=f"refund:{refund.id}:given",
            refund_id=refund.id,
        )
    fault("refund-before-commit")


def book_failure(refund: Refund, *, by: str, at: datetime, reason: str, values: dict[str, Any] | None = None) -> None:
    """The money is not given back, or came back: whatever was booked for it is taken back. Call it under the locks."""
    had_succeeded = refund.status is RefundStatus.SUCCEEDED
    changes = {"flag": RefundFlag.FAILED, "failure": reason[:1000], **(values or {})}
    transition(refund, RefundStatus.FAILED, by=by, at=at, reason=reason[:1000], values=changes)
    _set_aside(refund.payment, -refund.amount_minor)
    if had_succeeded and refund.payment.standing is Standing.COUNTED:
        credit_notes.cancel_credit_note(refund, at=at)
        _tell_seller(refund, -refund.amount_minor, frozenset(), at=at)
        sales.uncount_return(refund.session, refund.amount_minor, at=refund.succeeded_at or at)
    reconsider(refund.provider, refund.payment.provider_reference, at)
    audit.record("refund.failed", actor=by, subject=f"refunds:{refund.id}", after=_facts(refund), detail=reason[:1000])
    tell_staff("refund_failed", key=f"refund:{refund.id}:failed", refund_id=refund.id)
    fault("refund-before-commit")


def _tell_seller(refund: Refund, amount_minor: int, positions: frozenset[int], *, at: datetime) -> None:
    money = hooks.Returned(
        refund_id=refund.id, amount_minor=amount_minor, positions=positions, keeps_access=refund.keeps_access
    )
    hooks.returned(refund.session, money, at=at)


def _resolve_surplus(payment: Payment, *, by: str, at: datetime) -> None:
    """Money that did not fit is wholly back with the buyer, so its event needs nobody any more."""
    given = select(Refund.amount_minor).where(Refund.payment_id == payment.id, Refund.status == RefundStatus.SUCCEEDED)
    event = db.session.get_one(ProviderEvent, payment.event_id, populate_existing=True, with_for_update=True)
    if sum(db.session.scalars(given)) == payment.amount_minor and event.status is EventStatus.CONFLICT:
        transition(event, EventStatus.RESOLVED, by=by, at=at, reason="the money was given back")


def tell_staff(template: str, *, key: str, **params: int) -> None:
    """One mail to everybody in the back office, each in their language."""
    members = db.session.scalars(
        select(User).where(User.role.in_(STAFF_ROLES), User.is_active.is_(True)).order_by(User.id)
    )
    for member in members:
        mail.send(template, to=member.email, locale=member.locale, key=f"{key}:{member.id}", **params)


def reconsider(provider: str, reference: str | None, at: datetime) -> None:
    """Refunds and disputes name the payment only. One that came before its payment, or before the answer about our own
    refund, was no business of ours until now."""
    if reference is None:
        return
    early = db.session.scalars(
        select(ProviderEvent).where(
            ProviderEvent.provider == provider,
            ProviderEvent.payment_reference == reference,
            ProviderEvent.status == EventStatus.IGNORED,
        )
    )
    for event in early:
        values = {"available_at": at, "verdict": None}
        transition(event, EventStatus.PENDING, by="job:webhooks", at=at, reason="it is known by now", values=values)


def _facts(refund: Refund) -> dict[str, Any]:
    return {
        "amount_minor": refund.amount_minor,
        "currency": refund.currency,
        "provider_reference": refund.provider_reference,
        "status": refund.status,
    }
