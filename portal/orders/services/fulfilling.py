"""What a paid order unlocks. Everything here runs in the transaction that settles the money, or in the one that proves
an address: money, invoice, enrolment and mails are there together or not at all.
"""

from datetime import datetime

from flask_babel import force_locale
from flask_babel import gettext as _
from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import selectinload

from portal.accounts.models import User
from portal.accounts.services.paid_users import create_paid_user, find_user, send_set_up_link
from portal.core import audit, mail, outbox
from portal.core.db import db, is_postgresql
from portal.core.faults import fault
from portal.core.state import transition
from portal.orders import hooks
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
from portal.payments.part_payments import bill_of_part

_MONEY_TAKES = (PaymentStatus.PENDING, PaymentStatus.PARTIAL)


def settle_order(session: PaymentSession, *, at: datetime) -> None:
    """Count a payment for its order and, when it is paid in full, give the buyer what was bought; what has to be made
    first is begun by whoever makes it."""
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
    outbox.publish("order.payment_counted", key=f"order-counted:{order.id}", order_id=order.id)
    maker = hooks.maker_of(order)
    if maker is not None:
        # It is told of every payment, also of one that came when the order was being called off.
        maker.counted(order, session, by=by, at=at)
    elif order.status is OrderStatus.CANCELLED:
        _let_go(order, at=at)
    elif order.payment_status is PaymentStatus.PAID and order.status is OrderStatus.OPEN:
        _hand_over(order, by=by, at=at)


def _hand_over(order: Order, *, by: str, at: datetime) -> None:
    """Find whose it is. A purchase never opens an account that somebody else may have registered: it waits there.

    What cannot be handed over any more stays paid and open, which the board of invariants shows.
    """
    handover = hooks.handover_of(order)
    if handover is not None and not handover.may_be_given(order):
        audit.record("order.not_handed_over", actor=by, subject=f"orders:{order.id}")
        return
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
        if handover is None:
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
        handover = hooks.handover_of(order)
        if handover is not None and not handover.may_be_given(order):
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
    handover = hooks.handover_of(order)
    if handover is not None:
        handover.gives(order, user, by=by, at=at)
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


def mark_fulfilled(order_id: int, *, by: str, at: datetime) -> None:
    """Note that everything of an order was delivered, by whoever makes it; doing it again changes nothing."""
    order = locked_order(order_id)
    if order.status is OrderStatus.OPEN:
        transition(order, OrderStatus.FULFILLED, by=by, at=at)
        audit.record("order.fulfilled", actor=by, subject=f"orders:{order.id}", after={"user": order.user_id})


def describe_order(session: PaymentSession) -> BillOfSale:
    """What the invoice says: the lines as they were ordered, and the buyer as they named themselves. A payment of a
    part bills a part. The order is held from here on: another part must not bill the same rest."""
    order = locked_order(session.subject_id)
    lines = tuple(
        BillLine(line.description, line.quantity, line.unit_price_minor, line.tax_rate_basis_points)
        for line in order.lines
    )
    if not pays_in_full(session, order):
        others = [one.id for one in payments.sessions_of(PURPOSE, order.id)]
        lines = bill_of_part(lines, session.amount_minor, others, lambda _rate: _part_words(order))
    return BillOfSale(
        subject_number=order.number,
        user_id=order.user_id,
        buyer={"name": order.name, "email": order.email, **order.billing},
        lines=lines,
    )


def line_of_order(session: PaymentSession) -> str:
    """The line of business of an order: that of its first line."""
    kind = db.session.scalar(
        select(OrderLine.kind).where(OrderLine.order_id == session.subject_id, OrderLine.position == 1)
    )
    return session.purpose if kind is None else kind.value


def pays_in_full(session: PaymentSession, order: Order) -> bool:
    """Whether a payment is of the whole order, so that its invoice has the order's own lines."""
    return session.amount_minor == order.total_minor


def _part_words(order: Order) -> str:
    with force_locale(order.locale):
        return str(_("Part payment for order %(number)s", number=order.number))


def locked_order(order_id: int | None) -> Order:
    """An order with its lines, held until the transaction ends."""
    return db.session.scalars(
        select(Order)
        .where(Order.id == order_id)
        .options(selectinload(Order.lines).selectinload(OrderLine.unlocks))
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def payment_over(session: PaymentSession, *, at: datetime) -> None:
    """A payment of an order is over without money: what was kept for its buyer is let go of, and then the order too."""
    order = locked_order(session.subject_id)
    if hooks.handover_of(order) is None or order.payment_status is not PaymentStatus.PENDING:
        return
    if order.status is OrderStatus.OPEN:
        by = audit.current_cause() or f"payment_session:{session.id}"
        transition(order, OrderStatus.CANCELLED, by=by, at=at, reason="nobody paid for it in time")
    _let_go(order, at=at)


def _let_go(order: Order, *, at: datetime) -> None:
    handover = hooks.handover_of(order)
    if handover is not None:
        handover.lets_go(order, at=at)


def _send(order: Order, template: str) -> None:
    """One mail of each kind for an order, ever."""
    handover = hooks.handover_of(order)
    if handover is not None and template != "order_waiting":
        template = handover.welcome
    mail.send(template, to=order.email, locale=order.locale, key=f"order:{order.id}:{template}", order_id=order.id)
