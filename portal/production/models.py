"""Sales orders, their way through production, and shipments."""

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, Date, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column
from portal.core.state import Transitions
from portal.orders.models import Order
from portal.quotes.models import Quote


class SalesOrderStatus(StrEnum):
    """Where the parts are. What has been paid is the order's `payment_status`."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    IN_PRODUCTION = "in_production"
    QUALITY_CHECK = "quality_check"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    COMPLETED = "completed"
    ON_HOLD = "on_hold"
    CANCELLED = "cancelled"


_S = SalesOrderStatus
SALES_ORDER_TRANSITIONS: Transitions[SalesOrderStatus] = {
    _S.PENDING: frozenset({_S.CONFIRMED, _S.ON_HOLD, _S.CANCELLED}),
    _S.CONFIRMED: frozenset({_S.IN_PRODUCTION, _S.ON_HOLD, _S.CANCELLED}),
    _S.IN_PRODUCTION: frozenset({_S.QUALITY_CHECK, _S.ON_HOLD}),
    # Back to production is rework.
    _S.QUALITY_CHECK: frozenset({_S.SHIPPED, _S.IN_PRODUCTION, _S.ON_HOLD}),
    _S.SHIPPED: frozenset({_S.DELIVERED}),
    _S.DELIVERED: frozenset({_S.COMPLETED}),
    # Back to where it came from (`held_from`), which the service holds to.
    _S.ON_HOLD: frozenset({_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.CANCELLED}),
}


class SalesOrder(Base):
    """An order of printed parts on its way: one for a quote, and one for an order with the number `SO-...`."""

    __tablename__ = "sales_orders"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": SALES_ORDER_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), unique=True)
    # Two people converting one quote at once: the second finds the first one's sales order.
    quote_id: Mapped[int] = mapped_column(ForeignKey("quotes.id"), unique=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    status: Mapped[SalesOrderStatus] = mapped_column(
        status_column(SalesOrderStatus, "sales_order_status"), default=SalesOrderStatus.PENDING
    )
    held_from: Mapped[str | None] = mapped_column(String(32))
    # The quote as it was accepted: parts, options, measures, prices and their steps.
    frozen: Mapped[dict[str, Any]] = mapped_column(JSON)
    # How long it keeps the machines busy; what later promises are made from.
    machine_minutes: Mapped[int] = mapped_column(default=0)
    rush: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text, default="")
    # name, company, line1, line2, city, state, zip, country, phone, email
    shipping_address: Mapped[dict[str, str]] = mapped_column(JSON)
    # The share that has to be paid before production: 10000 is all of it.
    deposit_basis_points: Mapped[int] = mapped_column(default=10_000)
    promised_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    confirmed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    production_started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    shipped_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    actual_completion_date: Mapped[date | None] = mapped_column(Date)
    cancelled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Renewed to revoke the links that were given away; empty while there is to be none.
    tracking_key: Mapped[str] = mapped_column(String(43))

    order: Mapped[Order] = relationship()
    quote: Mapped[Quote] = relationship()
    shipments: Mapped[list["Shipment"]] = relationship(order_by="Shipment.id", back_populates="sales_order")
    photos: Mapped[list["ProductionPhoto"]] = relationship(order_by="ProductionPhoto.id")

    __table_args__ = (
        CheckConstraint("deposit_basis_points BETWEEN 1 AND 10000", name="deposit"),
        CheckConstraint("machine_minutes >= 0", name="machine_minutes"),
        CheckConstraint("(status = 'on_hold') = (held_from IS NOT NULL)", name="held_from"),
        Index("ix_sales_orders_user", "user_id", "id"),
        Index("ix_sales_orders_status", "status", "id"),
        Index(
            "ix_sales_orders_board",
            "status",
            "promised_at",
            "id",
            postgresql_where=text("status NOT IN ('completed', 'cancelled')"),
            sqlite_where=text("status NOT IN ('completed', 'cancelled')"),
        ),
    )


class ProductionPhoto(Base):
    """A picture taken at the quality check, shown to the customer."""

    __tablename__ = "production_photos"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    sales_order_id: Mapped[int] = mapped_column(ForeignKey("sales_orders.id"), index=True)
    storage_name: Mapped[str] = mapped_column(String(120), unique=True)
    caption: Mapped[str] = mapped_column(String(200), default="")
    taken_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)


class ShipmentStatus(StrEnum):
    """A parcel: asked for, bought or handed over, on its way, there."""

    DRAFT = "draft"
    # The carrier was asked to buy a label and has not answered for certain.
    BUYING = "buying"
    READY = "ready"
    IN_TRANSIT = "in_transit"
    DELIVERED = "delivered"
    RETURNED = "returned"
    CANCELLED = "cancelled"


_P = ShipmentStatus
SHIPMENT_TRANSITIONS: Transitions[ShipmentStatus] = {
    _P.DRAFT: frozenset({_P.BUYING, _P.READY, _P.CANCELLED}),
    _P.BUYING: frozenset({_P.READY, _P.DRAFT, _P.CANCELLED}),
    _P.READY: frozenset({_P.IN_TRANSIT, _P.DELIVERED, _P.RETURNED, _P.CANCELLED}),
    _P.IN_TRANSIT: frozenset({_P.DELIVERED, _P.RETURNED}),
    _P.RETURNED: frozenset({_P.IN_TRANSIT, _P.DELIVERED}),
}


class LabelRefund(StrEnum):
    """What became of asking for a label's money back."""

    NONE = "none"
    # The carrier was asked and has not answered for certain.
    ASKING = "asking"
    SUBMITTED = "submitted"
    REFUNDED = "refunded"
    REJECTED = "rejected"


