"""Sending a buyer to a provider: record the attempt, call, record the result; never a call inside a transaction."""

import time
from datetime import datetime, timedelta

import structlog

from portal.core import outbox
from portal.core.db import db, unit_of_work
from portal.core.faults import fault
from portal.core.state import transition
from portal.payments.errors import SessionClosed, SessionNotFound
from portal.payments.extension import current_registry
from portal.payments.models import AttemptStatus, PaymentAttempt, PaymentSession, SessionStatus
from portal.payments.providers.base import (
    AlreadyStarted,
    Provider,
    ProviderRejected,
    ProviderUnavailable,
    StartRequest,
    StartResult,
)
from portal.payments.providers.registry import UnknownProvider

log = structlog.get_logger(__name__)

# A buyer who gets less than this on the provider's page would be thrown out in the middle of paying.
_SHORTEST_PAGE = timedelta(minutes=35)
FIRST_CHECK = timedelta(minutes=2)
_RESUMABLE = (AttemptStatus.STARTING, AttemptStatus.UNKNOWN)
# No call to a provider takes longer, so a try that is older has no answer on its way.
_ANSWERED_WITHIN = timedelta(minutes=1)
# How long a second click waits for the address that the first one is about to record.
_LOOKS, _LOOK_EVERY_SECONDS = 15, 0.2


def start_attempt(session_id: int, provider_name: str, *, at: datetime, client_address: str | None = None) -> str:
    """Open the provider's hosted page for a session and return its address. Call it outside any transaction.

    Asking again gives the page that is already open; a try whose answer was lost is repeated under its own
    idempotency key, so no second page can be charged. `client_address` is the buyer's, where a buyer asks. Raises
    SessionNotFound, SessionClosed, UnknownProvider, ProviderUnavailable (nothing is known: ask again) or
    ProviderRejected.
    """
    try:
        return _start(session_id, provider_name, at=at, client_address=client_address)
    except AlreadyStarted:
        # That try was given up just now, so this one is a new one.
        return _start(session_id, provider_name, at=at, client_address=client_address)


def _start(session_id: int, provider_name: str, *, at: datetime, client_address: str | None) -> str:
    with unit_of_work():
        session = _locked(session_id)
        _check_open(session, at)
        provider = _provider_for(session, provider_name)
        attempt = _attempt_of(session, provider_name, at)
        if attempt.status is AttemptStatus.OPEN and attempt.redirect_url:
            return attempt.redirect_url
        request = request_for(session, attempt, client_address=client_address)
    return ask_provider(provider, attempt.id, request, at=at)


def first_attempt(session: PaymentSession, provider_name: str, *, at: datetime) -> PaymentAttempt:
    """Record the first try for a session that was opened in this very transaction, so that nobody else has one yet.

    After the commit hand it to `ask_provider`. Raises UnknownProvider.
    """
    _provider_for(session, provider_name)
    return _new_attempt(session, provider_name, number=1, at=at)


def _provider_for(session: PaymentSession, name: str) -> Provider:
    """The provider, when a session may be paid there. Raises UnknownProvider."""
    provider = current_registry().get_for(name, session.mode)
    if session.repeat_months is not None and not provider.capabilities.recurring:
        raise UnknownProvider
    return provider


def ask_provider(provider: Provider, attempt_id: int, request: StartRequest, *, at: datetime) -> str:
    """Call the provider for a recorded attempt and record what it answers, or that it did not.

    Raises ProviderUnavailable (nothing is known, unless it `is_answered`) or ProviderRejected (this try is over).
    """
    fault("start-before-provider")
    try:
        result = provider.start(request)
    except AlreadyStarted as error:
        return _opened_before(attempt_id, error, at=at)
    except ProviderUnavailable as error:
        # An answered failure is repeated for the same key for ever, so that try is over; silence decides nothing.
        became = AttemptStatus.FAILED if error.is_answered else AttemptStatus.UNKNOWN
        _note_failure(attempt_id, became, error.detail, at=at)
        raise
    except ProviderRejected as error:
        _note_failure(attempt_id, AttemptStatus.FAILED, error.detail or error.reason, at=at)
        raise
    fault("start-after-provider")
    return _record_open(attempt_id, result, at=at)


def _opened_before(attempt_id: int, error: AlreadyStarted, *, at: datetime) -> str:
    """The page that another call opened, once that call has recorded it.

    When nobody can be about to, its address was lost: the try is given up, for nobody was sent to that page. Should
    its answer come all the same, `_record_open` has the page closed; should somebody pay there, the provider's
    message is about a try that is over, and `checking.follow_hint` has it closed or the money counted. Raises
    AlreadyStarted then, and ProviderUnavailable while the other call may still be under way.
    """
    for _look in range(_LOOKS):
        with unit_of_work():
            _session, attempt = _locked_attempt(attempt_id)
            if attempt.redirect_url and attempt.status in (AttemptStatus.OPEN, AttemptStatus.PAID):
                return attempt.redirect_url
            is_under_way = attempt.status is AttemptStatus.STARTING and attempt.created_at + _ANSWERED_WITHIN > at
            if not is_under_way:
                break
        time.sleep(_LOOK_EVERY_SECONDS)
    else:
        raise ProviderUnavailable(detail=error.detail) from error
    _note_failure(attempt_id, AttemptStatus.FAILED, f"its page got lost: {error.detail}", at=at)
    raise error


