"""Comparing our books with those of the providers that charge by themselves."""

from datetime import datetime

from portal.core.db import db
from portal.payments.models import PaymentSession
from portal.payments.services import recurring
from portal.subscriptions.services.cancelling import let_go_if_due
from portal.subscriptions.services.locking import lock


def compare(subscription_id: int, *, at: datetime) -> None:
    """Have the provider asked about one subscription; its answer comes through the inbox like any news.

    One that was called off and is nearly over is let go of instead, should that have been missed.
    """
    subscription = lock(subscription_id)
    let_go_if_due(subscription, at=at)
    if subscription.origin_session_id is not None:
        recurring.request_check(db.session.get_one(PaymentSession, subscription.origin_session_id), at=at)
