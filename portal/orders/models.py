"""Carts, orders and enrolments, with the order's two state machines."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core.db import Base, UTCDateTime, status_column
from portal.core.money import Money
from portal.core.sealed import new_token
from portal.core.state import Transitions


class Cart(Base):
    """What a visitor is about to buy. Found by the token in the visitor's cookie, or by the user once signed in."""

    __tablename__ = "carts"

    id: Mapped[int] = mapped_column(primary_key=True)
    token_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), unique=True)
    # Names the cart as it stands: renewed when lines, prices or details change; becomes the order's idempotency key.
    checkout_key: Mapped[str] = mapped_column(String(64), default=new_token)
    # The buyer's details between the two screens of checkout.
    email: Mapped[str] = mapped_column(String(320), default="")
    name: Mapped[str] = mapped_column(String(120), default="")
    billing: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime, index=True)

    lines: Mapped[list["CartLine"]] = relationship(order_by="CartLine.id", cascade="all, delete-orphan")


class CartLine(Base):
    """A package in a cart. Name, price and currency are what the customer was shown; what is charged is the package's.

    A line outlives its package, so that the customer is told what is gone.
    """

    __tablename__ = "cart_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    cart_id: Mapped[int] = mapped_column(ForeignKey("carts.id", ondelete="CASCADE"))
    package_id: Mapped[int | None] = mapped_column(ForeignKey("packages.id", ondelete="SET NULL"), index=True)
    name: Mapped[str] = mapped_column(String(120))
    quantity: Mapped[int]
    unit_price_minor: Mapped[int]
    currency: Mapped[str] = mapped_column(String(3))

    package: Mapped[Package | None] = relationship()

    __table_args__ = (
        UniqueConstraint("cart_id", "package_id"),
        CheckConstraint("quantity BETWEEN 1 AND 99", name="quantity"),
    )


class OrderStatus(StrEnum):
    """Whether what was ordered has been delivered."""

    OPEN = "open"
    FULFILLED = "fulfilled"
    CANCELLED = "cancelled"


class PaymentStatus(StrEnum):
    """What has been paid of an order."""

    PENDING = "pending"
    PARTIAL = "partial"
    PAID = "paid"
    REFUNDED = "refunded"


ORDER_TRANSITIONS: Transitions[OrderStatus] = {
    OrderStatus.OPEN: frozenset({OrderStatus.FULFILLED, OrderStatus.CANCELLED}),
}
PAYMENT_TRANSITIONS: Transitions[PaymentStatus] = {
    PaymentStatus.PENDING: frozenset({PaymentStatus.PARTIAL, PaymentStatus.PAID}),
    PaymentStatus.PARTIAL: frozenset({PaymentStatus.PAID, PaymentStatus.REFUNDED}),
    PaymentStatus.PAID: frozenset({PaymentStatus.REFUNDED}),
    # The bank sent a refund back: the money is here again.
    PaymentStatus.REFUNDED: frozenset({PaymentStatus.PARTIAL, PaymentStatus.PAID}),
}