_L = LabelRefund
LABEL_REFUND_TRANSITIONS: Transitions[LabelRefund] = {
    _L.NONE: frozenset({_L.ASKING}),
    _L.ASKING: frozenset({_L.SUBMITTED, _L.REFUNDED, _L.REJECTED}),
    _L.SUBMITTED: frozenset({_L.REFUNDED, _L.REJECTED}),
    _L.REJECTED: frozenset({_L.ASKING}),
}


class Shipment(Base):
    """One parcel of a sales order, by a carrier's API or by hand."""

    __tablename__ = "shipments"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": SHIPMENT_TRANSITIONS,
        "refund_status": LABEL_REFUND_TRANSITIONS,
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    sales_order_id: Mapped[int] = mapped_column(ForeignKey("sales_orders.id"), index=True)
    status: Mapped[ShipmentStatus] = mapped_column(
        status_column(ShipmentStatus, "shipment_status"), default=ShipmentStatus.DRAFT
    )
    # "easypost" or "by_hand"
    source: Mapped[str] = mapped_column(String(16))
    carrier: Mapped[str] = mapped_column(String(64), default="")
    service: Mapped[str] = mapped_column(String(64), default="")
    tracking_number: Mapped[str | None] = mapped_column(String(64), index=True)
    tracking_url: Mapped[str | None] = mapped_column(String(2048))
    provider_reference: Mapped[str | None] = mapped_column(String(64), unique=True)
    tracker_reference: Mapped[str | None] = mapped_column(String(64), unique=True)
    parcel: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    rates: Mapped[list[dict[str, Any]]] = mapped_column(JSON, default=list)
    chosen_rate: Mapped[str | None] = mapped_column(String(64))
    cost_minor: Mapped[int | None]
    cost_currency: Mapped[str | None] = mapped_column(String(3))
    label_name: Mapped[str | None] = mapped_column(String(120))
    # Where the carrier keeps the label, until we have stored it.
    label_url: Mapped[str | None] = mapped_column(String(2048))
    refund_status: Mapped[LabelRefund] = mapped_column(
        status_column(LabelRefund, "label_refund_status"), default=LabelRefund.NONE
    )
    # The latest of what the carrier said, in our words (`carriers.base.ParcelState`); empty before the first.
    carrier_state: Mapped[str] = mapped_column(String(32), default="")
    expected_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Why the last call to the carrier did not work, for staff.
    trouble: Mapped[str | None] = mapped_column(Text)
    # Since when the carrier is being asked for a label, or for its money back.
    asked_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # When the carrier is asked next by itself.
    check_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    shipped_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    events: Mapped[list["ShipmentEvent"]] = relationship(order_by="ShipmentEvent.happened_at, ShipmentEvent.id")
    sales_order: Mapped[SalesOrder] = relationship(back_populates="shipments")

    __table_args__ = (
        CheckConstraint("source IN ('easypost', 'by_hand')", name="source"),
        CheckConstraint("cost_minor IS NULL OR cost_currency IS NOT NULL", name="cost_has_currency"),
        # Two members of staff pack one order at once: the second finds the first one's parcel.
        Index(
            "ix_shipments_live",
            "sales_order_id",
            unique=True,
            postgresql_where=text("status NOT IN ('cancelled', 'returned')"),
            sqlite_where=text("status NOT IN ('cancelled', 'returned')"),
        ),
        Index(
            "ix_shipments_check_at",
            "check_at",
            postgresql_where=text("check_at IS NOT NULL"),
            sqlite_where=text("check_at IS NOT NULL"),
        ),
    )


class ShipmentEvent(Base):
    """What the carrier said about a parcel, once each."""

    __tablename__ = "shipment_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    shipment_id: Mapped[int] = mapped_column(ForeignKey("shipments.id"))
    # The carrier's own identity of the event, so that a repeated or re-ordered webhook adds nothing.
    key: Mapped[str] = mapped_column(String(128))
    status: Mapped[str] = mapped_column(String(32))
    message: Mapped[str] = mapped_column(String(255), default="")
    place: Mapped[str] = mapped_column(String(120), default="")
    happened_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (UniqueConstraint("shipment_id", "key"),)
