"""Subscriptions for staff: a page at a time, and one with everything about it."""

from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload

from portal.accounts.models import User
from portal.admin.queries.matching import has_words, is_named
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.core.state import StatusChange, history
from portal.payments.models import Invoice
from portal.subscriptions import queries
from portal.subscriptions.errors import SubscriptionNotFound
from portal.subscriptions.models import BillingPeriod, Subscription, SubscriptionStatus


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    """What staff want to see; `state` leaves those in their grace, or about to end."""

    text: str = ""
    status: SubscriptionStatus | None = None
    state: str | None = None


def subscriptions_where(wanted: SubscriptionFilter) -> Select[Subscription]:
    """The subscriptions of a filter with their customers, for a page or for the export."""
    statement: Select[Subscription] = select(Subscription).options(joinedload(Subscription.user))
    if wanted.status is not None:
        statement = statement.where(Subscription.status == wanted.status)
    if wanted.state == "grace":
        statement = statement.where(Subscription.grace_ends_at.is_not(None))
    elif wanted.state == "ending":
        is_active = Subscription.status == SubscriptionStatus.ACTIVE
        statement = statement.where(is_active, Subscription.cancels_at_period_end.is_(True))
    if "@" in wanted.text:
        users = select(User.id).where(is_named(User.email, wanted.text.lower()))
        statement = statement.where(Subscription.user_id.in_(users))
    elif wanted.text:
        statement = statement.where(has_words(Subscription.title, wanted.text))
    return statement


def subscriptions_page(wanted: SubscriptionFilter, *, before: str | None, after: str | None) -> Page[Subscription]:
    """A page of subscriptions, newest first."""
    return paginate(subscriptions_where(wanted), Subscription.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class SubscriptionFile:
    """Everything staff see about one subscription."""

    subscription: Subscription
    periods: list[BillingPeriod]
    invoices: list[Invoice]
    changes: list[StatusChange]


def read_subscription(subscription_id: int) -> SubscriptionFile:
    """A subscription with what was paid, and its history. Raises SubscriptionNotFound."""
    subscription = db.session.scalars(
        select(Subscription)
        .where(Subscription.id == subscription_id)
        .options(joinedload(Subscription.user))
        .execution_options(populate_existing=True)
    ).one_or_none()
    if subscription is None:
        raise SubscriptionNotFound
    return SubscriptionFile(
        subscription, queries.list_periods(subscription), queries.list_invoices(subscription), history(subscription)
    )
