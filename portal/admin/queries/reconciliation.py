"""Reads for the reconciliation report: what asking the providers came to, and where they and we differ."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from portal.core.db import db
from portal.core.money import Money
from portal.payments import check_log
from portal.payments.check_log import CheckSums
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

SPAN = timedelta(days=7)
# More open payments than this are shown as 499+.
LIMIT = 500
_MOST_DIFFERENCES = 50
_OPEN = (AttemptStatus.STARTING, AttemptStatus.UNKNOWN, AttemptStatus.OPEN)


@dataclass(frozen=True, slots=True)
class Account:
    """How one provider and we agree. `open_now` goes up to LIMIT; `sums` are of the last seven days."""

    provider: str
    title: str
    is_enabled: bool
    can_be_asked: bool
    recovers: bool
    open_now: int
    sums: CheckSums | None


@dataclass(frozen=True, slots=True)
class Difference:
    """Money of which a provider told us when it was asked: what it says, what we expected, and what became of it."""

    event: ProviderEvent
    session: PaymentSession
    payment: Payment | None

    @property
    def expected(self) -> Money:
        """What was to be paid."""
        return self.session.amount

    @property
    def told(self) -> Money | None:
        """What the provider says it took."""
        return self.payment.amount if self.payment is not None else None

    @property
    def is_settled(self) -> bool:
        """Whether the money counts by now: its webhook was lost, and asking made up for it."""
        return self.payment is not None and self.payment.standing is Standing.COUNTED


def open_by_provider() -> dict[str, int]:
    """How many payments are open at each provider, read from the newest open ones."""
    sessions = (
        db.select(PaymentSession.id)
        .where(PaymentSession.status.in_((SessionStatus.CREATED, SessionStatus.PENDING)))
        .order_by(PaymentSession.id.desc())
        .limit(LIMIT)
        .subquery()
    )
    rows = db.session.execute(
        db.select(PaymentAttempt.provider, PaymentAttempt.session_id)
        .join(sessions, sessions.c.id == PaymentAttempt.session_id)
        .where(PaymentAttempt.status.in_(_OPEN))
        .distinct()
    )
    counts: dict[str, int] = {}
    for provider, _session_id in rows:
        counts[provider] = counts.get(provider, 0) + 1
    return counts


def sums(*, at: datetime) -> dict[str, CheckSums]:
    """What asking came to in the last seven days, by provider."""
    return check_log.sums_since(at - SPAN)


def differences(*, at: datetime) -> list[Difference]:
    """What asking brought to light in the last seven days, newest first: money we did not know of, and money that does
    not fit. An answer that a webhook had given before is none."""
    rows = db.session.execute(
        db.select(ProviderEvent, PaymentSession, Payment)
        .join(PaymentSession, PaymentSession.public_id == ProviderEvent.session_public_id)
        .outerjoin(Payment, Payment.event_id == ProviderEvent.id)
        .where(
            # In the words of the partial index ix_provider_events_asked.
            text("provider_events.source = 'poll'"),
            ProviderEvent.received_at >= at - SPAN,
            db.or_(Payment.id.is_not(None), ProviderEvent.status == EventStatus.CONFLICT),
        )
        .order_by(ProviderEvent.id.desc())
        .limit(_MOST_DIFFERENCES)
    )
    return [Difference(event, session, payment) for event, session, payment in rows]
