"""Asking providers how things stand, so that a lost webhook is found: what they answer goes through the same inbox."""

from datetime import datetime, timedelta

import structlog

from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.queues import QueueName
from portal.core.state import transition
from portal.payments import check_log
from portal.payments.extension import current_registry
from portal.payments.models import AttemptStatus, PaymentAttempt, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.base import (
    FetchResult,
    Outcome,
    Provider,
    ProviderRejected,
    ProviderUnavailable,
    RecoversEvents,
)
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services import starting
from portal.payments.services.accepting import store_event
from portal.payments.services.facts import facts_of
from portal.payments.services.sessions import fail_session

log = structlog.get_logger(__name__)

# How long after the last look an open session is looked at again, by its age.
_SCHEDULE = (
    (timedelta(minutes=5), timedelta(minutes=2)),
    (timedelta(minutes=30), timedelta(minutes=10)),
    (timedelta(hours=3), timedelta(hours=1)),
)
_OPEN = (AttemptStatus.STARTING, AttemptStatus.UNKNOWN, AttemptStatus.OPEN)
# How the inbox answers what it did not know before.
_NEWS = ("accepted", "conflict", "unmatched")
_LATER = timedelta(hours=3)
_BATCH = 100
# A paying buyer who was just sent back is worth asking for, but not with every poll of the page.
_AT_MOST_EVERY = 5


def request_check(session: PaymentSession, *, at: datetime) -> None:
    """Have a worker ask the providers about a session, in the caller's transaction; at most once in five seconds."""
    if session.is_final:
        return
    slot = int(at.timestamp()) // _AT_MOST_EVERY
    outbox.publish("payment_session.check_requested", key=f"check:{session.id}:{slot}", session_id=session.id)


def end_session(session: PaymentSession, *, at: datetime) -> None:
    """Let a session's time be over, in the caller's transaction: no new try begins, and a worker has the provider
    close its page. It fails once the provider says that nothing was paid; nothing changes for a finished one."""
    if session.is_final:
        return
    session.expires_at = at
    session.check_at = at
    request_check(session, at=at)


