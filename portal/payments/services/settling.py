"""What an inbox event does to the money: one transaction for session, payment, invoice and what was bought."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from portal.core import audit, outbox
from portal.core.db import db
from portal.core.faults import fault
from portal.core.state import transition
from portal.payments import hooks
from portal.payments.extension import current_registry, find_listener
from portal.payments.invoices import issue_invoice
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Payment,
    PaymentAttempt,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.providers.base import NormalisedEvent, Outcome
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services import recurring, sales
from portal.payments.services.disputing import apply_dispute_fact
from portal.payments.services.facts import facts_of
from portal.payments.services.finding import find_session
from portal.payments.services.refund_facts import apply_refund_fact
from portal.payments.services.returning import reconsider
from portal.payments.services.sessions import fail_session

log = structlog.get_logger(__name__)

_NONE: Mapping[str, PaymentSession] = {}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one fact: the status for the event that told it, and why, in words for staff."""

    status: EventStatus
    reason: str


# When one delivery tells several facts, the most telling verdict is the event's.
_WEIGHT = (
    EventStatus.IGNORED,
    EventStatus.DUPLICATE,
    EventStatus.APPLIED,
    EventStatus.UNMATCHED,
    EventStatus.CONFLICT,
)


def apply_event(event: ProviderEvent, *, at: datetime, locked: Mapping[str, PaymentSession] = _NONE) -> None:
    """Apply a stored event, once, in the caller's transaction; doing it again finds it done.

    Whoever calls holds the event's row. The session's row is locked here, unless it is among those that the caller has
    `locked` (by public id), so two events about one session follow each other.
    """
    if event.status is not EventStatus.PENDING:
        return
    with audit.caused_by(f"event:{event.id}"):
        verdicts = [_apply(event, fact, at, locked) for fact in facts_of(event)] or [
            Verdict(EventStatus.IGNORED, "a type that is not used")
        ]
        verdict = max(verdicts, key=lambda one: _WEIGHT.index(one.status))
        values = {"verdict": "; ".join(one.reason for one in verdicts), "processed_at": at}
        transition(event, verdict.status, by=f"event:{event.id}", at=at, values=values)
    fault("settle-before-commit")


def _apply(event: ProviderEvent, fact: NormalisedEvent, at: datetime, locked: Mapping[str, PaymentSession]) -> Verdict:
    if fact.outcome in (Outcome.IGNORED, Outcome.NEWS):
        return _no_money(event, fact, at)
    session = locked.get(fact.session_id or "") or find_session(event.provider, fact)
    if session is None:
        if fact.session_id is None:
            return Verdict(EventStatus.IGNORED, "names no payment session of ours")
        return Verdict(EventStatus.UNMATCHED, f"no payment session {fact.session_id}")
    if event.session_public_id is None:
        event.session_public_id = session.public_id
    match fact.outcome:
        case Outcome.PAID:
            return _paid(event, session, fact, at)
        case Outcome.FAILED:
            return _failed(event, session, fact, at)
        case Outcome.PENDING:
            return _pending(event, session, at)
        case Outcome.HINT:
            return _hinted(event)
        case Outcome.CLAIMED:
            return _claimed(event, session, fact, at)
        case _:
            return _reported(event, session, fact, at)


def _no_money(event: ProviderEvent, fact: NormalisedEvent, at: datetime) -> Verdict:
    """What is about nothing of ours, or about something of another domain."""
    if fact.outcome is Outcome.IGNORED:
        return Verdict(EventStatus.IGNORED, fact.detail or "changes nothing")
    listener = find_listener(event.provider)
    if listener is None:
        return Verdict(EventStatus.IGNORED, "its sender is switched off")
    verdict = Verdict(*listener.apply(event, fact, at=at))
    audit.record(
        f"WEBHOOK_{event.provider.upper()}_{verdict.status.value.upper()}",
        actor=f"event:{event.id}",
        after={"subject": fact.subject_reference, "detail": fact.detail, "verdict": verdict.reason},
    )
    return verdict


