"""Merchants, requests to become one, API keys, repeatable answers, and the links that customers get."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import User
from portal.core.db import Base, UTCDateTime, status_column
from portal.core.state import Transitions


class MerchantStatus(StrEnum):
    """Whether a merchant may sell. A suspended one keeps its records and loses its keys' power."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class Merchant(Base):
    """Somebody who sells through the portal: an account of theirs looks after it."""

    __tablename__ = "merchants"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": {
            MerchantStatus.ACTIVE: frozenset({MerchantStatus.SUSPENDED}),
            MerchantStatus.SUSPENDED: frozenset({MerchantStatus.ACTIVE}),
        }
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    owner_user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    # Stands on invoices and, unless there is a brand name, on the pay page.
    name: Mapped[str] = mapped_column(String(120))
    brand_name: Mapped[str] = mapped_column(String(60), default="")
    # "#rrggbb" in small letters, or empty for the portal's own.
    brand_color: Mapped[str] = mapped_column(String(7), default="")
    contact_email: Mapped[str] = mapped_column(String(320))
    address: Mapped[str] = mapped_column(String(300), default="")
    tax_id: Mapped[str] = mapped_column(String(32), default="")
    # The tax inside every price of this merchant.
    tax_rate_basis_points: Mapped[int] = mapped_column(default=0)
    # Names of payment providers; empty means all that the portal offers.
    allowed_providers: Mapped[list[str]] = mapped_column(JSON, default=list)
    # Hosts that buyers may be sent back to; empty means any.
    return_hosts: Mapped[list[str]] = mapped_column(JSON, default=list)
    webhook_url: Mapped[str] = mapped_column(String(2048), default="")
    # Of the key that a first payment makes for a merchant without one.
    first_key_mode: Mapped[str] = mapped_column(String(4), default="test")
    status: Mapped[MerchantStatus] = mapped_column(
        status_column(MerchantStatus, "merchant_status"), default=MerchantStatus.ACTIVE
    )
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)

    owner: Mapped[User] = relationship()

    __table_args__ = (
        CheckConstraint("tax_rate_basis_points BETWEEN 0 AND 10000", name="tax_rate"),
        CheckConstraint("first_key_mode IN ('test', 'live')", name="first_key_mode"),
        Index("ix_merchants_status", "status", "id"),
        Index("ix_merchants_contact", "contact_email", "id"),
    )

    @property
    def shown_name(self) -> str:
        """What buyers read."""
        return self.brand_name or self.name

    @property
    def is_active(self) -> bool:
        """Whether it may sell."""
        return self.status is MerchantStatus.ACTIVE


class RequestStatus(StrEnum):
    """What became of the wish to be a merchant."""

    REQUESTED = "requested"
    APPROVED = "approved"
    DECLINED = "declined"


class MerchantRequest(Base):
    """A customer's wish to become a merchant. One waits at a time; after a no they may ask again."""

    __tablename__ = "merchant_requests"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": {RequestStatus.REQUESTED: frozenset({RequestStatus.APPROVED, RequestStatus.DECLINED})}
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(120))
    contact_email: Mapped[str] = mapped_column(String(320))
    website: Mapped[str] = mapped_column(String(300), default="")
    message: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[RequestStatus] = mapped_column(
        status_column(RequestStatus, "merchant_request_status"), default=RequestStatus.REQUESTED
    )
    # What staff wrote to the customer with a no.
    answer: Mapped[str] = mapped_column(Text, default="")
    requested_at: Mapped[datetime] = mapped_column(UTCDateTime)
    decided_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    user: Mapped[User] = relationship()

    __table_args__ = (
        Index("ix_merchant_requests_user", "user_id", "id"),
        Index("ix_merchant_requests_status", "status", "id"),
        # Two windows cannot ask twice.
        Index(
            "uq_merchant_requests_waiting",
            "user_id",
            unique=True,
            postgresql_where=text("status = 'requested'"),
            sqlite_where=text("status = 'requested'"),
        ),
    )


class Scope(StrEnum):
    """What a key may do."""

    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    REFUNDS_WRITE = "refunds:write"


class ApiKey(Base):
    """What a merchant's program proves itself with. The secret is shown once and not kept; its hash is."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    mode: Mapped[str] = mapped_column(String(4))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    prefix: Mapped[str] = mapped_column(String(8))
    last_four: Mapped[str] = mapped_column(String(4))
    label: Mapped[str] = mapped_column(String(120))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    # Only of a key that nobody was there to see when it was made: sealed until its owner has looked, once.
    sealed_secret: Mapped[str | None] = mapped_column(Text)
    # The payment that made it, of such a key.
    made_by_session_id: Mapped[int | None] = mapped_column(ForeignKey("payment_sessions.id"))
    replaced_by_id: Mapped[int | None] = mapped_column(ForeignKey("api_keys.id"))
    created_by: Mapped[str] = mapped_column(String(320))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    merchant: Mapped[Merchant] = relationship()

    __table_args__ = (
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        Index("ix_api_keys_merchant", "merchant_id", "id"),
        # A merchant gets a key by itself once, whatever two payments at the same moment believe.
        Index(
            "uq_api_keys_by_itself",
            "merchant_id",
            unique=True,
            postgresql_where=text("made_by_session_id IS NOT NULL"),
            sqlite_where=text("made_by_session_id IS NOT NULL"),
        ),
        Index(
            "ix_api_keys_sealed",
            "created_at",
            postgresql_where=text("sealed_secret IS NOT NULL"),
            sqlite_where=text("sealed_secret IS NOT NULL"),
        ),
    )

    @property
    def shown(self) -> str:
        """What tells keys apart without telling the key: "sk_test_…a1B2"."""
        return f"{self.prefix}…{self.last_four}"

    def state_at(self, at: datetime) -> str:
        """active, expired or revoked."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= at else "active"

    def may(self, scope: Scope) -> bool:
        """Whether the key was given this right."""
        return scope.value in self.scopes


class RepeatableAnswer(Base):
    """What a request with an Idempotency-Key was answered, for whoever sends it again within a day."""

    __tablename__ = "repeatable_answers"

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    mode: Mapped[str] = mapped_column(String(4))
    key: Mapped[str] = mapped_column(String(255))
    # SHA-256 of what was asked; the same key with anything else is a mistake of the caller's.
    fingerprint: Mapped[str] = mapped_column(String(64))
    http_code: Mapped[int | None]
    body: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)

    __table_args__ = (UniqueConstraint("merchant_id", "mode", "key"),)


class AccessLink(Base):
    """Lets the customer of a merchant see one purchase without an account, for seven days.

    The address carries a signed reference, so nothing in this table opens anything by itself.
    """

    __tablename__ = "access_links"

    id: Mapped[int] = mapped_column(primary_key=True)
    reference: Mapped[str] = mapped_column(String(64), unique=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    session_id: Mapped[int] = mapped_column(ForeignKey("payment_sessions.id"), unique=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    merchant: Mapped[Merchant] = relationship()

    def is_good_at(self, at: datetime) -> bool:
        """Whether it still opens the purchase."""
        return self.revoked_at is None and at < self.expires_at
