"""Working off the inbox in batches.

A batch is one transaction. When anything in it fails, it is rolled back, and each of its events is done again in a
transaction of its own: a poison event parks itself alone, and what lost a race holds too little to lose another. To do
so always would cost more than the events.
"""

import traceback
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Select, exists, select, text

from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.outbox import backoff
from portal.core.state import transition
from portal.payments.extension import current_listeners
from portal.payments.models import EventStatus, Payment, PaymentSession, ProviderEvent
from portal.payments.services.finding import lock_sessions
from portal.payments.services.settling import apply_event

log = structlog.get_logger(__name__)

BATCH = 50
MAX_ATTEMPTS = 8
# A webhook may overtake the transaction that creates its session, but not by days.
UNMATCHED_FOR = timedelta(days=3)
_TRACE_LENGTH = 4_000
# In the words of the index that finds them.
_NAMES_NOTHING_OF_OURS = text(
    "provider_events.status = 'ignored' AND provider_events.session_public_id IS NULL"
    " AND provider_events.payment_reference IS NOT NULL"
)


def drain_inbox(*, limit: int = 5_000) -> int:
    """Apply what is due, oldest first; returns how many events were looked at. Several may drain at once."""
    looked_at = 0
    while looked_at < limit:
        count = _drain_batch()
        looked_at += count
        if count < BATCH:
            break
    return looked_at


def _drain_batch() -> int:
    at = clock.now()
    event_ids: list[int] = []
    try:
        with unit_of_work():
            events = _claim(at)
            event_ids = [event.id for event in events]
            _apply_all(events, at)
    except Exception as error:  # whatever it is, the careful way finds out which event it was
        if not event_ids:
            raise
        log.warning("batch_failed", error=f"{type(error).__name__}: {error}"[:500])
        for event_id in event_ids:
            _apply_alone(event_id, at)
    return len(event_ids)


def _claim(at: datetime) -> Sequence[ProviderEvent]:
    """The next due events, locked; events that another drainer holds are passed over."""
    return db.session.scalars(
        _due(at).order_by(ProviderEvent.available_at, ProviderEvent.id).limit(BATCH).with_for_update(skip_locked=True)
    ).all()


def _due(at: datetime) -> Select[ProviderEvent]:
    due = select(ProviderEvent).where(ProviderEvent.status == EventStatus.PENDING, ProviderEvent.available_at <= at)
    return due.execution_options(populate_existing=True)


def _apply_all(events: Sequence[ProviderEvent], at: datetime) -> None:
    """Apply events, with the locks of all of them taken first."""
    locked = lock_sessions(events)
    _lock_subjects(events)
    for event in events:
        apply_event(event, at=at, locked=locked)


def _lock_subjects(events: Sequence[ProviderEvent]) -> None:
    """The same for what is not about money: each listener knows the order of its own things."""
    for listener in current_listeners():
        references = {event.payment_reference for event in events if event.provider == listener.name}
        listener.lock(sorted(reference for reference in references if reference))


def _apply_alone(event_id: int, at: datetime) -> None:
    """Apply one event in a transaction of its own, unless another drainer has it, or park it."""
    with unit_of_work():
        due = _due(at).where(ProviderEvent.id == event_id)
        event = db.session.scalar(due.with_for_update(skip_locked=True))
        if event is None:
            return
        attempts = event.attempts + 1
        try:
            with db.session.begin_nested():
                _apply_all([event], at)
        except Exception as error:  # noqa: BLE001  # whatever is wrong with one event, the others go on
            # Objects changed inside the savepoint no longer say what the database says.
            db.session.expire_all()
            _park(event_id, attempts, error, at)


def _park(event_id: int, attempts: int, error: Exception, at: datetime) -> None:
    log.error("event_failed", event_id=event_id, attempt=attempts, exc_info=error)
    trace = "".join(traceback.format_exception(error))[-_TRACE_LENGTH:]
    event = db.session.get_one(ProviderEvent, event_id)
    event.attempts = attempts
    event.last_error = trace
    event.available_at = at + backoff(attempts)
    if attempts >= MAX_ATTEMPTS:
        event.verdict = f"{type(error).__name__}: {error}"[:500]
        transition(event, EventStatus.FAILED, by="job:webhooks", at=at)


def rematch_unmatched(*, at: datetime) -> int:
    """Put events whose session, payment or other subject exists by now back into the queue; returns how many."""
    matched = 0
    with unit_of_work():
        ids = db.session.scalars(
            select(ProviderEvent.id)
            .join(PaymentSession, PaymentSession.public_id == ProviderEvent.session_public_id)
            .where(ProviderEvent.status == EventStatus.UNMATCHED, ProviderEvent.received_at > at - UNMATCHED_FOR)
            .limit(500)
        ).all()
        early = [db.session.get_one(ProviderEvent, event_id) for event_id in ids]
        for event in [*early, *_matched_news(at), *_matched_money(at)]:
            transition(event, EventStatus.PENDING, by="job:sweeper", at=at, reason="what it is about exists now")
            event.available_at = at
            matched += 1
    return matched


def _matched_news(at: datetime) -> Iterator[ProviderEvent]:
    for listener in current_listeners():
        waiting = db.session.scalars(
            select(ProviderEvent)
            .where(
                ProviderEvent.provider == listener.name,
                ProviderEvent.status == EventStatus.UNMATCHED,
                ProviderEvent.received_at > at - UNMATCHED_FOR,
            )
            .limit(500)
        ).all()
        known = listener.known_among([event.payment_reference for event in waiting if event.payment_reference])
        yield from (event for event in waiting if event.payment_reference in known)


def _matched_money(at: datetime) -> Sequence[ProviderEvent]:
    """News of a payment that was nobody's when they came, and is ours by now.

    A payment looks for them itself (returning.reconsider), but not for those that were stored after it had looked and
    before its own transaction ended.
    """
    is_a_payment = exists().where(
        Payment.provider == ProviderEvent.provider, Payment.provider_reference == ProviderEvent.payment_reference
    )
    is_a_subscription = exists().where(
        PaymentSession.provider == ProviderEvent.provider,
        PaymentSession.subscription_reference == ProviderEvent.payment_reference,
    )
    return db.session.scalars(
        select(ProviderEvent)
        .where(_NAMES_NOTHING_OF_OURS, ProviderEvent.received_at > at - UNMATCHED_FOR, is_a_payment | is_a_subscription)
        .limit(500)
        .with_for_update(skip_locked=True)
    ).all()


def run_again(event_id: int, *, by: str, at: datetime) -> None:
    """Put a parked event back into the queue with fresh tries, in the caller's transaction.

    Raises InvalidTransition unless it is parked or unmatched.
    """
    event = db.session.get_one(ProviderEvent, event_id, with_for_update=True)
    transition(event, EventStatus.PENDING, by=by, at=at)
    event.attempts = 0
    event.available_at = at
    event.last_error = None


def resolve(event_id: int, *, by: str, at: datetime, note: str) -> None:
    """Note that a person has dealt with a conflict or an unmatched event; the money rows stay as they are."""
    event = db.session.get_one(ProviderEvent, event_id, with_for_update=True)
    transition(event, EventStatus.RESOLVED, by=by, at=at, reason=note)


def has_due(*, at: datetime) -> bool:
    """Whether an event waits to be applied."""
    due = select(ProviderEvent.id).where(ProviderEvent.status == EventStatus.PENDING, ProviderEvent.available_at <= at)
    return db.session.execute(due.limit(1)).first() is not None
