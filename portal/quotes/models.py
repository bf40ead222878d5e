"""Model files and quotes, with their state machines."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import User
from portal.core.db import Base, UTCDateTime, status_column
from portal.core.money import Money
from portal.core.state import Transitions


class ModelFileStatus(StrEnum):
    """How far an uploaded file has come; what its measures say is its `outcome`."""

    UPLOADED = "uploaded"
    MEASURED = "measured"
    QUARANTINED = "quarantined"
    DESTROYED = "destroyed"


class ModelFile(Base):
    """A model somebody uploaded. Its bytes are in the store under a name of their own, never the customer's.

    `measures` is what `portal.quotes.measuring` found, as it stands; empty until the file is measured.
    """

    __tablename__ = "model_files"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": {
            ModelFileStatus.UPLOADED: frozenset(
                {ModelFileStatus.MEASURED, ModelFileStatus.QUARANTINED, ModelFileStatus.DESTROYED}
            ),
            ModelFileStatus.MEASURED: frozenset({ModelFileStatus.UPLOADED, ModelFileStatus.DESTROYED}),
            ModelFileStatus.QUARANTINED: frozenset({ModelFileStatus.UPLOADED, ModelFileStatus.DESTROYED}),
        }
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(255))
    format: Mapped[str] = mapped_column(String(3))
    size_bytes: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    storage_name: Mapped[str] = mapped_column(String(120), unique=True)
    status: Mapped[ModelFileStatus] = mapped_column(
        status_column(ModelFileStatus, "model_file_status"), default=ModelFileStatus.UPLOADED
    )
    # The unit the customer chose where the format has none.
    unit: Mapped[str | None] = mapped_column(String(5))
    outcome: Mapped[str | None] = mapped_column(String(8))
    measures: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    picture_name: Mapped[str | None] = mapped_column(String(120))
    mesh_name: Mapped[str | None] = mapped_column(String(120))
    # When a virus scanner looked at it, where one is configured, and what it found.
    scanned_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    virus: Mapped[str | None] = mapped_column(String(120))
    uploaded_at: Mapped[datetime] = mapped_column(UTCDateTime)
    measured_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    destroyed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.status is not ModelFileStatus.UPLOADED

    @property
    def has_unit(self) -> bool:
        """Whether its format says what it was drawn in."""
        return self.format == "3mf"

    __table_args__ = (
        CheckConstraint("size_bytes > 0", name="size_positive"),
        CheckConstraint("format IN ('3mf', 'stl', 'obj')", name="format"),
        Index("ix_model_files_user", "user_id", "id"),
        Index(
            "ix_model_files_to_measure",
            "id",
            postgresql_where=text("status = 'uploaded'"),
            sqlite_where=text("status = 'uploaded'"),
        ),
    )


class ModelAccess(Base):
    """Who opened, downloaded or destroyed a model file, and when: the custody log."""

    __tablename__ = "model_accesses"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_file_id: Mapped[int] = mapped_column(ForeignKey("model_files.id"))
    actor: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (Index("ix_model_accesses_file", "model_file_id", "id"),)


class QuoteStatus(StrEnum):
    """The life of a quote; rejected and cancelled are final, expired follows from `expires_at`."""

    DRAFT = "draft"
    PENDING = "pending"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


QUOTE_TRANSITIONS: Transitions[QuoteStatus] = {
    QuoteStatus.DRAFT: frozenset({QuoteStatus.PENDING, QuoteStatus.ACCEPTED, QuoteStatus.CANCELLED}),
    QuoteStatus.PENDING: frozenset({QuoteStatus.ACCEPTED, QuoteStatus.REJECTED, QuoteStatus.CANCELLED}),
    QuoteStatus.ACCEPTED: frozenset({QuoteStatus.CANCELLED}),
}


class Quote(Base):
    """A price for printed parts. While it is a draft it follows the price book in force; once submitted, its version,
    its prices and every step to them are frozen here.

    A draft may belong to nobody but a browser (`token_hash`); its number is drawn when somebody keeps it.
    """

    __tablename__ = "quotes"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": QUOTE_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str | None] = mapped_column(String(24), unique=True)
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    status: Mapped[QuoteStatus] = mapped_column(status_column(QuoteStatus, "quote_status"), default=QuoteStatus.DRAFT)
    locale: Mapped[str] = mapped_column(String(8))
    currency: Mapped[str] = mapped_column(String(3))
    rush: Mapped[str] = mapped_column(String(16), default="standard")
    note: Mapped[str] = mapped_column(Text, default="")
    price_book_id: Mapped[int | None] = mapped_column(ForeignKey("price_book_versions.id"), index=True)
    # The whole computation as `pricing.Price` writes it: lines, steps, totals, what staff must look at.
    pricing: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    computed_total_minor: Mapped[int] = mapped_column(default=0)
    # What is asked for: the computed total, or the one that staff set instead.
    total_minor: Mapped[int] = mapped_column(default=0)
    override_reason: Mapped[str | None] = mapped_column(Text)
    # Why staff have to look at it, as codes; empty when nothing has to be checked.
    review_reasons: Mapped[list[str]] = mapped_column(JSON, default=list)
    staff_message: Mapped[str] = mapped_column(Text, default="")
    reject_reason: Mapped[str] = mapped_column(Text, default="")
    # The day the parts are promised for, as it was shown.
    promised_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    submitted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # When staff approved the price of a pending quote: only then can the customer accept it.
    approved_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    accepted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    converted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    requote_of_id: Mapped[int | None] = mapped_column(ForeignKey("quotes.id"), index=True)

    items: Mapped[list["QuoteItem"]] = relationship(order_by="QuoteItem.position", cascade="all, delete-orphan")
    user: Mapped[User | None] = relationship()

    __table_args__ = (
        CheckConstraint("total_minor >= 0 AND computed_total_minor >= 0", name="totals_not_negative"),
        CheckConstraint("status = 'draft' OR number IS NOT NULL", name="numbered"),
        Index("ix_quotes_user", "user_id", "id"),
        Index("ix_quotes_status", "status", "id"),
        Index(
            "ix_quotes_review",
            "submitted_at",
            "id",
            postgresql_where=text("status = 'pending' AND approved_at IS NULL"),
            sqlite_where=text("status = 'pending' AND approved_at IS NULL"),
        ),
        Index("ix_quotes_expires_at", "expires_at"),
    )

    @property
    def is_draft(self) -> bool:
        """Whether it can still be changed."""
        return self.status is QuoteStatus.DRAFT

    @property
    def is_approved(self) -> bool:
        """Whether its price is firm: staff approved it, or nothing had to be checked."""
        return self.approved_at is not None

    @property
    def total(self) -> Money:
        """What is asked for, tax included."""
        return Money(self.total_minor, self.currency)

    def is_expired(self, at: datetime) -> bool:
        """Whether its price is no longer held."""
        return self.expires_at is not None and at >= self.expires_at


class QuoteItem(Base):
    """One model in a quote with how it is to be made; prices as they were computed, in minor units, tax included."""

    __tablename__ = "quote_items"

    id: Mapped[int] = mapped_column(primary_key=True)
    quote_id: Mapped[int] = mapped_column(ForeignKey("quotes.id", ondelete="CASCADE"))
    position: Mapped[int]
    model_file_id: Mapped[int] = mapped_column(ForeignKey("model_files.id"), index=True)
    # The model this one replaced, when the customer uploaded a changed one.
    revision_of_id: Mapped[int | None] = mapped_column(ForeignKey("model_files.id"), index=True)
    material: Mapped[str] = mapped_column(String(32))
    colour: Mapped[str] = mapped_column(String(32))
    finish: Mapped[str] = mapped_column(String(32))
    infill_percent: Mapped[int]
    quantity: Mapped[int]
    unit_price_minor: Mapped[int | None]
    total_minor: Mapped[int | None]

    model_file: Mapped[ModelFile] = relationship(foreign_keys=[model_file_id])

    __table_args__ = (
        UniqueConstraint("quote_id", "position"),
        CheckConstraint("quantity BETWEEN 1 AND 10000", name="quantity"),
        CheckConstraint("infill_percent BETWEEN 0 AND 100", name="infill"),
    )
