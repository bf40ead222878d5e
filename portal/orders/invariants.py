"""What must be true of paid orders: the money is counted, what was bought is there, the buyer was written to."""

from collections.abc import Sequence
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, String, TextClause, cast, exists, func, literal, or_, select, text

from portal.accounts.models import User
from portal.core.db import db
from portal.core.invariants import LIMIT, Breach, Reach, invariant
from portal.core.mail import MailMessage
from portal.orders.hooks import made_kinds
from portal.orders.models import (
    Enrolment,
    EnrolmentGrant,
    LineKind,
    Order,
    OrderLine,
    OrderLineUnlock,
    OrderStatus,
    PaymentStatus,
)
from portal.orders.queries import line_is_returned
from portal.orders.services import mending
from portal.orders.services.placing import PURPOSE
from portal.payments.invariants import newest_sessions
from portal.payments.models import Payment, PaymentSession, SessionStatus, Standing


def _order(one: Order) -> Breach:
    since = one.paid_at or one.placed_at
    return Breach(f"orders:{one.id}", one.number, one.email, one.total, since, reference=one.number)


def _orders(*where: ColumnElement[bool] | TextClause) -> list[Breach]:
    statement = select(Order).where(*where).order_by(Order.id).limit(LIMIT)
    return [_order(one) for one in db.session.scalars(statement)]


def is_handed_over() -> ColumnElement[bool]:
    """The orders that are handed over by being paid: nobody has to make what they hold."""
    made = exists().where(OrderLine.order_id == Order.id, OrderLine.kind.in_(made_kinds()))
    return ~made


def _newest_orders(reach: Reach) -> int:
    newest = select(Order.id).order_by(Order.id.desc()).limit(reach.rows).subquery()
    return db.session.scalar(select(func.min(newest.c.id))) or 0


def _money() -> Any:
    """What came in for the order at hand and counts."""
    return (
        select(func.coalesce(func.sum(Payment.amount_minor), 0))
        .join(PaymentSession, PaymentSession.id == Payment.session_id)
        .where(
            PaymentSession.purpose == PURPOSE,
            PaymentSession.subject_id == Order.id,
            Payment.standing == Standing.COUNTED,
        )
        .correlate(Order)
        .scalar_subquery()
    )


@invariant(
    "paid_session_unpaid_order",
    title=_l("Paid, and the order does not know"),
    advice=_l("The money counts and is not on the order. Count it: that also delivers what was bought."),
    repair=mending.count_money,
    action=_l("Count it for the order"),
)
def paid_session_unpaid_order(reach: Reach) -> Sequence[Breach]:
    """Sessions that are paid and whose order is missing, or has less than what came in for it."""
    found = db.session.execute(
        select(PaymentSession, Order.number)
        .outerjoin(Order, Order.id == PaymentSession.subject_id)
        .where(
            PaymentSession.id >= newest_sessions(reach),
            PaymentSession.status == SessionStatus.PAID,
            PaymentSession.purpose == PURPOSE,
            or_(Order.id.is_(None), Order.paid_minor < _money()),
        )
        .order_by(PaymentSession.id)
        .limit(LIMIT)
    )
    return [
        Breach(
            f"payment_sessions:{one.id}",
            number or one.description,
            one.customer_email or "",
            one.amount,
            one.paid_at,
            reference=one.public_id,
        )
        for one, number in found
    ]


@invariant(
    "order_without_money",
    title=_l("Orders paid without money"),
    advice=_l("The order says more was paid than came in. Compare it with the provider before anything is sent."),
)
def order_without_money(reach: Reach) -> Sequence[Breach]:
    """What an order has been paid is the sum of its payments that count."""
    return _orders(
        Order.id >= _newest_orders(reach), Order.payment_status != PaymentStatus.PENDING, Order.paid_minor > _money()
    )


@invariant(
    "cancelled_and_paid",
    title=_l("Paid after it was cancelled"),
    advice=_l("The money came after the order was called off. Give it back."),
)
def cancelled_and_paid(reach: Reach) -> Sequence[Breach]:
    """Money for nothing, as long as it is not refunded."""
    return _orders(
        Order.id >= _newest_orders(reach),
        Order.status == OrderStatus.CANCELLED,
        Order.payment_status.in_([PaymentStatus.PARTIAL, PaymentStatus.PAID]),
        Order.refunded_minor < Order.paid_minor,
    )


@invariant(
    "paid_not_delivered",
    title=_l("Paid, not delivered"),
    advice=_l("Nothing holds it up, and nothing was unlocked. Orders whose buyer has yet to prove the address wait."),
    repair=mending.hand_over,
    action=_l("Unlock it now"),
)
def paid_not_delivered(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # the index holds these alone
    """Open orders that are paid and do not wait for their owner."""
    waits = exists().where(User.email == Order.email, User.email_verified_at.is_(None), User.password_hash.is_not(None))
    return _orders(
        # In the words of the partial index ix_orders_open_paid.
        text("orders.status = 'open' AND orders.payment_status <> 'pending'"),
        Order.payment_status == PaymentStatus.PAID,
        or_(Order.user_id.is_not(None), ~waits),
        is_handed_over(),
    )


@invariant(
    "paid_without_enrolment",
    title=_l("Delivered, and something is missing"),
    advice=_l("The order counts as delivered and its buyer cannot open all of it."),
    repair=mending.enrol_missing,
    action=_l("Give what is missing"),
)
def paid_without_enrolment(reach: Reach) -> Sequence[Breach]:
    """Each package that a line unlocks was granted to the buyer, unless the line's money went back."""
    granted = (
        select(EnrolmentGrant.id)
        .join(Enrolment, Enrolment.id == EnrolmentGrant.enrolment_id)
        .where(EnrolmentGrant.order_line_id == OrderLine.id, Enrolment.package_id == OrderLineUnlock.package_id)
        .exists()
    )
    owed = (
        select(OrderLine.id)
        .join(OrderLineUnlock, OrderLineUnlock.order_line_id == OrderLine.id)
        .where(OrderLine.order_id == Order.id, OrderLine.kind == LineKind.PACKAGE, ~granted, ~line_is_returned())
        .exists()
    )
    return _orders(
        Order.id >= _newest_orders(reach),
        Order.status == OrderStatus.FULFILLED,
        Order.payment_status == PaymentStatus.PAID,
        owed,
    )


@invariant(
    "paid_without_receipt",
    title=_l("Paid without confirmation"),
    advice=_l("The buyer was never written to about this purchase."),
    repair=mending.write_receipt,
    action=_l("Send the confirmation"),
)
def paid_without_receipt(reach: Reach) -> Sequence[Breach]:
    """Each paid order has a confirmation in the mail log, found by its key."""
    key = literal("order:") + cast(Order.id, String) + literal(":")
    written = exists().where(MailMessage.key.in_([key + literal(template) for template in mending.receipts()]))
    return _orders(
        Order.id >= _newest_orders(reach),
        Order.payment_status == PaymentStatus.PAID,
        Order.status != OrderStatus.CANCELLED,
        ~written,
        is_handed_over(),
    )
