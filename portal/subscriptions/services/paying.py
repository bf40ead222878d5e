"""Paying for a subscription: opening a payment, and what it buys once it is here.

Each payment that counts buys one period, whoever began it: the customer, or a provider that charges by itself. The one
exception is money that a provider took although the customer had cancelled: it buys nothing, and waits for staff to
give it back.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_babel import force_locale, format_date
from flask_babel import gettext as _
from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from portal.accounts.models import User
from portal.accounts.queries import billing_of
from portal.core import audit, settings
from portal.core.db import db, is_postgresql
from portal.core.money import Money
from portal.payments import BillLine, BillOfSale
from portal.payments.extension import current_registry
from portal.payments.models import PaymentSession
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.checking import end_session
from portal.payments.services.sessions import create_session
from portal.subscriptions import telling
from portal.subscriptions.errors import NothingDue, PaymentUnderWay
from portal.subscriptions.models import ASKED_BEFORE, BillingPeriod, EndCause, Subscription, SubscriptionStatus
from portal.subscriptions.months import add_months
from portal.subscriptions.services import moving
from portal.subscriptions.services.locking import PURPOSE, lock, lock_with_open_payments

_IDLE = (SubscriptionStatus.INACTIVE, SubscriptionStatus.CANCELLED)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is offered: the thing, by kind and id, what people call it, what a period costs, and the tax in it."""

    kind: str
    subject_id: int
    title: str
    price: Money
    tax_rate_basis_points: int
    interval_months: int = 1


def open_payment(terms: Terms, user: User, provider: str, *, return_url: str, at: datetime) -> PaymentSession:
    """The payment with which a customer begins a subscription, begins it again, or pays what is due.

    Asking again gives the payment that is under way. A provider that can charges every period from then on. Raises
    UnknownProvider for one that does not take the currency, NothingDue, or PaymentUnderWay when another window was
    faster and chose otherwise.
    """
    chosen = next((one for one in current_registry().for_checkout(terms.price.currency) if one.name == provider), None)
    if chosen is None:
        raise UnknownProvider
    subscription, under_way = lock_with_open_payments(_row_of(terms, user, at))
    _check_due(subscription, at)
    price = terms.price if subscription.status in _IDLE else subscription.price
    if subscription.status in _IDLE:
        # As the price does with the payment: what runs keeps the rate that it was begun with.
        subscription.tax_rate_basis_points = terms.tax_rate_basis_points
    repeats = subscription.interval_months if chosen.capabilities.recurring else None
    for session in under_way:
        if session.amount == price and session.repeat_months == repeats and session.expires_at > at:
            return session
        end_session(session, at=at)
    # Two windows that both find nothing under way: the second waited for the first at the lock.
    newest = db.session.scalar(
        select(func.max(PaymentSession.id)).where(
            PaymentSession.purpose == PURPOSE, PaymentSession.subject_id == subscription.id
        )
    )
    if newest is not None and newest not in {session.id for session in under_way}:
        session = db.session.get_one(PaymentSession, newest, populate_existing=True)
        if not session.is_final:
            if (session.amount, session.repeat_months) != (price, repeats):
                raise PaymentUnderWay
            return session
    return create_session(
        purpose=PURPOSE,
        subject_id=subscription.id,
        amount=price,
        description=subscription.title,
        success_url=return_url,
        cancel_url=return_url,
        customer_email=user.email,
        customer_name=user.name,
        locale=user.locale,
        repeat_months=repeats,
        at=at,
    )


def _row_of(terms: Terms, user: User, at: datetime) -> int:
    """The subscription of a thing, made when there is none: one statement, so two at once make one."""
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    created: int | None = db.session.scalar(
        insert(Subscription)
        .values(
            public_id=str(uuid.uuid4()),
            subject_kind=terms.kind,
            subject_id=terms.subject_id,
            user_id=user.id,
            title=terms.title[:120],
            status=SubscriptionStatus.INACTIVE,
            price_minor=terms.price.amount_minor,
            currency=terms.price.currency,
            tax_rate_basis_points=terms.tax_rate_basis_points,
            interval_months=terms.interval_months,
            period_number=0,
            cancels_at_period_end=False,
            end_note="",
            created_at=at,
        )
        .on_conflict_do_nothing(index_elements=["subject_kind", "subject_id"])
        .returning(Subscription.id)
    )
    if created is not None:
        return created
    mine = (Subscription.subject_kind == terms.kind, Subscription.subject_id == terms.subject_id)
    return int(db.session.scalars(select(Subscription.id).where(*mine)).one())


def _check_due(subscription: Subscription, at: datetime) -> None:
    if subscription.status is not SubscriptionStatus.ACTIVE:
        return
    is_asked_for = not subscription.is_charged_by_provider and not subscription.cancels_at_period_end
    if not is_asked_for or subscription.period_ends_at is None or at < subscription.period_ends_at - ASKED_BEFORE:
        raise NothingDue


@dataclass(frozen=True, slots=True)
class NextPeriod:
    """The period that a payment buys, and what it is counted from."""

    anchor_at: datetime
    number: int
    starts_at: datetime
    ends_at: datetime


