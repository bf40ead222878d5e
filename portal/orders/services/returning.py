"""What becomes of an order when its money goes back: amounts, state and access, in one transaction with the books.

By default a line that is given back whole takes its licences with it; staff may leave them to the customer. When the
refund fails after all, everything comes back as it was.
"""

from datetime import datetime

from sqlalchemy import delete, or_, select, update

from portal.accounts.models import User
from portal.core import audit
from portal.core.db import db
from portal.core.faults import fault
from portal.core.state import transition
from portal.orders.models import (
    Enrolment,
    EnrolmentGrant,
    LineKind,
    LineReturn,
    Order,
    OrderLine,
    OrderStatus,
    PaymentStatus,
)
from portal.orders.queries import returned_line_ids
from portal.orders.services.fulfilling import enrol, locked_order, pays_in_full
from portal.payments import Returned
from portal.payments.models import PaymentSession


def return_money(session: PaymentSession, returned: Returned, *, at: datetime) -> None:
    """Book money of an order that went back, or came back."""
    order = locked_order(session.subject_id)
    by = audit.current_cause() or f"refund:{returned.refund_id}"
    before = {"refunded_minor": order.refunded_minor, "payment_status": order.payment_status}
    order.refunded_minor += returned.amount_minor
    became = _status_of(order)
    if became is not order.payment_status:
        transition(order, became, by=by, at=at, column="payment_status")
    fault("refund-after-order")
    if returned.amount_minor < 0:
        _restore(order, returned.refund_id, by=by, at=at)
    elif not returned.keeps_access:
        _take_back(order, returned, is_whole=pays_in_full(session, order), by=by, at=at)
    after = {"refunded_minor": order.refunded_minor, "payment_status": order.payment_status}
    audit.record("order.money_returned", actor=by, subject=f"orders:{order.id}", before=before, after=after)


def _status_of(order: Order) -> PaymentStatus:
    """Refunded when all of it went back; a part leaves an order as paid as it was."""
    if order.refunded_minor == order.paid_minor:
        return PaymentStatus.REFUNDED
    if order.payment_status is not PaymentStatus.REFUNDED:
        return order.payment_status
    return PaymentStatus.PAID if order.paid_minor >= order.total_minor else PaymentStatus.PARTIAL


def _take_back(order: Order, returned: Returned, *, is_whole: bool, by: str, at: datetime) -> None:
    is_all = order.payment_status is PaymentStatus.REFUNDED
    # The lines of a part's invoice are none of the order's.
    positions = returned.positions if is_whole else frozenset()
    gone = returned_line_ids([line.id for line in order.lines])
    for number, line in enumerate(order.lines, start=1):
        is_meant = is_all or number in positions
        if line.kind is LineKind.PACKAGE and is_meant and line.id not in gone:
            had_access = order.status is OrderStatus.FULFILLED
            if had_access:
                _revoke(line)
            db.session.add(
                LineReturn(
                    order_line_id=line.id,
                    refund_id=returned.refund_id,
                    is_named=number in positions,
                    had_access=had_access,
                    returned_at=at,
                )
            )
            after = {"line": line.position, "licences": line.quantity, "refund": returned.refund_id}
            audit.record("order.access_taken_back", actor=by, subject=f"orders:{order.id}", after=after)


def _revoke(line: OrderLine) -> None:
    """Take the licences of a line back; a customer who has others of the same package keeps those."""
    grants = db.session.execute(
        delete(EnrolmentGrant)
        .where(EnrolmentGrant.order_line_id == line.id)
        .returning(EnrolmentGrant.enrolment_id, EnrolmentGrant.licences)
        .execution_options(synchronize_session=False)
    ).all()
    for enrolment_id, licences in grants:
        # Under its lock, so that a purchase at the same moment adds to what is left, or begins anew.
        enrolment = db.session.scalars(
            select(Enrolment)
            .where(Enrolment.id == enrolment_id)
            .with_for_update()
            .execution_options(populate_existing=True)
        ).one()
        if enrolment.licences > licences:
            db.session.execute(
                update(Enrolment)
                .where(Enrolment.id == enrolment_id)
                .values(licences=Enrolment.licences - licences)
                .execution_options(synchronize_session=False)
            )
        else:
            db.session.execute(
                delete(Enrolment).where(Enrolment.id == enrolment_id).execution_options(synchronize_session=False)
            )
            db.session.expunge(enrolment)


def _restore(order: Order, refund_id: int, *, by: str, at: datetime) -> None:
    """Money is here again, so what went with it is given back: the lines of that refund, and those that went only
    because nothing of the order was paid any more."""
    lines = {line.id: line for line in order.lines}
    returns = db.session.scalars(
        select(LineReturn).where(
            LineReturn.order_line_id.in_(list(lines)),
            LineReturn.restored_at.is_(None),
            or_(LineReturn.refund_id == refund_id, LineReturn.is_named.is_(False)),
        )
    ).all()
    for one in returns:
        one.restored_at = at
        if one.had_access and order.user_id is not None:
            line = lines[one.order_line_id]
            user = db.session.get_one(User, order.user_id)
            for unlock in line.unlocks:
                enrol(user, unlock.package_id, line, at=at)
            after = {"line": line.position, "licences": line.quantity, "refund": refund_id}
            audit.record("order.access_given_again", actor=by, subject=f"orders:{order.id}", after=after)
