"""Money that goes back: refunds, what a dispute takes, and the credit notes that say so on paper."""

import uuid
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Date, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column
from portal.core.money import Money
from portal.core.state import Transitions
from portal.payments.models import Invoice, Payment, PaymentSession

# The names that others know refunds by are made in it; another one would change them all.
_PUBLIC_NAMES = uuid.UUID("6f1d1c0e-52a8-4a43-9c38-0f0c5d5f1b7a")


class RefundStatus(StrEnum):
    """The life of a refund. `asking`: the provider was or will be called, and no answer is known yet."""

    REQUESTED = "requested"
    ASKING = "asking"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


REFUND_TRANSITIONS: Transitions[RefundStatus] = {
    RefundStatus.REQUESTED: frozenset({RefundStatus.ASKING, RefundStatus.SUCCEEDED, RefundStatus.FAILED}),
    RefundStatus.ASKING: frozenset({RefundStatus.PENDING, RefundStatus.SUCCEEDED, RefundStatus.FAILED}),
    RefundStatus.PENDING: frozenset({RefundStatus.SUCCEEDED, RefundStatus.FAILED}),
    # The bank may send the money back long after the provider said that it was given.
    RefundStatus.SUCCEEDED: frozenset({RefundStatus.FAILED}),
}


class RefundOrigin(StrEnum):
    """Who began it: our staff, somebody at the provider's own pages, or a bank that decided a dispute."""

    STAFF = "staff"
    PROVIDER = "provider"
    DISPUTE = "dispute"


class RefundReason(StrEnum):
    """Why money is given back, in the words that providers know."""

    REQUESTED_BY_CUSTOMER = "requested_by_customer"
    DUPLICATE = "duplicate"
    FRAUDULENT = "fraudulent"
    OTHER = "other"


class RefundFlag(StrEnum):
    """What a person should look at: a refund that failed, that we did not make, that the provider cannot make or
    that it does not answer about."""

    FAILED = "failed"
    ELSEWHERE = "elsewhere"
    BY_HAND = "by_hand"
    UNANSWERED = "unanswered"


