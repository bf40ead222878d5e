"""The place of subscriptions in the application."""

from datetime import timedelta

from portal import payments
from portal.core import periodic
from portal.subscriptions import invariants, mails  # noqa: F401  # these register themselves
from portal.subscriptions.services import cancelling, paying
from portal.subscriptions.services.locking import PURPOSE


def register() -> None:
    """Say what payments of subscriptions bring about, and what time does to them."""
    payments.on_settled(PURPOSE, paying.settle)
    payments.describes(PURPOSE, paying.describe)
    payments.on_subscription(PURPOSE, cancelling.hear)
    periodic.every(timedelta(minutes=10), "portal.subscriptions.jobs.keep_up")
    periodic.every(timedelta(days=1), "portal.subscriptions.jobs.compare_with_providers")
