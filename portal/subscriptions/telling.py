"""The mails of a subscription, written with the change that causes them; one of each kind for each occasion."""

from portal.core import mail
from portal.subscriptions.models import BillingPeriod, Subscription


def activated(subscription: Subscription, period: BillingPeriod) -> None:
    """It begins, or begins again."""
    key = f"subscription:{subscription.id}:activated:{period.id}"
    _send("subscription_activated", subscription, key, period_id=period.id)


def receipt(subscription: Subscription, period: BillingPeriod) -> None:
    """Another period was paid for."""
    key = f"subscription:{subscription.id}:receipt:{period.id}"
    _send("subscription_receipt", subscription, key, period_id=period.id)


def due(subscription: Subscription) -> None:
    """The customer is asked to pay for the next period."""
    _send("subscription_due", subscription, f"subscription:{subscription.id}:due:{_period(subscription)}")


def payment_failed(subscription: Subscription, day: int) -> None:
    """The notice of one day of the grace."""
    key = f"subscription:{subscription.id}:failed:{_period(subscription)}:{day}"
    _send("subscription_payment_failed", subscription, key, day=day)


def cancelled(subscription: Subscription) -> None:
    """It was called off, or is over: once for each time that it was."""
    at = subscription.cancelled_at or subscription.created_at
    _send("subscription_cancelled", subscription, f"subscription:{subscription.id}:cancelled:{at.timestamp():.6f}")


def _period(subscription: Subscription) -> int:
    return int(subscription.period_ends_at.timestamp()) if subscription.period_ends_at is not None else 0


def _send(template: str, subscription: Subscription, key: str, **params: int) -> None:
    user = subscription.user
    mail.send(template, to=user.email, locale=user.locale, key=key, subscription_id=subscription.id, **params)
