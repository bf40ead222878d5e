"""When money does not come: the grace, its notices, and the end; and asking for what nobody charges by themselves."""

from datetime import datetime, timedelta

from portal.core import audit
from portal.core.state import transition
from portal.subscriptions import telling
from portal.subscriptions.models import ASKED_BEFORE, GRACE, NOTICES, EndCause, Subscription, SubscriptionStatus
from portal.subscriptions.services import moving
from portal.subscriptions.services.locking import lock
from portal.subscriptions.services.paying import subject

# So long a provider that charges by itself may be silent after a period's end, before that counts as a failure: its
# month may end a day before or after ours, and its news may be lost and asked for.
PATIENCE = timedelta(days=3)


def payment_failed(subscription: Subscription, *, next_try_at: datetime | None, by: str, at: datetime) -> None:
    """A payment was refused: the grace begins, from the first time. The caller holds the subscription.

    A further failure only says when the provider tries again. What is called off is not asked for any more.
    """
    if subscription.status is SubscriptionStatus.PAST_DUE:
        subscription.next_try_at = next_try_at
        return
    if subscription.status is not SubscriptionStatus.ACTIVE or subscription.cancels_at_period_end:
        return
    values = {
        "failed_at": at, "grace_ends_at": at + GRACE, "next_try_at": next_try_at, "last_notice_day": NOTICES[0],
    }  # fmt: skip
    transition(subscription, SubscriptionStatus.PAST_DUE, by=by, at=at, values=values)
    telling.payment_failed(subscription, NOTICES[0])
    audit.record("subscription.payment_failed", actor=by, subject=subject(subscription))


def keep_up(subscription_id: int, *, by: str = "job:subscriptions", at: datetime) -> None:
    """Do what time has made due for one subscription: ask for money, begin the grace, remind, or end it.

    Doing it again changes nothing.
    """
    subscription = lock(subscription_id)
    if subscription.status is SubscriptionStatus.PAST_DUE:
        _keep_up_grace(subscription, by=by, at=at)
    elif subscription.status is SubscriptionStatus.ACTIVE and subscription.period_ends_at is not None:
        _keep_up_period(subscription, subscription.period_ends_at, by=by, at=at)


def _keep_up_grace(subscription: Subscription, *, by: str, at: datetime) -> None:
    if subscription.grace_ends_at is None or subscription.failed_at is None:
        return
    if subscription.grace_ends_at <= at:
        moving.end(subscription, cause=EndCause.GRACE_OVER, by=by, at=at)
        telling.cancelled(subscription)
        return
    # After a standstill the newest notice is enough: three at once help nobody.
    day = max(one for one in NOTICES if subscription.failed_at + timedelta(days=one) <= at or one == NOTICES[0])
    if subscription.last_notice_day is None or day > subscription.last_notice_day:
        subscription.last_notice_day = day
        telling.payment_failed(subscription, day)


def _keep_up_period(subscription: Subscription, ends_at: datetime, *, by: str, at: datetime) -> None:
    if subscription.cancels_at_period_end:
        if ends_at <= at:
            cause = subscription.end_cause or EndCause.BY_CUSTOMER
            moving.end(subscription, cause=cause, by=by, at=at)
        return
    patience = PATIENCE if subscription.is_charged_by_provider else timedelta(0)
    if ends_at + patience <= at:
        payment_failed(subscription, next_try_at=None, by=by, at=at)
    elif not subscription.is_charged_by_provider and subscription.asked_at is None and ends_at - ASKED_BEFORE <= at:
        subscription.asked_at = at
        telling.due(subscription)
