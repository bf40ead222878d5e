"""A merchant gives its buyer's money back, in whole or in part."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, select

from portal.core.db import db
from portal.core.money import Money
from portal.payments.errors import NothingToRefund
from portal.payments.models import Payment, PaymentSession, Standing
from portal.payments.refund_models import Refund, RefundReason, RefundStatus
from portal.payments.services.refunding import Wish, request_refund


def give_back(
    session: PaymentSession, amount: Money | None, reason: RefundReason, *, key: str, by: str, at: datetime
) -> Refund:
    """Record a refund of the money that counted, without an amount of all that is left, in the caller's transaction; a
    worker asks the provider. Money that was kept apart is staff's business.

    Raises NothingToRefund, RefundTooLarge, InvalidRefund, FullRefundOnly, MoneyInDispute.
    """
    payment_id = db.session.scalar(
        select(Payment.id).where(Payment.session_id == session.id, Payment.standing == Standing.COUNTED)
    )
    if payment_id is None:
        raise NothingToRefund
    wish = Wish((session.id,), key=key, reason=reason, amount=amount, payment_id=payment_id)
    [refund] = request_refund(wish, by=by, at=at)
    return refund


def refunds_of(session: PaymentSession) -> list[Refund]:
    """What went back of the money that counted, or is about to, newest first."""
    statement = select(Refund).join(Payment, Payment.id == Refund.payment_id)
    statement = statement.where(Refund.session_id == session.id, Payment.standing == Standing.COUNTED)
    return list(db.session.scalars(statement.order_by(Refund.id.desc())))


def refunded_minor(session_ids: Sequence[int]) -> dict[int, int]:
    """How much of the money that counted has gone back, by session: one statement for all of them."""
    rows = db.session.execute(
        select(Refund.session_id, func.sum(Refund.amount_minor))
        .join(Payment, Payment.id == Refund.payment_id)
        .where(
            Refund.session_id.in_(session_ids),
            Refund.status == RefundStatus.SUCCEEDED,
            Payment.standing == Standing.COUNTED,
        )
        .group_by(Refund.session_id)
    )
    return {session_id: int(total) for session_id, total in rows}
