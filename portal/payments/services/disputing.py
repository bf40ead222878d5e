"""Disputes: recorded as the provider tells them, answered by staff at the provider, booked out when they are lost."""

from datetime import datetime

from sqlalchemy import select

from portal.core import audit
from portal.core.db import db
from portal.core.state import InvalidTransition, transition
from portal.payments.errors import DisputeNotFound
from portal.payments.models import EventStatus, Payment, PaymentSession, ProviderEvent
from portal.payments.providers.base import NormalisedEvent, Outcome
from portal.payments.refund_models import (
    DISPUTE_TRANSITIONS,
    Dispute,
    DisputeStatus,
    RefundOrigin,
    RefundReason,
)
from portal.payments.services.refund_facts import Decision, payment_of, reference_of, trouble_with
from portal.payments.services.returning import (
    book_success,
    lock_payments,
    lock_sessions,
    reconsider,
    record_refund,
    tell_staff,
)

_ENDS = {
    "won": DisputeStatus.WON,
    "lost": DisputeStatus.LOST,
    "withdrawn": DisputeStatus.WITHDRAWN,
}


def apply_dispute_fact(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Decision:
    """Open, change or close a dispute, under the session's lock; what does not add up is a conflict."""
    payment = payment_of(lock_payments([session.id]), event.provider, fact)
    if payment is None:
        return EventStatus.IGNORED, "its payment is not known yet"
    trouble = trouble_with(fact, session, payment)
    reference = reference_of(fact)
    if trouble is not None or reference is None:
        return EventStatus.CONFLICT, trouble or "a dispute without a number"
    by = f"event:{event.id}"
    dispute = _find(event.provider, reference)
    is_new = dispute is None
    if dispute is None:
        dispute = _open(payment, reference, fact, by=by, at=at)
    if fact.outcome is Outcome.DISPUTED:
        return (EventStatus.APPLIED, "disputed") if is_new else _change(dispute, fact)
    end = _ENDS.get(fact.detail or "")
    if end is None:
        return EventStatus.CONFLICT, "a dispute was closed, and not said how"
    return _close(dispute, payment, end, by=by, at=at)


def _find(provider: str, reference: str) -> Dispute | None:
    return db.session.scalars(
        select(Dispute)
        .where(Dispute.provider == provider, Dispute.provider_reference == reference)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one_or_none()


def _open(payment: Payment, reference: str, fact: NormalisedEvent, *, by: str, at: datetime) -> Dispute:
    dispute = Dispute(
        payment=payment,
        session_id=payment.session_id,
        provider=payment.provider,
        provider_reference=reference,
        status=DisputeStatus.NEEDS_RESPONSE,
        amount_minor=fact.amount_minor or payment.amount_minor,
        currency=payment.currency,
        reason=_reason(fact),
        due_at=fact.due_at,
        opened_at=fact.occurred_at or at,
    )
    db.session.add(dispute)
    db.session.flush()
    after = {"amount_minor": dispute.amount_minor, "currency": dispute.currency, "reason": dispute.reason}
    audit.record("dispute.opened", actor=by, subject=f"disputes:{dispute.id}", after=after)
    if fact.outcome is Outcome.DISPUTED:
        tell_staff("dispute_opened", key=f"dispute:{dispute.id}:opened", dispute_id=dispute.id)
    return dispute


def _reason(fact: NormalisedEvent) -> str | None:
    is_reason = fact.outcome is Outcome.DISPUTED and fact.detail
    return fact.detail[:255] if is_reason and fact.detail else None


def _change(dispute: Dispute, fact: NormalisedEvent) -> Decision:
    """A later message about an open dispute: another deadline, amount or reason."""
    if not dispute.is_open:
        # The news of its beginning came after its end; only the reason is new.
        dispute.reason = dispute.reason or _reason(fact)
        return EventStatus.DUPLICATE, "this dispute is closed already"
    told = (fact.amount_minor or dispute.amount_minor, _reason(fact) or dispute.reason, fact.due_at or dispute.due_at)
    if told == (dispute.amount_minor, dispute.reason, dispute.due_at):
        return EventStatus.DUPLICATE, "we knew of this dispute"
    dispute.amount_minor, dispute.reason, dispute.due_at = told
    return EventStatus.APPLIED, "the dispute has changed"


def _close(dispute: Dispute, payment: Payment, end: DisputeStatus, *, by: str, at: datetime) -> Decision:
    if dispute.status is end:
        return EventStatus.DUPLICATE, "this dispute is closed already"
    if end not in DISPUTE_TRANSITIONS.get(dispute.status, frozenset()):
        return EventStatus.CONFLICT, "the dispute had another end"
    transition(dispute, end, by=by, at=at, values={"closed_at": at})
    fits = end is not DisputeStatus.LOST or dispute.amount_minor <= payment.rest_minor
    if end is DisputeStatus.LOST and fits:
        _book_out(dispute, payment, by=by, at=at)
    audit.record(f"dispute.{end.value}", actor=by, subject=f"disputes:{dispute.id}")
    tell_staff("dispute_closed", key=f"dispute:{dispute.id}:closed", dispute_id=dispute.id)
    # A refund that was made elsewhere while the bank decided may fit now.
    reconsider(payment.provider, payment.provider_reference, at)
    if not fits:
        return EventStatus.CONFLICT, "more was lost than was left"
    return EventStatus.APPLIED, f"dispute {end.value}"


def _book_out(dispute: Dispute, payment: Payment, *, by: str, at: datetime) -> None:
    """The bank took the money: on our books it went back to the buyer like a refund."""
    refund = record_refund(
        payment,
        dispute.amount_minor,
        origin=RefundOrigin.DISPUTE,
        request_key=f"dispute:{dispute.id}",
        reason=RefundReason.FRAUDULENT if dispute.reason == "fraudulent" else RefundReason.OTHER,
        by=by,
        at=at,
    )
    book_success(refund, by=by, at=at)
    dispute.refund_id = refund.id


def lock_dispute(dispute_id: int) -> tuple[Dispute, Payment]:
    """A dispute and its payment under their locks. Raises DisputeNotFound."""
    session_id = db.session.scalar(select(Dispute.session_id).where(Dispute.id == dispute_id))
    if session_id is None:
        raise DisputeNotFound
    lock_sessions([session_id])
    payments = {payment.id: payment for payment in lock_payments([session_id])}
    dispute = db.session.get_one(Dispute, dispute_id, populate_existing=True, with_for_update=True)
    return dispute, payments[dispute.payment_id]


def write_evidence(dispute_id: int, *, evidence: str, is_answered: bool, by: str, at: datetime) -> None:
    """Keep what staff answered; once it is sent at the provider, the bank decides. Raises InvalidTransition when it is
    closed."""
    dispute, _payment = lock_dispute(dispute_id)
    if not dispute.is_open:
        raise InvalidTransition(dispute, DisputeStatus.UNDER_REVIEW)
    before = {"evidence": dispute.evidence}
    dispute.evidence = evidence
    if is_answered and dispute.status is DisputeStatus.NEEDS_RESPONSE:
        transition(dispute, DisputeStatus.UNDER_REVIEW, by=by, at=at)
    after = {"evidence": evidence}
    audit.record("dispute.evidence", actor=by, subject=f"disputes:{dispute.id}", before=before, after=after)


def close_by_hand(dispute_id: int, end: DisputeStatus, *, by: str, at: datetime) -> None:
    """Record how it ended, for providers that do not tell. Raises InvalidTransition when it is closed, or when more was
    lost than the payment has left."""
    dispute, payment = lock_dispute(dispute_id)
    is_too_much = end is DisputeStatus.LOST and dispute.amount_minor > payment.rest_minor
    if not dispute.is_open or is_too_much:
        raise InvalidTransition(dispute, end)
    _close(dispute, payment, end, by=by, at=at)