def next_period(subscription: Subscription, session: PaymentSession) -> NextPeriod:
    """Which period a payment buys: the one after the last, or the first of a new count.

    A new count begins with a subscription that begins, and when a provider takes over to charge for one that is past
    due: it charges again a month after this payment, not a month after the one that failed.
    """
    paid_at = session.paid_at or session.created_at
    takes_over = session.subscription_reference is not None and session.origin_id is None
    is_past_due = subscription.status is SubscriptionStatus.PAST_DUE
    if subscription.status in _IDLE or (is_past_due and takes_over):
        anchor, number = _free_instant(subscription, paid_at), 0
        starts_at = anchor
    else:
        if subscription.anchor_at is None or subscription.period_ends_at is None:
            raise LookupError(f"subscription {subscription.id} runs without a period")
        anchor, number = subscription.anchor_at, subscription.period_number + 1
        starts_at = subscription.period_ends_at
    ends_at = add_months(anchor, (number + 1) * subscription.interval_months, settings.business_zone())
    return NextPeriod(anchor, number, starts_at, ends_at)


def _free_instant(subscription: Subscription, wanted: datetime) -> datetime:
    """When a new count begins: a moment at which no period of this subscription began before."""
    last = select(func.max(BillingPeriod.starts_at)).where(BillingPeriod.subscription_id == subscription.id)
    latest = db.session.scalar(last)
    return wanted if latest is None or wanted > latest else latest + timedelta(seconds=1)


def settle(session: PaymentSession, *, at: datetime) -> None:
    """Count a payment: it buys a period, and begins or mends what it is for. Counting it again changes nothing."""
    subscription = lock(session.subject_id)
    if period_of(session.id) is not None:
        return
    if is_unwanted(subscription, session):
        audit.record("subscription.paid_after_end", actor=_by(session), subject=subject(subscription))
        return
    coming = next_period(subscription, session)
    period = BillingPeriod(
        subscription_id=subscription.id,
        starts_at=coming.starts_at,
        ends_at=coming.ends_at,
        amount_minor=session.amount_minor,
        currency=session.currency,
        session_id=session.id,
        paid_at=session.paid_at or at,
    )
    db.session.add(period)
    db.session.flush()
    _take_over(subscription, session, at)
    was = subscription.status
    values = {
        "anchor_at": coming.anchor_at, "period_number": coming.number, "period_starts_at": coming.starts_at,
        "period_ends_at": coming.ends_at, "asked_at": None, "failed_at": None, "grace_ends_at": None,
        "next_try_at": None, "last_notice_day": None,
    }  # fmt: skip
    if was in _IDLE:
        terms = {"price_minor": session.amount_minor, "currency": session.currency}
        moving.begin(subscription, by=_by(session), at=at, values={**values, **terms})
        telling.activated(subscription, period)
    else:
        moving.go_on(subscription, by=_by(session), at=at, values=values)
        telling.receipt(subscription, period)
    audit.record(
        "subscription.period_paid",
        actor=_by(session),
        subject=subject(subscription),
        after={"starts_at": coming.starts_at.isoformat(), "ends_at": coming.ends_at.isoformat()},
    )


def is_unwanted(subscription: Subscription, session: PaymentSession) -> bool:
    """Whether a provider took this money by itself after the subscription was called off.

    What it took before and told late is the next period, which ends later then. When the grace ran out, money that
    comes after all is what everybody waited for.
    """
    if session.origin_id is None:
        return False
    if subscription.cancels_at_period_end:
        called_off_at, paid_at = subscription.cancelled_at, session.paid_at
        return called_off_at is None or paid_at is None or paid_at > called_off_at
    is_over = subscription.status is SubscriptionStatus.CANCELLED
    return is_over and subscription.end_cause is not EndCause.GRACE_OVER


def _take_over(subscription: Subscription, session: PaymentSession, at: datetime) -> None:
    """From here on the provider of this payment charges, if it does so by itself; one that did before, no more."""
    if session.origin_id is not None or session.subscription_reference is None:
        return
    moving.let_go(subscription, at=at)
    subscription.origin_session_id = session.id
    db.session.flush()


def describe(session: PaymentSession) -> BillOfSale:
    """What the invoice says: the thing and the period that is bought. The subscription is held from here on."""
    subscription = lock(session.subject_id)
    user = subscription.user
    with force_locale(session.locale):
        words = subscription.title
        if not is_unwanted(subscription, session):
            coming = next_period(subscription, session)
            words = _(
                "%(title)s, %(start)s to %(end)s",
                title=subscription.title,
                start=_day(coming.starts_at),
                end=_day(coming.ends_at),
            )
    return BillOfSale(
        subject_number=None,
        user_id=user.id,
        buyer={"name": user.name, "email": user.email, **billing_of(user.id)},
        lines=(BillLine(words, 1, session.amount_minor, subscription.tax_rate_basis_points),),
    )


def _day(at: datetime) -> str:
    return str(format_date(at.astimezone(settings.business_zone()).date(), "medium"))


def period_of(session_id: int) -> BillingPeriod | None:
    """The period that a payment bought."""
    period: BillingPeriod | None = db.session.scalar(
        select(BillingPeriod).where(BillingPeriod.session_id == session_id)
    )
    return period


def subject(subscription: Subscription) -> str:
    """What the audit log calls a subscription."""
    return f"subscriptions:{subscription.id}"


def _by(session: PaymentSession) -> str:
    return audit.current_cause() or f"payment_session:{session.id}"
