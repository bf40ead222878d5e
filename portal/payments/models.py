"""Money: what is to be paid, each try to pay it, what came in, the webhook inbox, and invoices."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column
from portal.core.money import Money
from portal.core.state import Transitions


class SessionStatus(StrEnum):
    """The life of a payment session; paid and failed are final."""

    CREATED = "created"
    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"


SESSION_TRANSITIONS: Transitions[SessionStatus] = {
    SessionStatus.CREATED: frozenset({SessionStatus.PENDING, SessionStatus.PAID, SessionStatus.FAILED}),
    SessionStatus.PENDING: frozenset({SessionStatus.PAID, SessionStatus.FAILED}),
}


class PaymentSession(Base):
    """What is to be paid, and where the buyer returns. `purpose` and `subject_id` say what for."""

    __tablename__ = "payment_sessions"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": SESSION_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    merchant_id: Mapped[int | None]
    purpose: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[int | None]
    description: Mapped[str] = mapped_column(String(200))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    mode: Mapped[str] = mapped_column(String(4))
    status: Mapped[SessionStatus] = mapped_column(
        status_column(SessionStatus, "session_status"), default=SessionStatus.CREATED
    )
    success_url: Mapped[str] = mapped_column(String(2048))
    cancel_url: Mapped[str] = mapped_column(String(2048))
    customer_email: Mapped[str | None] = mapped_column(String(320))
    customer_name: Mapped[str | None] = mapped_column(String(120))
    locale: Mapped[str] = mapped_column(String(8), default="en")
    details: Mapped[dict[str, Any]] = mapped_column("metadata", JSON, default=dict)
    # Of the payment that settled it; empty before.
    provider: Mapped[str | None] = mapped_column(String(32))
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    paid_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # When a provider is next asked about it; None once it is final.
    check_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Every how many months the provider is to charge it again; None for what is paid once.
    repeat_months: Mapped[int | None]
    # The provider's id of the subscription that its first payment began.
    subscription_reference: Mapped[str | None] = mapped_column(String(255))
    # Of a renewal: the session whose payment began the subscription.
    origin_id: Mapped[int | None] = mapped_column(ForeignKey("payment_sessions.id"))

    attempts: Mapped[list["PaymentAttempt"]] = relationship(
        back_populates="session", order_by="PaymentAttempt.number", cascade="all, delete-orphan"
    )

    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        CheckConstraint("repeat_months IS NULL OR repeat_months BETWEEN 1 AND 36", name="repeat_months"),
        Index("ix_payment_sessions_subject", "purpose", "subject_id", "id"),
        # Whoever is paid once costs these two nothing.
        Index(
            "ix_payment_sessions_subscription",
            "subscription_reference",
            postgresql_where=text("subscription_reference IS NOT NULL"),
            sqlite_where=text("subscription_reference IS NOT NULL"),
        ),
        Index(
            "ix_payment_sessions_origin",
            "origin_id",
            "id",
            postgresql_where=text("origin_id IS NOT NULL"),
            sqlite_where=text("origin_id IS NOT NULL"),
        ),
        Index("ix_payment_sessions_status", "status", "id"),
        Index("ix_payment_sessions_customer", "customer_email", "id"),
        Index("ix_payment_sessions_created_at", "created_at"),
        # A merchant's own lists; our own sales have no merchant and cost these nothing.
        Index(
            "ix_payment_sessions_merchant",
            "merchant_id",
            "mode",
            "id",
            postgresql_where=text("merchant_id IS NOT NULL"),
            sqlite_where=text("merchant_id IS NOT NULL"),
        ),
        Index(
            "ix_payment_sessions_merchant_status",
            "merchant_id",
            "mode",
            "status",
            "id",
            postgresql_where=text("merchant_id IS NOT NULL"),
            sqlite_where=text("merchant_id IS NOT NULL"),
        ),
        Index(
            "ix_payment_sessions_check",
            "check_at",
            postgresql_where=text("check_at IS NOT NULL"),
            sqlite_where=text("check_at IS NOT NULL"),
        ),
    )

    @property
    def amount(self) -> Money:
        """What is to be paid."""
        return Money(self.amount_minor, self.currency)

    @property
    def payment_status(self) -> str:
        """not_started until the money is here, then completed."""
        return "completed" if self.status is SessionStatus.PAID else "not_started"

    @property
    def is_final(self) -> bool:
        """Whether nothing moves any more."""
        return self.status in (SessionStatus.PAID, SessionStatus.FAILED)


class AttemptStatus(StrEnum):
    """One try at one provider. `unknown`: the provider was asked and no answer came back."""

    STARTING = "starting"
    OPEN = "open"
    UNKNOWN = "unknown"
    PAID = "paid"
    FAILED = "failed"


ATTEMPT_TRANSITIONS: Transitions[AttemptStatus] = {
    AttemptStatus.STARTING: frozenset(
        {AttemptStatus.OPEN, AttemptStatus.UNKNOWN, AttemptStatus.PAID, AttemptStatus.FAILED}
    ),
    AttemptStatus.UNKNOWN: frozenset({AttemptStatus.OPEN, AttemptStatus.PAID, AttemptStatus.FAILED}),
    AttemptStatus.OPEN: frozenset({AttemptStatus.PAID, AttemptStatus.FAILED}),
    # A provider may report the money after it reported a failure; the session decides what that means.
    AttemptStatus.FAILED: frozenset({AttemptStatus.PAID}),
}


class PaymentAttempt(Base):
    """One try to pay a session at one provider; recorded before the provider is called."""

    __tablename__ = "payment_attempts"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": ATTEMPT_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"))
    number: Mapped[int]
    provider: Mapped[str] = mapped_column(String(32))
    status: Mapped[AttemptStatus] = mapped_column(
        status_column(AttemptStatus, "attempt_status"), default=AttemptStatus.STARTING
    )
    idempotency_key: Mapped[str] = mapped_column(String(128), unique=True)
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    redirect_url: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    session: Mapped[PaymentSession] = relationship(back_populates="attempts")

    __table_args__ = (
        UniqueConstraint("session_id", "number"),
        Index("ix_payment_attempts_reference", "provider", "provider_reference"),
    )


class Standing(StrEnum):
    """Whether money that came in counts for its session, or is kept apart for staff to give back."""

    COUNTED = "counted"
    SURPLUS = "surplus"


class Payment(Base):
    """Money that a provider says it took. `business_key` makes one payment announced twice count once."""

    __tablename__ = "payments"

    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"))
    event_id: Mapped[int] = mapped_column(ForeignKey("provider_events.id"), index=True)
    provider: Mapped[str] = mapped_column(String(32))
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    business_key: Mapped[str] = mapped_column(String(255), unique=True)
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    standing: Mapped[Standing] = mapped_column(status_column(Standing, "standing"))
    # Why it does not count: after_failure, second_payment, wrong_amount, wrong_currency, wrong_mode.
    surplus_reason: Mapped[str | None] = mapped_column(String(32))
    received_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # What goes back of it or has gone back: the sum of its refunds that did not fail, kept under the session's lock.
    returned_minor: Mapped[int] = mapped_column(default=0, server_default="0")

    session: Mapped[PaymentSession] = relationship()

    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        CheckConstraint("returned_minor BETWEEN 0 AND amount_minor", name="returned_within_amount"),
        # At most one payment counts for a session, whatever two workers believe at once.
        Index(
            "uq_payments_counted",
            "session_id",
            unique=True,
            postgresql_where=text("standing = 'counted'"),
            sqlite_where=text("standing = 'counted'"),
        ),
        Index("ix_payments_session", "session_id", "id"),
        Index("ix_payments_reference", "provider", "provider_reference"),
        Index("ix_payments_standing", "standing", "id"),
    )

    @property
    def amount(self) -> Money:
        """What came in."""
        return Money(self.amount_minor, self.currency)

    @property
    def rest_minor(self) -> int:
        """What can still be given back."""
        return self.amount_minor - self.returned_minor


class EventStatus(StrEnum):
    """What became of a webhook. `conflict` and `unmatched` wait for staff or for the sweeper; nothing is dropped."""

    PENDING = "pending"
    APPLIED = "applied"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    UNMATCHED = "unmatched"
    CONFLICT = "conflict"
    RESOLVED = "resolved"
    FAILED = "failed"


EVENT_TRANSITIONS: Transitions[EventStatus] = {
    EventStatus.PENDING: frozenset(
        {
            EventStatus.APPLIED,
            EventStatus.DUPLICATE,
            EventStatus.IGNORED,
            EventStatus.UNMATCHED,
            EventStatus.CONFLICT,
            EventStatus.FAILED,
        }
    ),
    # A refund or dispute may overtake the payment it names.
    EventStatus.IGNORED: frozenset({EventStatus.PENDING}),
    EventStatus.UNMATCHED: frozenset({EventStatus.PENDING, EventStatus.RESOLVED}),
    EventStatus.CONFLICT: frozenset({EventStatus.RESOLVED}),
    EventStatus.FAILED: frozenset({EventStatus.PENDING}),
}


_IS_NOBODYS = text("status = 'ignored' AND session_public_id IS NULL AND payment_reference IS NOT NULL")


class ProviderEvent(Base):
    """The webhook inbox: each verified event once, as it came, with what we made of it."""

    __tablename__ = "provider_events"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": EVENT_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(String(32))
    delivery_key: Mapped[str] = mapped_column(String(255))
    event_type: Mapped[str] = mapped_column(String(128))
    # How it reached us: webhook, or poll when we asked the provider.
    source: Mapped[str] = mapped_column(String(16))
    body: Mapped[str] = mapped_column(Text)
    # The events the adapter read in it: a list of NormalisedEvent as mappings.
    normalised: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    session_public_id: Mapped[str | None] = mapped_column(String(64))
    # What it is about besides a session: the provider's id of the payment, else of the subscription.
    payment_reference: Mapped[str | None] = mapped_column(String(255))
    status: Mapped[EventStatus] = mapped_column(status_column(EventStatus, "event_status"), default=EventStatus.PENDING)
    # Why it has this status, in words for staff.
    verdict: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(default=0)
    available_at: Mapped[datetime] = mapped_column(UTCDateTime)
    received_at: Mapped[datetime] = mapped_column(UTCDateTime)
    processed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        UniqueConstraint("provider", "delivery_key"),
        Index(
            "ix_provider_events_due",
            "available_at",
            "id",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
        Index("ix_provider_events_status", "status", "id"),
        Index("ix_provider_events_payment", "payment_reference"),
        Index("ix_provider_events_session", "session_public_id", "id"),
        # Events are stored in the order in which they come, so it grows at one end only.
        Index("ix_provider_events_received_at", "received_at"),
        # News of payments that are nobody's, which the sweeper looks through.
        Index(
            "ix_provider_events_nobodys",
            "received_at",
            postgresql_where=_IS_NOBODYS,
            sqlite_where=_IS_NOBODYS,
        ),
        # What was found by asking; costs a webhook nothing.
        Index(
            "ix_provider_events_asked",
            "id",
            postgresql_where=text("source = 'poll'"),
            sqlite_where=text("source = 'poll'"),
        ),
    )


class Invoice(Base):
    """An issued invoice: a gap-free number and everything on the paper, frozen."""

    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(32), unique=True)
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    # The customer's own reference for it, such as the order number.
    subject_number: Mapped[str | None] = mapped_column(String(32), index=True)
    seller: Mapped[dict[str, Any]] = mapped_column(JSON)
    buyer: Mapped[dict[str, Any]] = mapped_column(JSON)
    locale: Mapped[str] = mapped_column(String(8))
    currency: Mapped[str] = mapped_column(String(3))
    net_minor: Mapped[int]
    tax_minor: Mapped[int]
    gross_minor: Mapped[int]
    provider: Mapped[str] = mapped_column(String(32))
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    issued_at: Mapped[datetime] = mapped_column(UTCDateTime)
    paid_at: Mapped[datetime] = mapped_column(UTCDateTime)

    lines: Mapped[list["InvoiceLine"]] = relationship(order_by="InvoiceLine.position", cascade="all, delete-orphan")
    session: Mapped[PaymentSession] = relationship()

    __table_args__ = (
        CheckConstraint("net_minor + tax_minor = gross_minor", name="adds_up"),
        Index("ix_invoices_user", "user_id", "id"),
    )


class InvoiceLine(Base):
    """One line of an invoice; tax is inside the price of one, or on top of it."""

    __tablename__ = "invoice_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoices.id", ondelete="CASCADE"))
    position: Mapped[int]
    description: Mapped[str] = mapped_column(String(200))
    quantity: Mapped[int]
    unit_gross_minor: Mapped[int]
    # The price that was agreed, where it was without tax.
    unit_net_minor: Mapped[int | None]
    tax_rate_basis_points: Mapped[int]
    net_minor: Mapped[int]
    tax_minor: Mapped[int]
    gross_minor: Mapped[int]

    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint("net_minor + tax_minor = gross_minor", name="adds_up"),
    )

    @property
    def unit_price_minor(self) -> int:
        """The price of one as it was agreed: without tax, or with it."""
        return self.unit_gross_minor if self.unit_net_minor is None else self.unit_net_minor
