"""The sandbox company's own books. The portal reads them only through the provider protocol."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column


class PageStatus(StrEnum):
    """How a hosted page stands. All but open are final; a decline leaves it open."""

    OPEN = "open"
    PAID = "paid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class SandboxPayment(Base):
    """One hosted page: what is to be paid there, and where the buyer goes afterwards."""

    __tablename__ = "sandbox_payments"

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    idempotency_key: Mapped[str] = mapped_column(String(128), unique=True)
    session_public_id: Mapped[str] = mapped_column(String(64))
    description: Mapped[str] = mapped_column(String(200))
    amount_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))
    state: Mapped[PageStatus] = mapped_column(status_column(PageStatus, "page_status"), default=PageStatus.OPEN)
    success_url: Mapped[str] = mapped_column(String(2048))
    cancel_url: Mapped[str] = mapped_column(String(2048))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # Every how many months it is charged again once it was paid, until it was ended.
    repeat_months: Mapped[int | None]
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    charges: Mapped[list["SandboxCharge"]] = relationship(
        back_populates="payment", order_by="SandboxCharge.id", cascade="all, delete-orphan"
    )

    __table_args__ = (CheckConstraint("amount_minor > 0", name="amount_positive"),)

    @property
    def subscription_reference(self) -> str | None:
        """The company's id of the subscription that paying begins."""
        return f"sbxsub_{self.reference.removeprefix('sbx_')}" if self.repeat_months else None

    @property
    def is_repeating(self) -> bool:
        """Whether it is charged again: a subscription that began and has not ended."""
        return self.repeat_months is not None and self.state is PageStatus.PAID and self.ended_at is None


class SandboxCharge(Base):
    """Money the company took on a page; a buyer who pays twice has two."""

    __tablename__ = "sandbox_charges"

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("sandbox_payments.id"), index=True)
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    method: Mapped[str] = mapped_column(String(16))
    amount_minor: Mapped[int]
    refunded_minor: Mapped[int] = mapped_column(default=0)
    charged_at: Mapped[datetime] = mapped_column(UTCDateTime)

    payment: Mapped[SandboxPayment] = relationship(back_populates="charges")

    __table_args__ = (CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within_amount"),)


class SandboxRefund(Base):
    """Money the company gave back."""

    __tablename__ = "sandbox_refunds"

    id: Mapped[int] = mapped_column(primary_key=True)
    charge_id: Mapped[int] = mapped_column(ForeignKey("sandbox_charges.id"), index=True)
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    idempotency_key: Mapped[str] = mapped_column(String(128), unique=True)
    amount_minor: Mapped[int]
    reason: Mapped[str] = mapped_column(String(200), default="")
    refunded_at: Mapped[datetime] = mapped_column(UTCDateTime)


class SandboxEvent(Base):
    """Something the company tells the portal: every delivery of it has this id and these bytes."""

    __tablename__ = "sandbox_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    payment_id: Mapped[int] = mapped_column(ForeignKey("sandbox_payments.id"), index=True)
    webhook_id: Mapped[str] = mapped_column(String(64), unique=True)
    event_type: Mapped[str] = mapped_column(String(64))
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index(
            "ix_sandbox_events_undelivered",
            "created_at",
            postgresql_where=text("delivered_at IS NULL"),
            sqlite_where=text("delivered_at IS NULL"),
        ),
    )
