"""What a paid order unlocks. Everything here runs in the transaction that settles the money, or in the one that proves
an address: money, invoice, enrolment and mails are there together or not at all.
"""

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import selectinload

from portal.accounts.models import User
from portal.accounts.services.paid_users import create_paid_user, find_user, send_set_up_link
from portal.core import audit, mail, outbox
from portal.core.db import db, is_postgresql
from portal.core.faults import fault
from portal.core.state import transition
from portal.orders.models import (
    Enrolment,
    EnrolmentGrant,
    LineKind,
    Order,
    OrderLine,
    OrderStatus,
    PaymentStatus,
)
from portal.orders.queries import orders_waiting_for, returned_line_ids
from portal.orders.services.placing import PURPOSE
from portal.payments import BillLine, BillOfSale
from portal.payments import queries as payments
from portal.payments.invoices import hand_to_user
from portal.payments.models import PaymentSession

_MONEY_TAKES = (PaymentStatus.PENDING, PaymentStatus.PARTIAL)


def settle_order(session: PaymentSession, *, at: datetime) -> None:
    """Count a payment for its order and, when it is paid in full, give the buyer what was bought."""
    order = locked_order(session.subject_id)
    by = audit.current_cause() or f"payment_session:{session.id}"
    order.paid_minor += session.amount_minor
    if order.payment_status in _MONEY_TAKES:
        now_paid = order.paid_minor >= order.total_minor
        became = PaymentStatus.PAID if now_paid else PaymentStatus.PARTIAL
        if became is not order.payment_status:
            transition(order, became, by=by, at=at, column="payment_status")
        if now_paid:
            order.paid_at = at
    fault("fulfil-after-payment")
    outbox.publish("order.payment_counted", order_id=order.id)
    if order.payment_status is PaymentStatus.PAID and order.status is OrderStatus.OPEN:
        _hand_over(order, by=by, at=at)


def _hand_over(order: Order, *, by: str, at: datetime) -> None:
    """Find whose it is. A purchase never opens an account that somebody else may have registered: it waits there."""
    if order.user_id is not None:
        _fulfil(order, db.session.get_one(User, order.user_id), by=by, at=at)
        _send(order, "order_confirmation")
        return
    user = find_user(order.email)
    if user is None:
        user = create_paid_user(order.email, order.name, order.locale, at)
    if user.is_verified:
        _fulfil(order, user, by=by, at=at)
        _send(order, "order_confirmation")
    elif user.password_hash is None:
        # Nobody can sign in to it before the mailed link has proven the address.
        _fulfil(order, user, by=by, at=at)
        send_set_up_link(user, at)
        _send(order, "order_welcome")
    else:
        send_set_up_link(user, at)
        _send(order, "order_waiting")


def hand_over_again(order: Order, *, by: str, at: datetime) -> None:
    """Give the buyer of a paid order what they bought, should that not have happened. The caller holds the order."""
    _hand_over(order, by=by, at=at)


def send_receipt(order: Order, user: User | None) -> None:
    """Write the receipt that goes with how the order stands, should it be missing."""
    if order.status is not OrderStatus.FULFILLED:
        _send(order, "order_waiting")
    elif user is not None and user.password_hash is None and not user.is_verified:
        _send(order, "order_welcome")
    else:
        _send(order, "order_confirmation")


def claim_waiting_orders(user: User, *, at: datetime) -> None:
    """Give a user whose address is now proven the purchases that were paid for with it and waited."""
    for waiting in orders_waiting_for(user.email):
        order = locked_order(waiting.id)
        if order.user_id is not None or order.status is not OrderStatus.OPEN:
            continue
        if order.payment_status is not PaymentStatus.PAID:
            continue
        _fulfil(order, user, by=user.email, at=at)
        _send(order, "order_unlocked")


def _fulfil(order: Order, user: User, *, by: str, at: datetime) -> None:
    order.user_id = user.id
    given_back = returned_line_ids([line.id for line in order.lines])
    for line in order.lines:
        if line.kind is LineKind.PACKAGE and line.id not in given_back:
            for unlock in line.unlocks:
                enrol(user, unlock.package_id, line, at=at)
    fault("fulfil-after-enrolment")
    hand_to_user([session.id for session in payments.sessions_of(PURPOSE, order.id)], user.id)
    transition(order, OrderStatus.FULFILLED, by=by, at=at)
    audit.record("order.fulfilled", actor=by, subject=f"orders:{order.id}", after={"user": user.id})


def enrol(user: User, package_id: int, line: OrderLine, *, at: datetime) -> None:
    """Give a user the licences of an order line; doing it again gives nothing more.

    Whoever has the package already gets the licences on top. Two settlements at once for one customer: the insert that
    comes second finds the row, and the sum is made by the database.
    """
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    created = db.session.scalar(
        insert(Enrolment)
        .values(user_id=user.id, package_id=package_id, licences=line.quantity, enrolled_at=at)
        .on_conflict_do_nothing(index_elements=["user_id", "package_id"])
        .returning(Enrolment.id)
    )
    mine = (Enrolment.user_id == user.id, Enrolment.package_id == package_id)
    enrolment_id = created or db.session.scalars(select(Enrolment.id).where(*mine)).one()
    granted = db.session.scalar(
        insert(EnrolmentGrant)
        .values(enrolment_id=enrolment_id, order_line_id=line.id, licences=line.quantity, granted_at=at)
        .on_conflict_do_nothing(index_elements=["enrolment_id", "order_line_id"])
        .returning(EnrolmentGrant.id)
    )
    if granted is not None and created is None:
        db.session.execute(
            update(Enrolment)
            .where(Enrolment.id == enrolment_id)
            .values(licences=Enrolment.licences + line.quantity)
            .execution_options(synchronize_session=False)
        )


def describe_order(session: PaymentSession) -> BillOfSale:
    """What the invoice says: the lines as they were ordered, and the buyer as they named themselves."""
    order = db.session.scalars(
        select(Order).where(Order.id == session.subject_id).options(selectinload(Order.lines))
    ).one()
    return BillOfSale(
        subject_number=order.number,
        user_id=order.user_id,
        buyer={"name": order.name, "email": order.email, **order.billing},
        lines=tuple(
            BillLine(line.description, line.quantity, line.unit_price_minor, line.tax_rate_basis_points)
            for line in order.lines
        ),
    )


def locked_order(order_id: int | None) -> Order:
    """An order with its lines, held until the transaction ends."""
    return db.session.scalars(
        select(Order)
        .where(Order.id == order_id)
        .options(selectinload(Order.lines).selectinload(OrderLine.unlocks))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def _send(order: Order, template: str) -> None:
    """One mail of each kind for an order, ever."""
    mail.send(template, to=order.email, locale=order.locale, key=f"order:{order.id}:{template}", order_id=order.id)
