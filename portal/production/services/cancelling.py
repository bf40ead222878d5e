"""Calling a sales order off before its parts are made; what was paid goes back with it."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from portal.core.db import db
from portal.core.money import Money
from portal.orders.models import Order
from portal.orders.services.cancelling import call_off, lock_with_payments
from portal.payments.models import Payment, PaymentSession, Standing
from portal.payments.refund_models import Refund, RefundReason
from portal.payments.services import refunding
from portal.payments.services.refunding import Wish
from portal.production.errors import NeedsAdministrator, NotCancellable
from portal.production.models import SalesOrder, SalesOrderStatus
from portal.production.services import lifecycle

_S = SalesOrderStatus
CANCELLABLE = (_S.PENDING, _S.CONFIRMED, _S.ON_HOLD)
# An order on hold is being talked about; the customer talks to us.
CANCELLABLE_BY_CUSTOMER = (_S.PENDING, _S.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Back:
    """What one payment gives back when the order is cancelled."""

    payment: Payment

    @property
    def amount(self) -> Money:
        """All that is left of it."""
        return Money(self.payment.rest_minor, self.payment.currency)


def what_goes_back(order: Order) -> list[Back]:
    """The money that cancelling would give back, payment by payment."""
    payments = db.session.scalars(
        select(Payment)
        .join(PaymentSession, PaymentSession.id == Payment.session_id)
        .where(
            PaymentSession.purpose == "order",
            PaymentSession.subject_id == order.id,
            Payment.standing == Standing.COUNTED,
            Payment.amount_minor > Payment.returned_minor,
        )
        .order_by(Payment.id)
    )
    return [Back(payment) for payment in payments]


def cancel(sales_order: SalesOrder, *, reason: str, by: str, at: datetime, may_give_back: bool) -> list[Refund]:
    """Call the order off and give back what was paid, each payment where it came from; returns the refunds.

    Raises NotCancellable when production has begun or it is over, ReasonMissing, NeedsAdministrator when money would
    go back and the actor may not decide that, and MoneyInDispute while a bank decides about a payment.
    """
    why = lifecycle.checked_reason(reason)
    sessions, order = lock_with_payments(sales_order.order_id)
    lifecycle.lock_row(sales_order)
    if sales_order.status not in CANCELLABLE:
        raise NotCancellable
    payments = [back.payment for back in what_goes_back(order)]
    if payments and not may_give_back:
        raise NeedsAdministrator
    lifecycle.note_cancelled(sales_order, reason=why, by=by, at=at)
    call_off(order, sessions, by=by, at=at)
    refunds = []
    for payment in payments:
        wish = Wish(
            (payment.session_id,),
            key=f"cancel-sales-order-{sales_order.id}-{payment.id}",
            reason=RefundReason.REQUESTED_BY_CUSTOMER if by == order.email else RefundReason.OTHER,
            note=why,
            payment_id=payment.id,
        )
        refunds += refunding.request_refund(wish, by=by, at=at)
    return refunds


def cancel_as_customer(sales_order: SalesOrder, *, reason: str, by: str, at: datetime) -> list[Refund]:
    """The same for the customer, who may until production begins. Raises NotCancellable, also on hold."""
    lock_with_payments(sales_order.order_id)
    lifecycle.lock_row(sales_order)
    if sales_order.status not in CANCELLABLE_BY_CUSTOMER:
        raise NotCancellable
    return cancel(sales_order, reason=reason, by=by, at=at, may_give_back=True)
