"""Calling a subscription off: now, or when its period ends; changing one's mind; and what a provider says about it."""

from datetime import datetime, timedelta

from sqlalchemy import select

from portal.core import audit, clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.faults import fault
from portal.payments import SubscriptionChange, SubscriptionNews
from portal.payments.models import PaymentSession
from portal.payments.services.checking import end_session
from portal.subscriptions import telling
from portal.subscriptions.errors import NotCancellable, NotKept
from portal.subscriptions.models import EndCause, Subscription, SubscriptionStatus
from portal.subscriptions.services import dunning, moving
from portal.subscriptions.services.locking import lock, lock_with_open_payments
from portal.subscriptions.services.paying import subject

# A provider that charges by itself is told so long before the period ends; until then its customer can change their
# mind and everything goes on as it was. Longer than any job waits, shorter than any provider charges ahead.
LET_GO_BEFORE = timedelta(hours=36)
_LONGEST_NOTE = 1_000


def cancel_now(
    subscription_id: int, *, by: str, at: datetime, note: str = "", cause: EndCause = EndCause.BY_CUSTOMER
) -> Subscription:
    """End a subscription at once; nothing is given back for the rest of the period. Doing it again changes nothing.

    Payments that are under way are closed. Raises NotCancellable for one that never began.
    """
    subscription, under_way = lock_with_open_payments(subscription_id)
    if subscription.status is SubscriptionStatus.CANCELLED:
        return subscription
    if not subscription.is_running:
        raise NotCancellable
    for session in under_way:
        end_session(session, at=at)
    was_told = subscription.cancels_at_period_end
    moving.end(subscription, cause=cause, by=by, at=at, note=note.strip()[:_LONGEST_NOTE])
    if not was_told:
        telling.cancelled(subscription)
    audit.record("subscription.cancelled", actor=by, subject=subject(subscription), detail=cause.value)
    return subscription


def cancel_at_period_end(
    subscription_id: int, *, by: str, at: datetime, note: str = "", cause: EndCause = EndCause.BY_CUSTOMER
) -> Subscription:
    """Let a subscription run out with the period that is paid for; one whose period is over ends now.

    Doing it again changes nothing. Raises NotCancellable when it does not run, or is past due: then only now is left.
    """
    subscription, under_way = lock_with_open_payments(subscription_id)
    if subscription.cancels_at_period_end:
        return subscription
    if subscription.status is not SubscriptionStatus.ACTIVE or subscription.period_ends_at is None:
        raise NotCancellable
    if subscription.period_ends_at <= at:
        return cancel_now(subscription_id, by=by, at=at, note=note, cause=cause)
    for session in under_way:
        end_session(session, at=at)
    subscription.cancels_at_period_end = True
    subscription.cancelled_at, subscription.end_cause = at, cause
    subscription.end_note = note.strip()[:_LONGEST_NOTE]
    _tell_provider_in_time(subscription, at)
    telling.cancelled(subscription)
    audit.record("subscription.cancels_at_period_end", actor=by, subject=subject(subscription), detail=cause.value)
    return subscription


def keep(subscription_id: int, *, by: str, at: datetime) -> Subscription:
    """Take back that a subscription ends with its period. Raises NotKept when it ended already or does not end."""
    subscription = lock(subscription_id)
    is_over = subscription.period_ends_at is None or subscription.period_ends_at <= at
    if not subscription.cancels_at_period_end or is_over:
        raise NotKept
    subscription.cancels_at_period_end = False
    subscription.cancelled_at, subscription.end_cause, subscription.end_note = None, None, ""
    audit.record("subscription.kept", actor=by, subject=subject(subscription))
    return subscription


def _tell_provider_in_time(subscription: Subscription, at: datetime) -> None:
    if subscription.origin_session_id is None or subscription.period_ends_at is None:
        return
    when = subscription.period_ends_at - LET_GO_BEFORE
    if when <= at:
        moving.let_go(subscription, at=at)
        return
    outbox.publish(
        "subscription.let_go_due",
        key=f"let-go:{subscription.id}:{int(subscription.period_ends_at.timestamp())}",
        available_at=when,
        subscription_id=subscription.id,
    )


@outbox.handles("subscription.let_go_due")
def let_go_when_due(subscription_id: int) -> None:
    """Tell the provider, unless the customer changed their mind. The nightly run does so too, should this get lost."""
    with unit_of_work():
        let_go_if_due(lock(subscription_id), at=clock.now())
        fault("let-go-before-commit")


def let_go_if_due(subscription: Subscription, *, at: datetime) -> None:
    """Have the provider charge no more when the period of a subscription that was called off is nearly over."""
    ends_at = subscription.period_ends_at
    if subscription.cancels_at_period_end and ends_at is not None and ends_at - LET_GO_BEFORE <= at:
        moving.let_go(subscription, at=at)


def hear(session: PaymentSession, news: SubscriptionNews, *, at: datetime) -> None:
    """Take in what a provider says about the charges it makes; the same again, or about charges we ended, is nothing.

    `session` is the one with which the charges began, and is held.
    """
    found = db.session.scalar(select(Subscription.id).where(Subscription.id == session.subject_id))
    if found is None:
        return
    subscription = lock(found)
    if subscription.origin_session_id != session.id:
        return
    match news.change:
        case SubscriptionChange.RENEWAL_FAILED:
            dunning.payment_failed(subscription, next_try_at=news.next_try_at, by=_by(session), at=at)
        case SubscriptionChange.ENDED:
            _ended_at_provider(subscription, by=_by(session), happened_at=news.happened_at, at=at)
        case _:
            # Paused and resumed: what counts is whether the next charge comes, which is watched anyway.
            audit.record(
                f"subscription.provider_{news.change.value}", actor=_by(session), subject=subject(subscription)
            )


def _ended_at_provider(subscription: Subscription, *, by: str, happened_at: datetime, at: datetime) -> None:
    """Somebody ended the charges at the provider. What is paid for stays until its end, and a grace goes on: the
    customer may still pay by the link."""
    subscription.origin_session_id = None
    audit.record("subscription.ended_at_provider", actor=by, subject=subject(subscription))
    if subscription.status is not SubscriptionStatus.ACTIVE or subscription.cancels_at_period_end:
        return
    if subscription.period_ends_at is not None and subscription.period_ends_at <= at:
        # It gave up on a charge whose failure we never heard of.
        dunning.payment_failed(subscription, next_try_at=None, by=by, at=at)
    else:
        subscription.cancels_at_period_end = True
        subscription.cancelled_at, subscription.end_cause = happened_at, EndCause.BY_PROVIDER
        telling.cancelled(subscription)


def _by(session: PaymentSession) -> str:
    return audit.current_cause() or f"payment_session:{session.id}"
