"""Reads about money, for pages and for those who sell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import selectinload

from portal.core.db import db
from portal.payments.models import EventStatus, Invoice, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.base import Outcome
from portal.payments.refund_models import Refund, RefundStatus
from portal.payments.services.facts import facts_of

LATE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class PaidTruth:
    """What is known about a payment, fact by fact, so that a page never has to guess.

    `provider_says_paid` came by webhook or because we asked; `is_applied` means that what was bought is unlocked.
    """

    status: SessionStatus
    provider_says_paid: bool
    webhook_seen: bool
    is_applied: bool
    needs_staff: bool
    is_late: bool
    last_heard_at: datetime | None

    @property
    def is_final(self) -> bool:
        """Whether the page may stop asking."""
        return self.is_applied or self.needs_staff or (self.is_failed and not self.provider_says_paid)

    @property
    def is_failed(self) -> bool:
        """Whether the session is over and no fact says that money came."""
        return self.status is SessionStatus.FAILED and not self.provider_says_paid


def truth_of(session: PaymentSession, *, at: datetime, sent_at: datetime | None = None) -> PaidTruth:
    """Collect the facts about a session; `sent_at` is when the buyer came back, for saying that a webhook is late."""
    events = db.session.scalars(
        db.select(ProviderEvent)
        .where(ProviderEvent.session_public_id == session.public_id)
        .order_by(ProviderEvent.id.desc())
        .limit(20)
    ).all()
    paid_events = [event for event in events if any(fact.outcome is Outcome.PAID for fact in facts_of(event))]
    is_applied = session.status is SessionStatus.PAID
    return PaidTruth(
        status=session.status,
        provider_says_paid=bool(paid_events) or is_applied,
        webhook_seen=any(event.source == "webhook" for event in events),
        is_applied=is_applied,
        needs_staff=not is_applied and any(event.status is EventStatus.CONFLICT for event in paid_events),
        is_late=not is_applied and not paid_events and at - (sent_at or session.created_at) > LATE,
        last_heard_at=events[0].received_at if events else None,
    )


def sessions_of(purpose: str, subject_id: int) -> list[PaymentSession]:
    """The payment sessions opened for one thing, newest first."""
    return list(
        db.session.scalars(
            db.select(PaymentSession)
            .where(PaymentSession.purpose == purpose, PaymentSession.subject_id == subject_id)
            .order_by(PaymentSession.id.desc())
        )
    )


def find_session(public_id: str) -> PaymentSession | None:
    """A session by the id that others know."""
    session: PaymentSession | None = db.session.scalar(
        db.select(PaymentSession).where(PaymentSession.public_id == public_id)
    )
    return session


def invoice_of_session(session_id: int) -> Invoice | None:
    """The invoice of a settled session."""
    invoice: Invoice | None = db.session.scalar(db.select(Invoice).where(Invoice.session_id == session_id))
    return invoice


def invoices_of_sessions(session_ids: Sequence[int]) -> list[Invoice]:
    """The invoices of some sessions, oldest first."""
    statement = db.select(Invoice).where(Invoice.session_id.in_(list(session_ids))).order_by(Invoice.id)
    return list(db.session.scalars(statement))


def money_back_of(session_ids: Sequence[int]) -> list[Refund]:
    """What was given back to a buyer, or is on its way, with its credit notes, oldest first."""
    statement = (
        db.select(Refund)
        .where(Refund.session_id.in_(list(session_ids)), Refund.status != RefundStatus.FAILED)
        .order_by(Refund.id)
        .options(selectinload(Refund.credit_notes))
    )
    return list(db.session.scalars(statement))