def _record_open(attempt_id: int, result: StartResult, *, at: datetime) -> str:
    """Keep what the provider answered. The webhook may have been faster: then only the reference is added.

    A page that nobody waits for any more, because the try was given up or the session is over, is closed instead of
    shown: two pages that can both be paid would charge the buyer twice. Raises ProviderUnavailable then.
    """
    with unit_of_work():
        session, attempt = _locked_attempt(attempt_id)
        answer = {
            "provider_reference": result.reference,
            "redirect_url": result.redirect_url,
            "expires_at": result.expires_at,
            "error": None,
        }
        is_wanted = attempt.status is AttemptStatus.PAID or not (
            attempt.status is AttemptStatus.FAILED or session.is_final
        )
        if not is_wanted:
            outbox.publish("payment_attempt.abandoned", key=f"abandoned:{attempt.id}", attempt_id=attempt.id)
        if attempt.status in _RESUMABLE:
            became = AttemptStatus.OPEN if is_wanted else AttemptStatus.FAILED
            transition(attempt, became, by=f"provider:{attempt.provider}", at=at, values=answer)
        else:
            for name, value in answer.items():
                setattr(attempt, name, value)
        check_at = at + FIRST_CHECK
        if session.status is SessionStatus.CREATED:
            by = f"provider:{attempt.provider}"
            transition(session, SessionStatus.PENDING, by=by, at=at, values={"check_at": check_at})
        elif not session.is_final:
            session.check_at = check_at
    if not is_wanted:
        raise ProviderUnavailable(detail="the answer came after the try was over")
    return result.redirect_url


def _locked(session_id: int) -> PaymentSession:
    """The session under a row lock. Everybody who moves a session takes this lock first, then the attempt's row."""
    session: PaymentSession | None = db.session.scalar(
        db.select(PaymentSession)
        .where(PaymentSession.id == session_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if session is None:
        raise SessionNotFound
    return session


def _locked_attempt(attempt_id: int) -> tuple[PaymentSession, PaymentAttempt]:
    """An attempt as it is once its session's lock is held: what was read before may be old."""
    session = _locked(db.session.get_one(PaymentAttempt, attempt_id).session_id)
    return session, db.session.get_one(PaymentAttempt, attempt_id, populate_existing=True)


def _check_open(session: PaymentSession, at: datetime) -> None:
    if session.is_final or session.expires_at <= at:
        raise SessionClosed


def _attempt_of(session: PaymentSession, provider_name: str, at: datetime) -> PaymentAttempt:
    """The attempt to go on with at this provider, or a new one."""
    for attempt in reversed(session.attempts):
        if attempt.provider != provider_name:
            continue
        still_open = attempt.status is AttemptStatus.OPEN and (attempt.expires_at is None or attempt.expires_at > at)
        if still_open or attempt.status in _RESUMABLE:
            return attempt
    return _new_attempt(session, provider_name, number=len(session.attempts) + 1, at=at)


def _new_attempt(session: PaymentSession, provider_name: str, *, number: int, at: datetime) -> PaymentAttempt:
    attempt = PaymentAttempt(
        session=session,
        number=number,
        provider=provider_name,
        status=AttemptStatus.STARTING,
        idempotency_key=f"checkout:{session.public_id}:{number}",
        created_at=at,
    )
    db.session.add(attempt)
    db.session.flush()
    return attempt


def request_for(session: PaymentSession, attempt: PaymentAttempt, *, client_address: str | None = None) -> StartRequest:
    """What the provider is asked for an attempt: the same to the letter however often the same buyer asks."""
    return StartRequest(
        session_id=session.public_id,
        attempt=attempt.number,
        idempotency_key=attempt.idempotency_key,
        amount=session.amount,
        description=session.description,
        success_url=session.success_url,
        cancel_url=session.cancel_url,
        customer_email=session.customer_email,
        expires_at=max(session.expires_at - timedelta(minutes=5), attempt.created_at + _SHORTEST_PAGE),
        metadata={"session_id": session.public_id},
        locale=session.locale,
        client_address=client_address,
        begun_at=attempt.created_at,
        every_months=session.repeat_months,
    )


def _note_failure(attempt_id: int, status: AttemptStatus, detail: str | None, *, at: datetime) -> None:
    with unit_of_work():
        session, attempt = _locked_attempt(attempt_id)
        attempt.error = detail
        if attempt.status in _RESUMABLE and attempt.status is not status:
            transition(attempt, status, by=f"provider:{attempt.provider}", at=at, reason=detail)
        if not session.is_final and status is AttemptStatus.UNKNOWN:
            session.check_at = at + FIRST_CHECK
    log.warning("attempt_not_started", provider=attempt.provider, attempt_id=attempt_id, became=status.value)
