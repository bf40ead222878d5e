"""Subscriptions, the periods that were paid for, and the sums by month that statistics are made of."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import User
from portal.core.db import Base, UTCDateTime, status_column
from portal.core.money import Money
from portal.core.state import Transitions

# From the first payment that failed.
GRACE = timedelta(days=7)
# On which days of it the customer is written to.
NOTICES = (0, 3, 6)
# Where nobody charges by themselves, the customer is asked so long before the period ends.
ASKED_BEFORE = timedelta(days=7)


class SubscriptionStatus(StrEnum):
    """Inactive: never paid. Past due: a payment failed, and the grace runs."""

    INACTIVE = "inactive"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELLED = "cancelled"


SUBSCRIPTION_TRANSITIONS: Transitions[SubscriptionStatus] = {
    SubscriptionStatus.INACTIVE: frozenset({SubscriptionStatus.ACTIVE}),
    SubscriptionStatus.ACTIVE: frozenset({SubscriptionStatus.PAST_DUE, SubscriptionStatus.CANCELLED}),
    SubscriptionStatus.PAST_DUE: frozenset({SubscriptionStatus.ACTIVE, SubscriptionStatus.CANCELLED}),
    SubscriptionStatus.CANCELLED: frozenset({SubscriptionStatus.ACTIVE}),
}
RUNNING = (SubscriptionStatus.ACTIVE, SubscriptionStatus.PAST_DUE)


class EndCause(StrEnum):
    """Why a subscription ends or ended."""

    BY_CUSTOMER = "by_customer"
    BY_STAFF = "by_staff"
    BY_PROVIDER = "by_provider"
    GRACE_OVER = "grace_over"


class Subscription(Base):
    """An agreement to pay for one thing every so many months; `subject_kind` and `subject_id` say for what.

    One thing has one subscription, which is ended and begun again. The terms are those it was last begun with. Periods
    are half-open and counted from `anchor_at`: the current one is number `period_number`, from 0.
    """

    __tablename__ = "subscriptions"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": SUBSCRIPTION_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    subject_kind: Mapped[str] = mapped_column(String(16))
    subject_id: Mapped[int]
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str] = mapped_column(String(120))
    status: Mapped[SubscriptionStatus] = mapped_column(
        status_column(SubscriptionStatus, "subscription_status"), default=SubscriptionStatus.INACTIVE
    )
    price_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    tax_rate_basis_points: Mapped[int]
    interval_months: Mapped[int]
    anchor_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    period_number: Mapped[int] = mapped_column(default=0)
    period_starts_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    period_ends_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The payment session that began the charges a provider makes by itself; empty: the customer pays each period.
    origin_session_id: Mapped[int | None] = mapped_column(ForeignKey("payment_sessions.id"), index=True)
    # That the customer was asked to pay for the next period.
    asked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Of the grace: since when, until when, when the provider tries again, and the last notice that was sent.
    failed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    grace_ends_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    next_try_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_notice_day: Mapped[int | None]
    cancels_at_period_end: Mapped[bool] = mapped_column(default=False)
    # When it was called off, which may be before it ends; why, and what the customer said about it.
    cancelled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    end_cause: Mapped[EndCause | None] = mapped_column(status_column(EndCause, "subscription_end_cause"))
    end_note: Mapped[str] = mapped_column(Text, default="")
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    user: Mapped[User] = relationship()

    __table_args__ = (
        UniqueConstraint("subject_kind", "subject_id"),
        CheckConstraint("price_minor > 0", name="price_positive"),
        CheckConstraint("interval_months BETWEEN 1 AND 36", name="interval"),
        CheckConstraint("status = 'inactive' OR period_ends_at > period_starts_at", name="period"),
        CheckConstraint("(status = 'past_due') = (grace_ends_at IS NOT NULL)", name="grace"),
        CheckConstraint("status = 'active' OR NOT cancels_at_period_end", name="cancels_while_active"),
        # What falls due next, and the lists of the back office.
        Index("ix_subscriptions_period_end", "status", "period_ends_at"),
        Index("ix_subscriptions_status", "status", "id"),
        Index(
            "ix_subscriptions_grace",
            "grace_ends_at",
            postgresql_where=text("grace_ends_at IS NOT NULL"),
            sqlite_where=text("grace_ends_at IS NOT NULL"),
        ),
    )

    @property
    def price(self) -> Money:
        """What each period costs."""
        return Money(self.price_minor, self.currency)

    @property
    def is_running(self) -> bool:
        """Whether what is paid for is there, also while a failed payment is waited for."""
        return self.status in RUNNING

    @property
    def is_charged_by_provider(self) -> bool:
        """Whether a provider charges each period by itself."""
        return self.origin_session_id is not None


class BillingPeriod(Base):
    """A period that was paid for, by one payment session. Each is paid once."""

    __tablename__ = "billing_periods"

    id: Mapped[int] = mapped_column(primary_key=True)
    subscription_id: Mapped[int] = mapped_column(ForeignKey("subscriptions.id"))
    starts_at: Mapped[datetime] = mapped_column(UTCDateTime)
    ends_at: Mapped[datetime] = mapped_column(UTCDateTime)
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"), unique=True)
    paid_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        UniqueConstraint("subscription_id", "starts_at"),
        CheckConstraint("ends_at > starts_at", name="not_empty"),
    )


class SubscriptionMonth(Base):
    """What a month (of the business's zone, "2026-11") changed: begun and ended, with their prices for one month.

    Written in the transaction that begins or ends one, so recurring revenue is a sum over a few rows.
    """

    __tablename__ = "subscription_months"

    id: Mapped[int] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(String(7))
    currency: Mapped[str] = mapped_column(String(3))
    started_count: Mapped[int] = mapped_column(default=0)
    ended_count: Mapped[int] = mapped_column(default=0)
    added_minor: Mapped[int] = mapped_column(default=0)
    lost_minor: Mapped[int] = mapped_column(default=0)

    __table_args__ = (UniqueConstraint("month", "currency"),)
