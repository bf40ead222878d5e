"""Where a merchant wants to be told, what there was to tell, and every try to tell it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column
from portal.core.state import Transitions
from portal.merchants.models import Merchant


class EndpointStatus(StrEnum):
    """Whether anything is sent. What happens while an endpoint is paused waits for it."""

    ACTIVE = "active"
    PAUSED = "paused"


class WebhookEndpoint(Base):
    """The address at which a merchant's program listens, one for test and one for live money."""

    __tablename__ = "webhook_endpoints"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": {
            EndpointStatus.ACTIVE: frozenset({EndpointStatus.PAUSED}),
            EndpointStatus.PAUSED: frozenset({EndpointStatus.ACTIVE}),
        }
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    mode: Mapped[str] = mapped_column(String(4))
    url: Mapped[str] = mapped_column(String(2048))
    # Both sealed. The previous one signs beside the current one until its time ends.
    sealed_secret: Mapped[str] = mapped_column(Text)
    sealed_previous: Mapped[str | None] = mapped_column(Text)
    previous_ends_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    status: Mapped[EndpointStatus] = mapped_column(
        status_column(EndpointStatus, "webhook_endpoint_status"), default=EndpointStatus.ACTIVE
    )
    # Since when nothing has arrived although something was sent; empty as soon as one delivery arrives.
    failing_since: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # After a slow answer nothing is sent until then: a program that hangs must not keep the workers from others.
    rest_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)

    merchant: Mapped[Merchant] = relationship()

    __table_args__ = (
        UniqueConstraint("merchant_id", "mode"),
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
    )

    @property
    def is_active(self) -> bool:
        """Whether deliveries are sent."""
        return self.status is EndpointStatus.ACTIVE


class MerchantEvent(Base):
    """Something that happened to a merchant, in the words it had at that moment. Rows are never changed."""

    __tablename__ = "merchant_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    # "evt_" and 32 hexadecimal digits: the webhook-id of every try.
    public_id: Mapped[str] = mapped_column(String(40), unique=True)
    merchant_id: Mapped[int] = mapped_column(ForeignKey("merchants.id"))
    mode: Mapped[str] = mapped_column(String(4))
    type: Mapped[str] = mapped_column(String(64))
    # What it happened to; events of one object are told in their order.
    object_id: Mapped[str] = mapped_column(String(64))
    # JSON, as the very text that is signed and sent.
    payload: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        CheckConstraint("mode IN ('test', 'live')", name="mode"),
        Index("ix_merchant_events_merchant", "merchant_id", "mode", "id"),
        Index("ix_merchant_events_object", "object_id", "id"),
    )


class DeliveryStatus(StrEnum):
    """Whether an event has arrived. A person can have an ended one sent once more."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookDelivery(Base):
    """One event on its way to one endpoint."""

    __tablename__ = "webhook_deliveries"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": {
            DeliveryStatus.PENDING: frozenset({DeliveryStatus.DELIVERED, DeliveryStatus.FAILED}),
            DeliveryStatus.DELIVERED: frozenset({DeliveryStatus.PENDING}),
            DeliveryStatus.FAILED: frozenset({DeliveryStatus.PENDING}),
        }
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("merchant_events.id"))
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoints.id"))
    # As the event says, for the lists and the order.
    event_type: Mapped[str] = mapped_column(String(64))
    object_id: Mapped[str] = mapped_column(String(64))
    status: Mapped[DeliveryStatus] = mapped_column(
        status_column(DeliveryStatus, "webhook_delivery_status"), default=DeliveryStatus.PENDING
    )
    # Tries ever made, and those of the present schedule, which begins anew when a person asks for it.
    attempts: Mapped[int] = mapped_column(default=0)
    tries: Mapped[int] = mapped_column(default=0)
    first_tried_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    next_try_at: Mapped[datetime] = mapped_column(UTCDateTime)
    # Until then one worker has it; a worker that died is waited for no longer.
    claimed_until: Mapped[datetime | None] = mapped_column(UTCDateTime)
    claim: Mapped[str | None] = mapped_column(String(32))
    last_http_code: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    event: Mapped[MerchantEvent] = relationship()
    endpoint: Mapped[WebhookEndpoint] = relationship()

    __table_args__ = (
        UniqueConstraint("event_id", "endpoint_id"),
        Index("ix_webhook_deliveries_endpoint", "endpoint_id", "id"),
        Index("ix_webhook_deliveries_status", "endpoint_id", "status", "id"),
        Index("ix_webhook_deliveries_type", "endpoint_id", "event_type", "id"),
        Index(
            "ix_webhook_deliveries_order",
            "endpoint_id",
            "object_id",
            "id",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
        Index(
            "ix_webhook_deliveries_due",
            "next_try_at",
            "id",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
    )


class WebhookAttempt(Base):
    """One request that was sent, or was not because its address is refused, and how it was answered."""

    __tablename__ = "webhook_attempts"

    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("webhook_deliveries.id"))
    number: Mapped[int]
    url: Mapped[str] = mapped_column(String(2048))
    started_at: Mapped[datetime] = mapped_column(UTCDateTime)
    duration_ms: Mapped[int]
    http_code: Mapped[int | None]
    # The first 4 KiB as text; whatever it holds, it is shown escaped.
    response_body: Mapped[str] = mapped_column(Text, default="")
    error: Mapped[str | None] = mapped_column(String(300))

    __table_args__ = (UniqueConstraint("delivery_id", "number"),)
