"""Reads of subscriptions: of one thing, for its customer's page, and what time has made due."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select

from portal.core.db import db
from portal.payments.models import Invoice, PaymentSession
from portal.subscriptions.models import ASKED_BEFORE, BillingPeriod, Subscription, SubscriptionStatus
from portal.subscriptions.services.locking import PURPOSE

_BATCH = 100


def find_for(kind: str, subject_id: int) -> Subscription | None:
    """The subscription of a thing, if it ever had one."""
    mine = (Subscription.subject_kind == kind, Subscription.subject_id == subject_id)
    found: Subscription | None = db.session.scalars(select(Subscription).where(*mine)).one_or_none()
    return found


def find_all_for(kind: str, subject_ids: Sequence[int]) -> dict[int, Subscription]:
    """The subscriptions of some things, by the thing's id; one statement."""
    if not subject_ids:
        return {}
    mine = (Subscription.subject_kind == kind, Subscription.subject_id.in_(subject_ids))
    return {one.subject_id: one for one in db.session.scalars(select(Subscription).where(*mine))}


def list_invoices(subscription: Subscription, *, limit: int = 24) -> list[Invoice]:
    """The invoices of a subscription, newest first."""
    statement = (
        select(Invoice)
        .join(PaymentSession, PaymentSession.id == Invoice.session_id)
        .where(PaymentSession.purpose == PURPOSE, PaymentSession.subject_id == subscription.id)
        .order_by(Invoice.id.desc())
        .limit(limit)
    )
    return list(db.session.scalars(statement))


def list_periods(subscription: Subscription, *, limit: int = 24) -> list[BillingPeriod]:
    """What was paid for, newest first."""
    mine = BillingPeriod.subscription_id == subscription.id
    statement = select(BillingPeriod).where(mine).order_by(BillingPeriod.starts_at.desc()).limit(limit)
    return list(db.session.scalars(statement))


def latest_payment(subscription: Subscription) -> PaymentSession | None:
    """The newest payment that was begun for a subscription."""
    statement = (
        select(PaymentSession)
        .where(PaymentSession.purpose == PURPOSE, PaymentSession.subject_id == subscription.id)
        .order_by(PaymentSession.id.desc())
        .limit(1)
    )
    found: PaymentSession | None = db.session.scalars(statement).one_or_none()
    return found


def ids_to_keep_up(*, at: datetime, after: int) -> list[int]:
    """Subscriptions that may need something now, a batch in the order of their ids: those in their grace, those whose
    period is over, and those whose customer has to be asked."""
    is_asked = and_(
        Subscription.origin_session_id.is_(None),
        Subscription.asked_at.is_(None),
        Subscription.period_ends_at <= at + ASKED_BEFORE,
    )
    is_active = Subscription.status == SubscriptionStatus.ACTIVE
    due = or_(
        Subscription.grace_ends_at.is_not(None),
        and_(is_active, Subscription.period_ends_at <= at),
        and_(is_active, is_asked),
    )
    statement = select(Subscription.id).where(due, Subscription.id > after).order_by(Subscription.id).limit(_BATCH)
    return list(db.session.scalars(statement))


def ids_charged_by_providers(*, after: int) -> list[int]:
    """Running subscriptions that a provider charges for, a batch in the order of their ids."""
    statement = (
        select(Subscription.id)
        .where(Subscription.origin_session_id.is_not(None), Subscription.id > after)
        .order_by(Subscription.id)
        .limit(_BATCH)
    )
    return list(db.session.scalars(statement))