def request_due_checks(*, at: datetime) -> int:
    """Plan the checks that are due; returns how many. Opens its own unit of work."""
    with unit_of_work():
        sessions = db.session.scalars(
            db.select(PaymentSession)
            .where(PaymentSession.check_at.is_not(None), PaymentSession.check_at <= at)
            .order_by(PaymentSession.check_at)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        for session in sessions:
            session.check_at = _next_check(session, at)
            request_check(session, at=at)
    return len(sessions)


def _next_check(session: PaymentSession, at: datetime) -> datetime | None:
    if session.is_final:
        return None
    age = at - session.created_at
    return at + next((wait for limit, wait in _SCHEDULE if age < limit), _LATER)


@outbox.handles("payment_session.check_requested", queue=QueueName.WEBHOOKS, lease=timedelta(seconds=75))
def check_session(session_id: int) -> None:
    """Ask about every attempt of a session that may still have taken money; close the session when none can.

    A provider that does not answer leaves everything as it is: nothing turns unknown into failed but an answer.
    """
    session = db.session.get_one(PaymentSession, session_id)
    if session.is_final:
        return
    unanswered = 0
    for attempt in list(session.attempts):
        if attempt.status not in _OPEN:
            continue
        provider_name = attempt.provider
        try:
            has_found = _check_attempt(session, attempt)
            if has_found is not None:
                check_log.note_asked(provider_name, has_found=has_found, at=clock.now())
        except ProviderRejected as error:
            # A final no: the provider has no such page, so it cannot be paid.
            _end_attempt(attempt.id, error.detail or error.reason or "the provider does not know it")
            check_log.note_asked(provider_name, at=clock.now())
        except (ProviderUnavailable, UnknownProvider) as error:
            unanswered += 1
            check_log.note_asked(provider_name, error=type(error).__name__, at=clock.now())
            log.warning("check_unanswered", provider=provider_name, attempt_id=attempt.id, error=str(error))
    if not unanswered:
        _close_if_over(session_id)


def _end_attempt(attempt_id: int, reason: str) -> None:
    at = clock.now()
    with unit_of_work():
        attempt = db.session.get_one(PaymentAttempt, attempt_id, populate_existing=True)
        if attempt.status in _OPEN:
            transition(attempt, AttemptStatus.FAILED, by="job:check", at=at, reason=reason)


def _check_attempt(session: PaymentSession, attempt: PaymentAttempt) -> bool | None:
    """Ask about one attempt; whether money was found that we did not know of, None when nobody was asked."""
    provider = current_registry().get(attempt.provider)
    at = clock.now()
    if attempt.provider_reference is None:
        if attempt.created_at + timedelta(minutes=1) > at:
            return None  # The request that starts it may still be under way.
        # The answer to the start was lost. Asking again under the same key tells which page was opened, if any.
        starting.ask_provider(provider, attempt.id, starting.request_for(session, attempt), at=at)
        attempt = db.session.get_one(PaymentAttempt, attempt.id)
    if not provider.capabilities.fetch or attempt.provider_reference is None:
        return None
    answer = provider.fetch(attempt.provider_reference)
    # A page that cannot be closed is asked about until its own time is up: it fails when the provider says so, and
    # money that comes before then counts, and after that is kept apart.
    if answer.event is None and session.expires_at <= at and provider.capabilities.expire:
        answer = _expire(provider, attempt.provider_reference)
    return _store_answer(provider, attempt.provider_reference, answer, at)


@outbox.handles("payment_attempt.abandoned", queue=QueueName.WEBHOOKS, lease=timedelta(seconds=75))
def close_abandoned(attempt_id: int) -> None:
    """Close a page that nobody is sent to any more; whoever paid there all the same is found.

    Raises ProviderUnavailable, so that it is tried again later.
    """
    attempt = db.session.get_one(PaymentAttempt, attempt_id)
    if attempt.provider_reference is None:
        return
    try:
        provider = current_registry().get(attempt.provider)
        answer = _expire(provider, attempt.provider_reference)
    except (UnknownProvider, ProviderRejected) as error:
        log.warning("abandoned_not_closed", provider=attempt.provider, attempt_id=attempt_id, error=str(error))
        return
    _store_answer(provider, attempt.provider_reference, answer, clock.now())


@outbox.handles("provider_event.hinted", queue=QueueName.WEBHOOKS, lease=timedelta(seconds=75))
def follow_hint(event_id: int) -> None:
    """Ask about the attempts that an event hinted at, also of a finished session: money may have come twice.

    Raises ProviderUnavailable, so that it is tried again later; nothing else makes sure of a finished session.
    """
    event = db.session.get_one(ProviderEvent, event_id)
    try:
        provider = current_registry().get(event.provider)
    except UnknownProvider:
        log.warning("hint_not_followed", provider=event.provider, event_id=event_id)
        return
    at = clock.now()
    for reference in _hinted_at(event):
        try:
            answer = provider.fetch(reference)
            if answer.outcome is Outcome.PENDING and _is_stray(event, reference):
                log.warning("stray_page_closed", provider=event.provider, event_id=event_id, reference=reference)
                answer = _expire(provider, reference)
        except ProviderRejected as error:
            log.warning("hint_refused", provider=event.provider, event_id=event_id, reason=error.reason)
            continue
        except ProviderUnavailable as error:
            check_log.note_asked(provider.name, error=type(error).__name__, at=at)
            raise
        # A hint announces it, so what is found was not lost.
        _store_answer(provider, reference, answer, at)
        check_log.note_asked(provider.name, at=at)


def _hinted_at(event: ProviderEvent) -> list[str]:
    """The attempts in question: the one that was named, else all that the session has had at this provider."""
    hints = [fact for fact in facts_of(event) if fact.outcome is Outcome.HINT]
    named = [fact.attempt_reference for fact in hints if fact.attempt_reference is not None]
    if named:
        return named
    references = db.session.scalars(
        db.select(PaymentAttempt.provider_reference)
        .join(PaymentSession)
        .where(
            PaymentSession.public_id == event.session_public_id,
            PaymentAttempt.provider == event.provider,
            PaymentAttempt.provider_reference.is_not(None),
        )
        .order_by(PaymentAttempt.number)
    )
    return [reference for reference in references if reference is not None]


def _is_stray(event: ProviderEvent, reference: str) -> bool:
    """Whether an open page is one of our sessions' that no buyer may pay on: its start's answer was lost and the try
    given up, or the session is over. A page whose start may still be answered is none."""
    db.session.expire_all()
    session = db.session.scalars(
        db.select(PaymentSession).where(PaymentSession.public_id == event.session_public_id)
    ).first()
    if session is None:
        return False
    attempts = [one for one in session.attempts if one.provider == event.provider]
    named = [one for one in attempts if one.provider_reference == reference]
    if named:
        status = named[0].status
        return status is AttemptStatus.FAILED or (session.is_final and status is AttemptStatus.OPEN)
    return all(one.provider_reference is not None or one.status is AttemptStatus.FAILED for one in attempts)


def _expire(provider: Provider, reference: str) -> FetchResult:
    """Close the page of a session whose time is up, then ask once more: the buyer may have been faster."""
    try:
        provider.expire(reference)
    except ProviderRejected as error:
        log.info("expire_refused", provider=provider.name, reason=error.reason)
    return provider.fetch(reference)


def _store_answer(provider: Provider, reference: str, answer: FetchResult, at: datetime) -> bool:
    """Put an answer into the inbox; whether it tells of money that we did not know of."""
    if answer.event is None:
        return False
    parsed = answer.as_told(reference)
    word = store_event(provider.name, parsed, f"asked: {answer.raw_status}", source="poll", at=at).word
    return answer.outcome is Outcome.PAID and word in _NEWS


def _close_if_over(session_id: int) -> None:
    """Fail a session past its time when no attempt of it can be paid any more."""
    at = clock.now()
    with unit_of_work():
        session = db.session.scalars(
            db.select(PaymentSession)
            .where(PaymentSession.id == session_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        ).one()
        payable = [one for one in session.attempts if one.status not in (AttemptStatus.FAILED, AttemptStatus.PAID)]
        if session.is_final or session.expires_at > at or payable:
            return
        fail_session(session, by="job:check", at=at, reason="expired without payment")


def recover_events(*, at: datetime, reach: timedelta = timedelta(days=3)) -> int:
    """Fetch the events that providers could not deliver into the inbox; returns how many were new."""
    return sum(recover_from(provider, at=at, reach=reach) for provider in current_registry().enabled())


def recover_from(provider: Provider, *, at: datetime, reach: timedelta = timedelta(days=3)) -> int:
    """Fetch what one provider could not deliver; returns how many events were new."""
    if not isinstance(provider, RecoversEvents):
        return 0
    new = 0
    error: str | None = None
    try:
        for recovered in provider.recover_events(at - reach):
            body = recovered.body.decode("utf-8")
            answer = store_event(provider.name, recovered.parsed, body, source="poll", at=at)
            new += answer.word != "duplicate"
    except (ProviderUnavailable, ProviderRejected) as problem:
        error = type(problem).__name__
        log.warning("recovery_unanswered", provider=provider.name, error=str(problem))
    check_log.note_recovery(provider.name, new=new, error=error, at=at)
    return new


def request_provider_checks(provider: str, *, at: datetime) -> int:
    """Have a worker ask one provider about everything open there and about what it could not deliver.

    In the caller's transaction; returns how many payments will be asked about, a batch at most.
    """
    sessions = db.session.scalars(
        db.select(PaymentSession)
        .where(
            PaymentSession.status.in_((SessionStatus.CREATED, SessionStatus.PENDING)),
            db.select(PaymentAttempt.id)
            .where(
                PaymentAttempt.session_id == PaymentSession.id,
                PaymentAttempt.provider == provider,
                PaymentAttempt.status.in_(_OPEN),
            )
            .exists(),
        )
        .order_by(PaymentSession.id)
        .limit(_BATCH)
    ).all()
    for session in sessions:
        request_check(session, at=at)
    slot = int(at.timestamp()) // _AT_MOST_EVERY
    outbox.publish("provider.recovery_requested", key=f"recover:{provider}:{slot}", provider=provider)
    return len(sessions)


@outbox.handles("provider.recovery_requested", queue=QueueName.WEBHOOKS, lease=timedelta(seconds=75))
def recover_on_request(provider: str) -> None:
    """Fetch what a provider could not deliver; one that is switched off meanwhile has nothing to say."""
    try:
        found = current_registry().get(provider)
    except UnknownProvider:
        return
    recover_from(found, at=clock.now())