class Refund(Base):
    """Money of one payment that goes back. Recorded before the provider is called; a failed one counts for nothing."""

    __tablename__ = "refunds"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": REFUND_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payments.id"))
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"))
    provider: Mapped[str] = mapped_column(String(32))
    origin: Mapped[RefundOrigin] = mapped_column(status_column(RefundOrigin, "refund_origin"))
    status: Mapped[RefundStatus] = mapped_column(
        status_column(RefundStatus, "refund_status"), default=RefundStatus.REQUESTED
    )
    flag: Mapped[RefundFlag | None] = mapped_column(status_column(RefundFlag, "refund_flag"))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    reason: Mapped[RefundReason] = mapped_column(status_column(RefundReason, "refund_reason"))
    # Staff's own words; the customer does not read them.
    note: Mapped[str] = mapped_column(Text, default="")
    # The invoice lines that are given back whole, by id; empty for a free amount.
    line_ids: Mapped[list[int]] = mapped_column(JSON, default=list)
    keeps_access: Mapped[bool] = mapped_column(default=False)
    # One press of the button: the refunds of several payments share it. `wish` is what was asked for with it.
    request_key: Mapped[str] = mapped_column(String(80))
    wish: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    # What the provider is asked under, recorded before the call.
    idempotency_key: Mapped[str] = mapped_column(String(128), unique=True)
    provider_reference: Mapped[str | None] = mapped_column(String(255))
    # Given by hand: where it can be found, and on which day.
    hand_reference: Mapped[str | None] = mapped_column(String(200))
    given_on: Mapped[date | None] = mapped_column(Date)
    failure: Mapped[str | None] = mapped_column(Text)
    asks: Mapped[int] = mapped_column(default=0)
    requested_by: Mapped[str] = mapped_column(String(320))
    requested_at: Mapped[datetime] = mapped_column(UTCDateTime)
    asked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    succeeded_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    payment: Mapped[Payment] = relationship()
    session: Mapped[PaymentSession] = relationship()
    credit_notes: Mapped[list["CreditNote"]] = relationship(back_populates="refund", order_by="CreditNote.id")

    __table_args__ = (
        UniqueConstraint("request_key", "payment_id"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index(
            "uq_refunds_reference",
            "provider",
            "provider_reference",
            unique=True,
            postgresql_where=text("provider_reference IS NOT NULL"),
            sqlite_where=text("provider_reference IS NOT NULL"),
        ),
        Index("ix_refunds_payment", "payment_id", "id"),
        Index("ix_refunds_session", "session_id", "id"),
        Index("ix_refunds_status", "status", "id"),
        Index(
            "ix_refunds_succeeded_at",
            "succeeded_at",
            postgresql_where=text("succeeded_at IS NOT NULL"),
            sqlite_where=text("succeeded_at IS NOT NULL"),
        ),
        Index("ix_refunds_origin", "origin", "id"),
        Index("ix_refunds_provider", "provider", "id"),
        Index(
            "ix_refunds_flag",
            "id",
            postgresql_where=text("flag IS NOT NULL"),
            sqlite_where=text("flag IS NOT NULL"),
        ),
    )

    @property
    def public_id(self) -> str:
        """Its name for others: a uuid that always comes of the same refund, and tells nothing."""
        return str(uuid.uuid5(_PUBLIC_NAMES, self.idempotency_key))

    @property
    def amount(self) -> Money:
        """What goes back."""
        return Money(self.amount_minor, self.currency)

    @property
    def is_open(self) -> bool:
        """Whether its end is not known yet."""
        return self.status in (RefundStatus.REQUESTED, RefundStatus.ASKING, RefundStatus.PENDING)


class DisputeStatus(StrEnum):
    """The life of a dispute. `withdrawn`: closed without a decision, and nothing was taken."""

    NEEDS_RESPONSE = "needs_response"
    UNDER_REVIEW = "under_review"
    WON = "won"
    LOST = "lost"
    WITHDRAWN = "withdrawn"


_ENDS = frozenset({DisputeStatus.WON, DisputeStatus.LOST, DisputeStatus.WITHDRAWN})
DISPUTE_TRANSITIONS: Transitions[DisputeStatus] = {
    DisputeStatus.NEEDS_RESPONSE: frozenset({DisputeStatus.UNDER_REVIEW, *_ENDS}),
    DisputeStatus.UNDER_REVIEW: _ENDS,
}
OPEN_DISPUTES = (DisputeStatus.NEEDS_RESPONSE, DisputeStatus.UNDER_REVIEW)


class Dispute(Base):
    """A payment whose buyer wants the money back through the bank; staff must answer at the provider in time."""

    __tablename__ = "disputes"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": DISPUTE_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("payments.id"))
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"))
    provider: Mapped[str] = mapped_column(String(32))
    provider_reference: Mapped[str] = mapped_column(String(255))
    status: Mapped[DisputeStatus] = mapped_column(
        status_column(DisputeStatus, "dispute_status"), default=DisputeStatus.NEEDS_RESPONSE
    )
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    # In the provider's words.
    reason: Mapped[str | None] = mapped_column(String(255))
    due_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # What staff answered, and where the papers are.
    evidence: Mapped[str] = mapped_column(Text, default="")
    # The money it took, once it was lost.
    refund_id: Mapped[int | None] = mapped_column(ForeignKey("refunds.id"), unique=True)
    opened_at: Mapped[datetime] = mapped_column(UTCDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    payment: Mapped[Payment] = relationship()
    session: Mapped[PaymentSession] = relationship()
    refund: Mapped[Refund | None] = relationship()

    __table_args__ = (
        UniqueConstraint("provider", "provider_reference"),
        CheckConstraint("amount_minor > 0", name="amount_positive"),
        Index("ix_disputes_payment", "payment_id", "id"),
        Index("ix_disputes_session", "session_id", "id"),
        Index("ix_disputes_status", "status", "id"),
        Index("ix_disputes_provider", "provider", "id"),
        Index(
            "ix_disputes_open",
            "due_at",
            "id",
            postgresql_where=text("status IN ('needs_response', 'under_review')"),
            sqlite_where=text("status IN ('needs_response', 'under_review')"),
        ),
    )

    @property
    def amount(self) -> Money:
        """What is in dispute."""
        return Money(self.amount_minor, self.currency)

    @property
    def is_open(self) -> bool:
        """Whether it is not decided."""
        return self.status in OPEN_DISPUTES


class CreditNote(Base):
    """Paper for money of an invoice that went back: a gap-free number of its own series, frozen like an invoice.

    When the money came back after all, the note stays and a second one with negative amounts cancels it.
    """

    __tablename__ = "credit_notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(32), unique=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoices.id"))
    refund_id: Mapped[int] = mapped_column(ForeignKey("refunds.id"))
    cancels_id: Mapped[int | None] = mapped_column(ForeignKey("credit_notes.id"), unique=True)
    currency: Mapped[str] = mapped_column(String(3))
    net_minor: Mapped[int]
    tax_minor: Mapped[int]
    gross_minor: Mapped[int]
    issued_at: Mapped[datetime] = mapped_column(UTCDateTime)

    lines: Mapped[list["CreditNoteLine"]] = relationship(
        order_by="CreditNoteLine.position", cascade="all, delete-orphan"
    )
    invoice: Mapped[Invoice] = relationship()
    refund: Mapped[Refund] = relationship(back_populates="credit_notes")
    cancels: Mapped["CreditNote | None"] = relationship(remote_side="CreditNote.id")

    __table_args__ = (
        CheckConstraint("net_minor + tax_minor = gross_minor", name="adds_up"),
        CheckConstraint("(cancels_id IS NULL) = (gross_minor > 0)", name="direction"),
        Index("ix_credit_notes_invoice", "invoice_id", "id"),
        # A refund is credited once, and cancelled at most once.
        Index(
            "uq_credit_notes_refund",
            "refund_id",
            unique=True,
            postgresql_where=text("cancels_id IS NULL"),
            sqlite_where=text("cancels_id IS NULL"),
        ),
        Index("ix_credit_notes_refund", "refund_id", "id"),
    )


class CreditNoteLine(Base):
    """One line of a credit note: a line of the invoice, or a part of everything taxed at one rate."""

    __tablename__ = "credit_note_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    credit_note_id: Mapped[int] = mapped_column(ForeignKey("credit_notes.id", ondelete="CASCADE"))
    position: Mapped[int]
    invoice_line_id: Mapped[int | None] = mapped_column(ForeignKey("invoice_lines.id"), index=True)
    # Empty for a part of an invoice: the paper says so in its own language.
    description: Mapped[str | None] = mapped_column(String(200))
    quantity: Mapped[int]
    unit_gross_minor: Mapped[int]
    unit_net_minor: Mapped[int | None]
    tax_rate_basis_points: Mapped[int]
    net_minor: Mapped[int]
    tax_minor: Mapped[int]
    gross_minor: Mapped[int]

    __table_args__ = (
        UniqueConstraint("credit_note_id", "position"),
        CheckConstraint("net_minor + tax_minor = gross_minor", name="adds_up"),
    )

    @property
    def unit_price_minor(self) -> int:
        """The price of one as it was agreed: without tax, or with it."""
        return self.unit_gross_minor if self.unit_net_minor is None else self.unit_net_minor
