"""Making paid orders whole again, when something that belongs to them is missing: by the services that should have
done it when the money came. Each looks first whether there is anything to do.
"""

from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select
from sqlalchemy.orm import selectinload

from portal.accounts.models import User
from portal.accounts.services.paid_users import find_user
from portal.core import audit
from portal.core.db import db
from portal.core.errors import Conflict
from portal.core.invariants import AlreadyRight
from portal.core.mail import MailMessage
from portal.orders import hooks
from portal.orders.models import Enrolment, EnrolmentGrant, LineKind, Order, OrderLine, OrderStatus, PaymentStatus
from portal.orders.queries import returned_line_ids
from portal.orders.services import fulfilling
from portal.orders.services.placing import PURPOSE
from portal.payments.models import Payment, PaymentSession, SessionStatus, Standing

_RECEIPTS = ("order_confirmation", "order_welcome", "order_waiting")


class OrderGone(Conflict):
    """A payment is for an order that does not exist."""

    code = "order_gone"
    default = _l("The order does not exist any more. Find out from the audit log what became of it.")


class WaitsForOwner(Conflict):
    """What was bought waits until the buyer has proven the address."""

    code = "waits_for_owner"
    default = _l("This waits until the buyer has proven their address. Send them the link again.")


def count_money(session_id: int, *, by: str, at: datetime) -> None:  # noqa: ARG001  # settling names the payment
    """Count a payment for its order that was not counted. Raises AlreadyRight or OrderGone."""
    session = db.session.get_one(PaymentSession, session_id, with_for_update=True, populate_existing=True)
    if session.purpose != PURPOSE or session.status is not SessionStatus.PAID:
        raise AlreadyRight
    order = _locked(session.subject_id)
    if money_of(order.id) - order.paid_minor < session.amount_minor:
        raise AlreadyRight
    fulfilling.settle_order(session, at=at)


def money_of(order_id: int) -> int:
    """What came in for an order and counts, in minor units."""
    counted = (
        select(func.coalesce(func.sum(Payment.amount_minor), 0))
        .join(PaymentSession, PaymentSession.id == Payment.session_id)
        .where(
            PaymentSession.purpose == PURPOSE,
            PaymentSession.subject_id == order_id,
            Payment.standing == Standing.COUNTED,
        )
    )
    # PostgreSQL sums to a decimal.
    return int(db.session.scalars(counted).one())


def hand_over(order_id: int, *, by: str, at: datetime) -> None:
    """Give the buyer of a paid order what they bought. Raises AlreadyRight, or WaitsForOwner."""
    order = _locked(order_id)
    if order.payment_status is not PaymentStatus.PAID or order.status is not OrderStatus.OPEN:
        raise AlreadyRight
    if hooks.maker_of(order) is not None:
        raise AlreadyRight
    user = order.user if order.user_id is not None else find_user(order.email)
    if order.user_id is None and user is not None and not user.is_verified and user.password_hash is not None:
        raise WaitsForOwner
    if order.user_id is None and user is not None and user.is_verified and has_receipt(order.id):
        # It waited, and the address was proven since.
        fulfilling.claim_waiting_orders(user, at=at)
    else:
        fulfilling.hand_over_again(order, by=by, at=at)


def enrol_missing(order_id: int, *, by: str, at: datetime) -> None:
    """Give the licences of a delivered order that its buyer does not have. Raises AlreadyRight."""
    order = _locked(order_id)
    missing = _not_granted(order)
    if order.status is not OrderStatus.FULFILLED or order.user_id is None or not missing:
        raise AlreadyRight
    user = db.session.get_one(User, order.user_id)
    for line, package_id in missing:
        fulfilling.enrol(user, package_id, line, at=at)
    given = [package_id for _line, package_id in missing]
    audit.record("order.enrolled_again", actor=by, subject=f"orders:{order.id}", after={"packages": given})


def _not_granted(order: Order) -> list[tuple[OrderLine, int]]:
    line_ids = [line.id for line in order.lines]
    returned = returned_line_ids(line_ids)
    granted = {
        (line_id, package_id)
        for line_id, package_id in db.session.execute(
            select(EnrolmentGrant.order_line_id, Enrolment.package_id)
            .join(Enrolment, Enrolment.id == EnrolmentGrant.enrolment_id)
            .where(EnrolmentGrant.order_line_id.in_(line_ids))
        )
    }
    return [
        (line, unlock.package_id)
        for line in order.lines
        if line.kind is LineKind.PACKAGE and line.id not in returned
        for unlock in line.unlocks
        if (line.id, unlock.package_id) not in granted
    ]


def write_receipt(order_id: int, *, by: str, at: datetime) -> None:  # noqa: ARG001  # the caller notes who and when
    """Write the confirmation of a paid order that none was written for. Raises AlreadyRight."""
    order = _locked(order_id)
    is_owed = order.payment_status is PaymentStatus.PAID and order.status is not OrderStatus.CANCELLED
    if not is_owed or hooks.maker_of(order) is not None or has_receipt(order.id):
        raise AlreadyRight
    fulfilling.send_receipt(order, order.user)


def receipts() -> tuple[str, ...]:
    """The mails that tell a buyer that the money is here."""
    return (*_RECEIPTS, *hooks.welcomes())


def has_receipt(order_id: int) -> bool:
    """Whether the buyer was written to about the money."""
    keys = [f"order:{order_id}:{template}" for template in receipts()]
    return db.session.scalar(select(MailMessage.id).where(MailMessage.key.in_(keys)).limit(1)) is not None


def _locked(order_id: int | None) -> Order:
    """The order as it is now, held until the transaction ends, with its lines and what they unlock."""
    order = db.session.scalars(
        select(Order)
        .where(Order.id == order_id)
        .options(selectinload(Order.lines).selectinload(OrderLine.unlocks))
        .with_for_update(of=Order)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if order is None:
        raise OrderGone
    return order
