"""The order of locks: payment sessions by id, then the subscription, then the thing it is for.

Settling a payment holds the session before it comes here, so whoever also ends payments takes them first.
"""

from sqlalchemy import select

from portal.core.db import db
from portal.payments.models import PaymentSession, SessionStatus
from portal.subscriptions.models import Subscription

PURPOSE = "subscription"
_OPEN = (SessionStatus.CREATED, SessionStatus.PENDING)


def lock(subscription_id: int | None) -> Subscription:
    """A subscription as it is now, held until the transaction ends."""
    subscription: Subscription = db.session.scalars(
        select(Subscription)
        .where(Subscription.id == subscription_id)
        .with_for_update(of=Subscription)
        .execution_options(populate_existing=True)
    ).one()
    return subscription


def lock_with_open_payments(subscription_id: int) -> tuple[Subscription, list[PaymentSession]]:
    """A subscription and the payments that are under way for it, newest first, held until the transaction ends."""
    sessions = db.session.scalars(
        select(PaymentSession)
        .where(
            PaymentSession.purpose == PURPOSE,
            PaymentSession.subject_id == subscription_id,
            PaymentSession.status.in_(_OPEN),
        )
        .order_by(PaymentSession.id)
        .with_for_update(of=PaymentSession)
        .execution_options(populate_existing=True)
    ).all()
    return lock(subscription_id), list(sessions)[::-1]