def _paid(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Verdict:
    reference = fact.payment_reference or fact.attempt_reference
    business_key = fact.business_key or f"{event.provider}:{reference or event.delivery_key}:paid"
    known = _payment_named(business_key)
    if known is not None and _is_other_money(known, fact):
        business_key = f"{business_key[:120]}:{fact.payment_reference}"[:255]
        known = _payment_named(business_key)
    if known is not None:
        return Verdict(EventStatus.DUPLICATE, "this payment was counted before")
    surplus_reason = _why_not_counted(event.provider, session, fact)
    if surplus_reason == "second_payment" and recurring.is_renewal(session, event.provider, fact):
        session, surplus_reason = recurring.open_renewal(session, at=at), None
        event.session_public_id = session.public_id
    if fact.amount_minor is not None and fact.amount_minor <= 0:
        return Verdict(EventStatus.CONFLICT, "paid without an amount")
    payment = Payment(
        session_id=session.id,
        event_id=event.id,
        provider=event.provider,
        provider_reference=reference,
        business_key=business_key,
        amount_minor=fact.amount_minor if fact.amount_minor is not None else session.amount_minor,
        currency=fact.currency or session.currency,
        standing=Standing.SURPLUS if surplus_reason else Standing.COUNTED,
        surplus_reason=surplus_reason,
        received_at=at,
    )
    db.session.add(payment)
    reconsider(event.provider, reference, at)
    if surplus_reason:
        _record(event, session, "CONFLICT", {"reason": surplus_reason, "amount_minor": payment.amount_minor})
        log.error("money_does_not_count", reason=surplus_reason, session_id=session.public_id, event_id=event.id)
        return Verdict(EventStatus.CONFLICT, surplus_reason)
    _settle(event, session, fact, reference, at)
    return Verdict(EventStatus.APPLIED, "paid")


def _payment_named(business_key: str) -> Payment | None:
    payment: Payment | None = db.session.scalar(db.select(Payment).where(Payment.business_key == business_key))
    return payment


def _is_other_money(known: Payment, fact: NormalisedEvent) -> bool:
    """Whether one key was used for two payments: a sender that names facts by our session says nothing else when
    somebody pays twice, but the transaction is another one."""
    names = (None, fact.attempt_reference, fact.payment_reference)
    return fact.payment_reference is not None and known.provider_reference not in names


def _is_test(provider: str, fact: NormalisedEvent) -> bool | None:
    """Whether the money is make-believe: as the event says, else as the provider it comes from is set up."""
    if fact.is_test is not None:
        return fact.is_test
    try:
        return current_registry().mode_of(provider) == "test"
    except UnknownProvider:
        return None  # Switched off since; its late events are judged by everything else.


def _why_not_counted(provider: str, session: PaymentSession, fact: NormalisedEvent) -> str | None:
    """Money that is not exactly what was asked for is kept apart for a person to look at, never dropped."""
    if _is_test(provider, fact) not in (None, session.mode == "test"):
        return "wrong_mode"
    if fact.currency is not None and fact.currency != session.currency:
        return "wrong_currency"
    if fact.amount_minor is not None and fact.amount_minor != session.amount_minor:
        return "wrong_amount"
    if session.status is SessionStatus.FAILED:
        return "after_failure"
    if session.status is SessionStatus.PAID:
        return "second_payment"
    return None


def _settle(
    event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, reference: str | None, at: datetime
) -> None:
    by = f"event:{event.id}"
    # When the provider took it; our own clock, should the provider's be ahead.
    paid_at = min(fact.occurred_at or at, at)
    values = {"provider": event.provider, "provider_reference": reference, "paid_at": paid_at, "check_at": None}
    if session.repeat_months is not None:
        values["subscription_reference"] = fact.subscription_reference
        reconsider(event.provider, fact.subscription_reference, at)
    transition(session, SessionStatus.PAID, by=by, at=at, values=values)
    attempt = _attempt_of(session, event.provider, fact)
    if attempt is not None and attempt.status is not AttemptStatus.PAID:
        transition(attempt, AttemptStatus.PAID, by=by, at=at)
    fault("settle-after-session")
    issue_invoice(session, bill=hooks.bill_of(session), provider=event.provider, provider_reference=reference, at=at)
    fault("settle-after-invoice")
    hooks.settled(session, at=at)
    sales.count_payment(session, at=at)
    _record(event, session, "SUCCESS", {"status": SessionStatus.PAID, "amount_minor": session.amount_minor})


def _attempt_of(session: PaymentSession, provider: str, fact: NormalisedEvent) -> PaymentAttempt | None:
    """The attempt a fact is about: by the provider's id of it, else by its number, else the only one there is."""
    attempts = [one for one in session.attempts if one.provider == provider]
    if fact.attempt_reference is not None:
        named = [one for one in attempts if one.provider_reference == fact.attempt_reference]
        if named:
            return named[0]
    if fact.attempt is not None:
        return next((one for one in attempts if one.number == fact.attempt), None)
    return attempts[0] if len(attempts) == 1 else None


def _failed(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Verdict:
    by = f"event:{event.id}"
    attempt = _attempt_of(session, event.provider, fact)
    if session.status is SessionStatus.FAILED:
        return Verdict(EventStatus.DUPLICATE, "this session had failed before")
    if session.status is SessionStatus.PAID:
        if attempt is not None and attempt.status is not AttemptStatus.PAID:
            # The buyer had several pages open and paid on another one.
            if attempt.status is not AttemptStatus.FAILED:
                transition(attempt, AttemptStatus.FAILED, by=by, at=at)
            return Verdict(EventStatus.APPLIED, "another attempt of this session had paid it")
        _record(event, session, "CONFLICT", {"reason": "failed_after_paid"})
        return Verdict(EventStatus.CONFLICT, "failed after it was paid")
    if attempt is not None and attempt.status is not AttemptStatus.FAILED:
        transition(attempt, AttemptStatus.FAILED, by=by, at=at, reason=fact.detail)
    others = [
        one
        for one in session.attempts
        if one is not attempt and one.status not in (AttemptStatus.FAILED, AttemptStatus.PAID)
    ]
    if others:
        return Verdict(EventStatus.APPLIED, "attempt failed; another one is open")
    fail_session(session, by=by, at=at, reason=fact.detail or event.event_type)
    _record(event, session, "FAILED", {"status": SessionStatus.FAILED})
    return Verdict(EventStatus.APPLIED, "failed")


def _pending(event: ProviderEvent, session: PaymentSession, at: datetime) -> Verdict:
    if session.status is SessionStatus.CREATED:
        transition(session, SessionStatus.PENDING, by=f"event:{event.id}", at=at)
        return Verdict(EventStatus.APPLIED, "pending")
    if session.status is SessionStatus.PENDING:
        return Verdict(EventStatus.DUPLICATE, "this session was pending before")
    return Verdict(EventStatus.IGNORED, f"overtaken: the session is {session.status.value}")


def _hinted(event: ProviderEvent) -> Verdict:
    """A message that proves nothing by itself, whatever the session's state: second payments begin like first ones."""
    outbox.publish("provider_event.hinted", key=f"hint:{event.id}", event_id=event.id)
    return Verdict(EventStatus.APPLIED, "the provider is asked")


def _claimed(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Verdict:
    """Believed as far as that the buyer is done; whether the money is here, a person finds out and says."""
    if session.status is SessionStatus.PAID:
        return Verdict(EventStatus.IGNORED, f"overtaken: the session is {session.status.value}")
    if session.status is SessionStatus.CREATED:
        transition(session, SessionStatus.PENDING, by=f"event:{event.id}", at=at)
    _record(event, session, "CLAIMED", {"detail": fact.detail})
    return Verdict(EventStatus.CONFLICT, "said to be paid")


def _reported(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Verdict:
    """Refunds and disputes: ours are confirmed, those made elsewhere are recorded; and subscriptions."""
    if fact.outcome in recurring.CHANGES:
        apply_fact = recurring.apply_change
    else:
        is_refund = fact.outcome in (Outcome.REFUNDED, Outcome.REFUND_FAILED)
        apply_fact = apply_refund_fact if is_refund else apply_dispute_fact
    verdict = Verdict(*apply_fact(event, session, fact, at))
    _record(event, session, fact.outcome.value.upper(), {"amount_minor": fact.amount_minor})
    return verdict


def _record(event: ProviderEvent, session: PaymentSession, what: str, after: dict[str, Any]) -> None:
    audit.record(
        f"WEBHOOK_{event.provider.upper()}_{what}",
        actor=f"event:{event.id}",
        subject=f"payment_sessions:{session.id}",
        after=after,
    )
