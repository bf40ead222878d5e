"""What is paid again and again: a provider that charges by itself, and our books that follow.

A session with `repeat_months` is started like any other. Its first payment settles it and begins a subscription at the
provider. Each renewal is a session of its own, opened in the moment its money is known and settled by the same rules:
payment, invoice and what the seller does about it. So whatever holds for a payment holds for a renewal, refunds
included.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from sqlalchemy import func, or_, select

from portal.core import clock, outbox
from portal.core.db import db
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.payments import check_log, hooks
from portal.payments.extension import current_registry
from portal.payments.hooks import SubscriptionChange, SubscriptionNews
from portal.payments.models import EventStatus, PaymentSession, ProviderEvent, SessionStatus
from portal.payments.providers.base import (
    NormalisedEvent,
    Outcome,
    ProviderRejected,
    ProviderUnavailable,
    TakesSubscriptions,
)
from portal.payments.providers.registry import UnknownProvider

log = structlog.get_logger(__name__)

Decision = tuple[EventStatus, str]
CHANGES: Mapping[Outcome, SubscriptionChange] = {
    Outcome.RENEWAL_FAILED: SubscriptionChange.RENEWAL_FAILED,
    Outcome.SUBSCRIPTION_PAUSED: SubscriptionChange.PAUSED,
    Outcome.SUBSCRIPTION_RESUMED: SubscriptionChange.RESUMED,
    Outcome.SUBSCRIPTION_ENDED: SubscriptionChange.ENDED,
}
# Whoever presses twice, or checks while somebody presses, asks once.
_AT_MOST_EVERY = 5


def is_renewal(session: PaymentSession, provider: str, fact: NormalisedEvent) -> bool:
    """Whether money for a session that is paid already is the next charge of the subscription it began."""
    return fact.subscription_reference is not None and (session.provider, session.subscription_reference) == (
        provider,
        fact.subscription_reference,
    )


def open_renewal(origin: PaymentSession, *, at: datetime) -> PaymentSession:
    """The session of one more charge, in the transaction that settles it, under the origin's lock."""
    renewal = PaymentSession(
        public_id=str(uuid.uuid4()),
        purpose=origin.purpose,
        subject_id=origin.subject_id,
        merchant_id=origin.merchant_id,
        description=origin.description,
        amount_minor=origin.amount_minor,
        currency=origin.currency,
        mode=origin.mode,
        status=SessionStatus.CREATED,
        success_url=origin.success_url,
        cancel_url=origin.cancel_url,
        customer_email=origin.customer_email,
        customer_name=origin.customer_name,
        locale=origin.locale,
        details=dict(origin.details),
        created_at=at,
        # Nobody can begin to pay it by hand.
        expires_at=at,
        check_at=None,
        origin_id=origin.id,
    )
    db.session.add(renewal)
    db.session.flush()
    return renewal


def apply_change(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Decision:
    """Tell the seller what became of a subscription, under its first session's lock, unless it is old news."""
    if session.subscription_reference is None and session.repeat_months is not None:
        # It overtook the payment that begins it; settling that has it looked at again.
        return EventStatus.IGNORED, "its first payment is not known yet"
    if not is_renewal(session, event.provider, fact):
        return EventStatus.IGNORED, "another subscription than the one that was paid for"
    happened_at = min(fact.occurred_at or at, at)
    if fact.outcome is Outcome.RENEWAL_FAILED and happened_at < _last_paid_at(session):
        return EventStatus.IGNORED, "overtaken: it was paid since"
    news = SubscriptionNews(CHANGES[fact.outcome], fact.detail, happened_at, fact.due_at)
    hooks.subscription_changed(session, news, at=at)
    return EventStatus.APPLIED, news.change.value.replace("_", " ")


def _last_paid_at(origin: PaymentSession) -> datetime:
    """When the subscription was last paid for."""
    paid_at = select(func.max(PaymentSession.paid_at)).where(
        or_(PaymentSession.id == origin.id, PaymentSession.origin_id == origin.id)
    )
    return db.session.scalars(paid_at).one() or origin.created_at


def renewals_of(origin_id: int) -> list[PaymentSession]:
    """The charges of a subscription after its first, oldest first."""
    statement = select(PaymentSession).where(PaymentSession.origin_id == origin_id).order_by(PaymentSession.id)
    return list(db.session.scalars(statement))


def request_end(session: PaymentSession, *, at: datetime) -> None:
    """Have the provider charge no more, in the caller's transaction; `session` is the one that began the subscription.

    The provider's word that it ended comes as news to the seller. Nothing is done for one that never began.
    """
    if session.subscription_reference is not None:
        outbox.publish("subscription.end_requested", key=f"end:{_once(session, at)}", session_id=session.id)


def request_check(session: PaymentSession, *, at: datetime) -> None:
    """Have the provider asked how a subscription stands, in the caller's transaction: a lost webhook is found so."""
    if session.subscription_reference is not None:
        outbox.publish("subscription.check_requested", key=f"check:{_once(session, at)}", session_id=session.id)


def _once(session: PaymentSession, at: datetime) -> str:
    """Names a session within a few seconds."""
    return f"subscription:{session.id}:{int(at.timestamp()) // _AT_MOST_EVERY}"


@outbox.handles("subscription.end_requested", queue=QueueName.WEBHOOKS, lease=timedelta(seconds=75))
def end_at_provider(session_id: int) -> None:
    """End a subscription at the provider, and take in what it says then.

    Raises ProviderUnavailable, or ProviderRejected for one that it does not know: both are tried again, and after that
    wait for a person as a failed effect.
    """
    found = _at_provider(session_id)
    if found is None:
        return
    provider, reference = found
    fault("end-before-provider")
    provider.cancel_subscription(reference)
    fault("end-after-provider")
    check_subscription(session_id)


@outbox.handles("subscription.check_requested", queue=QueueName.WEBHOOKS, lease=timedelta(seconds=75))
def check_subscription(session_id: int) -> None:
    """Ask how a subscription stands; the answer goes through the inbox. Raises ProviderUnavailable."""
    # Here, because the inbox knows this module.
    from portal.payments.services.accepting import store_event

    found = _at_provider(session_id)
    if found is None:
        return
    provider, reference = found
    name, at = db.session.get_one(PaymentSession, session_id).provider or "", clock.now()
    try:
        answer = provider.fetch_subscription(reference)
    except ProviderUnavailable as error:
        check_log.note_asked(name, error=type(error).__name__, at=at)
        raise
    except ProviderRejected as error:
        log.warning("subscription_unknown", provider=name, session_id=session_id, reason=error.reason)
        return
    if answer.event is not None:
        store_event(name, answer.as_told(reference), f"asked: {answer.raw_status}", source="poll", at=at)
    check_log.note_asked(name, at=at)


def _at_provider(session_id: int) -> tuple[TakesSubscriptions, str] | None:
    """Whom to ask about the subscription that a session began, and its id there."""
    session = db.session.get_one(PaymentSession, session_id)
    reference, name = session.subscription_reference, session.provider
    try:
        provider = current_registry().get(name or "")
    except UnknownProvider:
        log.warning("subscription_provider_away", provider=name, session_id=session_id)
        return None
    if reference is None or not isinstance(provider, TakesSubscriptions):
        return None
    return provider, reference
