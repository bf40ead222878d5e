"""Beginning and ending: status, sums of the month, what was sold, and the provider, in one transaction."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from portal.core.db import db, is_postgresql
from portal.core.settings import business_zone
from portal.core.state import transition
from portal.payments.models import PaymentSession
from portal.payments.services import recurring
from portal.subscriptions.hooks import seller_of
from portal.subscriptions.models import EndCause, Subscription, SubscriptionMonth, SubscriptionStatus
from portal.subscriptions.months import month_of


def begin(subscription: Subscription, *, by: str, at: datetime, values: dict[str, Any]) -> None:
    """Let a subscription run, for the first time or again; `values` are its terms and its period."""
    fresh = {
        "cancels_at_period_end": False, "cancelled_at": None, "ended_at": None, "end_cause": None, "end_note": "",
        "started_at": at,
    }  # fmt: skip
    transition(subscription, SubscriptionStatus.ACTIVE, by=by, at=at, values={**values, **fresh})
    _count(subscription, at, started=True)
    seller_of(subscription).activated(subscription, at=at)


def go_on(subscription: Subscription, *, by: str, at: datetime, values: dict[str, Any]) -> None:
    """Let a running subscription run on; `values` are its next period."""
    if subscription.status is SubscriptionStatus.PAST_DUE:
        transition(subscription, SubscriptionStatus.ACTIVE, by=by, at=at, values=values)
        return
    for name, value in values.items():
        setattr(subscription, name, value)


def end(subscription: Subscription, *, cause: EndCause, by: str, at: datetime, note: str | None = None) -> None:
    """End a running subscription now: nobody charges for it any more, and what it unlocked is closed."""
    let_go(subscription, at=at)
    values = {
        "cancels_at_period_end": False, "grace_ends_at": None, "next_try_at": None, "end_cause": cause, "ended_at": at,
        "cancelled_at": subscription.cancelled_at or at, "origin_session_id": None,
        **({"end_note": note} if note is not None else {}),
    }  # fmt: skip
    transition(subscription, SubscriptionStatus.CANCELLED, by=by, at=at, reason=cause.value, values=values)
    _count(subscription, at, started=False)
    seller_of(subscription).ended(subscription, at=at)


def let_go(subscription: Subscription, *, at: datetime) -> None:
    """Have the provider charge no more, if one does. From here on its news is not about this subscription."""
    if subscription.origin_session_id is not None:
        recurring.request_end(db.session.get_one(PaymentSession, subscription.origin_session_id), at=at)
        subscription.origin_session_id = None
        db.session.flush()


def _count(subscription: Subscription, at: datetime, *, started: bool) -> None:
    """Add to the month's sums, by the database: two at once both count."""
    monthly_minor = subscription.price_minor // subscription.interval_months
    sums = {
        "started_count": int(started),
        "ended_count": int(not started),
        "added_minor": monthly_minor if started else 0,
        "lost_minor": 0 if started else monthly_minor,
    }
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    row = insert(SubscriptionMonth).values(month=month_of(at, business_zone()), currency=subscription.currency, **sums)
    added = {name: getattr(SubscriptionMonth, name) + getattr(row.excluded, name) for name in sums}
    db.session.execute(
        row.on_conflict_do_update(index_elements=["month", "currency"], set_=added).execution_options(
            synchronize_session=False
        )
    )