class Order(Base):
    """A purchase. Lines and totals are frozen when it is placed; later price changes alter no order."""

    __tablename__ = "orders"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {
        "status": ORDER_TRANSITIONS,
        "payment_status": PAYMENT_TRANSITIONS,
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[str] = mapped_column(String(24), unique=True)
    idempotency_key: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    # The cart it was placed from: what was bought leaves it when the money is here.
    cart_id: Mapped[int | None] = mapped_column(ForeignKey("carts.id", ondelete="SET NULL"), index=True)
    email: Mapped[str] = mapped_column(String(320))
    name: Mapped[str] = mapped_column(String(120))
    # For the invoice, when the buyer gave them: company, tax_id, line1, line2, postal_code, city, country.
    billing: Mapped[dict[str, str]] = mapped_column(JSON, default=dict)
    locale: Mapped[str] = mapped_column(String(8))
    currency: Mapped[str] = mapped_column(String(3))
    total_minor: Mapped[int]
    tax_minor: Mapped[int]
    paid_minor: Mapped[int] = mapped_column(default=0)
    refunded_minor: Mapped[int] = mapped_column(default=0)
    status: Mapped[OrderStatus] = mapped_column(status_column(OrderStatus, "order_status"), default=OrderStatus.OPEN)
    payment_status: Mapped[PaymentStatus] = mapped_column(
        status_column(PaymentStatus, "order_payment_status"), default=PaymentStatus.PENDING
    )
    placed_at: Mapped[datetime] = mapped_column(UTCDateTime)
    paid_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    lines: Mapped[list["OrderLine"]] = relationship(order_by="OrderLine.position", cascade="all, delete-orphan")
    user: Mapped[User | None] = relationship()

    __table_args__ = (
        CheckConstraint("total_minor > 0", name="total_positive"),
        CheckConstraint("paid_minor >= 0", name="paid_not_negative"),
        CheckConstraint("refunded_minor BETWEEN 0 AND paid_minor", name="refunded_within_paid"),
        Index("ix_orders_user", "user_id", "id"),
        Index("ix_orders_email", "email", "id"),
        Index("ix_orders_payment_status", "payment_status", "id"),
        Index("ix_orders_status", "status", "id"),
        Index("ix_orders_placed_at", "placed_at"),
        Index(
            "ix_orders_open_paid",
            "id",
            postgresql_where=text("status = 'open' AND payment_status <> 'pending'"),
            sqlite_where=text("status = 'open' AND payment_status <> 'pending'"),
        ),
    )

    @property
    def total(self) -> Money:
        """What is to be paid, tax included."""
        return Money(self.total_minor, self.currency)

    @property
    def rest_minor(self) -> int:
        """What is left to pay."""
        return max(self.total_minor - self.paid_minor, 0)

    @property
    def is_payable(self) -> bool:
        """Whether money is still asked for."""
        takes_money = (PaymentStatus.PENDING, PaymentStatus.PARTIAL)
        return self.status is OrderStatus.OPEN and self.payment_status in takes_money


class LineKind(StrEnum):
    """What kind of thing a line sells; decides who fulfils it."""

    PACKAGE = "package"
    SITE = "site"
    PRINT = "print"
    SUBSCRIPTION = "subscription"


class OrderLine(Base):
    """One position of an order: description, price and tax as they were when it was placed."""

    __tablename__ = "order_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    position: Mapped[int]
    kind: Mapped[LineKind] = mapped_column(status_column(LineKind, "line_kind"))
    # No ON DELETE: the database itself keeps a package that was ordered from being deleted.
    package_id: Mapped[int | None] = mapped_column(ForeignKey("packages.id"), index=True)
    description: Mapped[str] = mapped_column(String(200))
    unit_price_minor: Mapped[int]
    quantity: Mapped[int]
    tax_rate_basis_points: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]

    package: Mapped[Package | None] = relationship()
    unlocks: Mapped[list["OrderLineUnlock"]] = relationship(cascade="all, delete-orphan")

    __table_args__ = (
        UniqueConstraint("order_id", "position"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("total_minor = unit_price_minor * quantity", name="total"),
    )


class OrderLineUnlock(Base):
    """A package that a line enrols in, frozen when the order is placed: the package itself, or a bundle's contents."""

    __tablename__ = "order_line_unlocks"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_line_id: Mapped[int] = mapped_column(ForeignKey("order_lines.id", ondelete="CASCADE"))
    package_id: Mapped[int] = mapped_column(ForeignKey("packages.id"), index=True)

    package: Mapped[Package] = relationship()

    __table_args__ = (UniqueConstraint("order_line_id", "package_id"),)


class Enrolment(Base):
    """A customer's right to use a package, with the number of licences bought."""

    __tablename__ = "enrolments"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    package_id: Mapped[int] = mapped_column(ForeignKey("packages.id"), index=True)
    licences: Mapped[int] = mapped_column(default=1)
    enrolled_at: Mapped[datetime] = mapped_column(UTCDateTime)

    package: Mapped[Package] = relationship()
    user: Mapped[User] = relationship()

    __table_args__ = (
        UniqueConstraint("user_id", "package_id"),
        CheckConstraint("licences > 0", name="licences_positive"),
    )


class EnrolmentGrant(Base):
    """Which order line gave how many licences: what makes fulfilling an order twice give nothing twice."""

    __tablename__ = "enrolment_grants"

    id: Mapped[int] = mapped_column(primary_key=True)
    enrolment_id: Mapped[int] = mapped_column(ForeignKey("enrolments.id", ondelete="CASCADE"))
    order_line_id: Mapped[int] = mapped_column(ForeignKey("order_lines.id"), index=True)
    licences: Mapped[int]
    granted_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (UniqueConstraint("enrolment_id", "order_line_id"),)


class LineReturn(Base):
    """An order line whose money went back and whose licences went with it; `restored_at` when the refund failed after
    all. A line that was not handed over yet is not handed over any more."""

    __tablename__ = "order_line_returns"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_line_id: Mapped[int] = mapped_column(ForeignKey("order_lines.id"))
    # Of the money core, which this domain names by id only.
    refund_id: Mapped[int] = mapped_column(ForeignKey("refunds.id"), index=True)
    # Whether the refund named the line; otherwise it went because all money of the order did.
    is_named: Mapped[bool]
    # Whether licences were taken back then; they are given back with the money.
    had_access: Mapped[bool]
    returned_at: Mapped[datetime] = mapped_column(UTCDateTime)
    restored_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    line: Mapped[OrderLine] = relationship()

    __table_args__ = (
        # A line goes back once, until it is restored.
        Index(
            "uq_order_line_returns_standing",
            "order_line_id",
            unique=True,
            postgresql_where=text("restored_at IS NULL"),
            sqlite_where=text("restored_at IS NULL"),
        ),
    )
