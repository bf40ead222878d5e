"""What must be true of subscriptions: who pays has what they pay for, and the sums are right."""

from collections.abc import Sequence

from flask_babel import lazy_gettext as _l
from sqlalchemy import exists, func, select

from portal.core.db import db
from portal.core.invariants import LIMIT, Breach, Reach, invariant
from portal.core.money import Money
from portal.payments.invariants import newest_sessions
from portal.payments.models import Payment, PaymentSession, SessionStatus, Standing
from portal.subscriptions.models import RUNNING, BillingPeriod, Subscription, SubscriptionMonth
from portal.subscriptions.services.locking import PURPOSE


@invariant(
    "subscription_paid_after_end",
    title=_l("A subscription was charged after its end"),
    advice=_l("A provider took a payment although the customer had cancelled. Give it back."),
)
def subscription_paid_after_end(reach: Reach) -> Sequence[Breach]:
    """Payments of subscriptions that bought no period, as long as they are not given back."""
    bought = exists().where(BillingPeriod.session_id == PaymentSession.id)
    found = db.session.scalars(
        select(PaymentSession)
        .join(Payment, Payment.session_id == PaymentSession.id)
        .where(
            PaymentSession.id >= newest_sessions(reach),
            PaymentSession.purpose == PURPOSE,
            PaymentSession.status == SessionStatus.PAID,
            Payment.standing == Standing.COUNTED,
            Payment.returned_minor < Payment.amount_minor,
            ~bought,
        )
        .order_by(PaymentSession.id)
        .limit(LIMIT)
    )
    return [
        Breach(
            f"payment_sessions:{one.id}", one.description, one.customer_email or "", one.amount, one.paid_at,
            reference=one.public_id,
        )
        for one in found
    ]  # fmt: skip


@invariant(
    "recurring_revenue_differs",
    title=_l("Monthly revenue does not add up"),
    advice=_l("The sums by month are not what the running subscriptions are worth. Look into the audit log."),
)
def recurring_revenue_differs(reach: Reach) -> Sequence[Breach]:
    """What the months added and lost is what runs now, in each currency."""
    worth = db.session.execute(
        select(Subscription.currency, func.sum(Subscription.price_minor // Subscription.interval_months))
        .where(Subscription.status.in_(RUNNING))
        .group_by(Subscription.currency)
    )
    running = {currency: int(total) for currency, total in worth}
    added = func.sum(SubscriptionMonth.added_minor - SubscriptionMonth.lost_minor)
    summed = db.session.execute(
        select(func.max(SubscriptionMonth.id), SubscriptionMonth.currency, added).group_by(SubscriptionMonth.currency)
    )
    return [
        Breach(f"subscription_months:{row_id}", currency, "", Money(int(total), currency), reach.at)
        for row_id, currency, total in summed
        if int(total) != running.get(currency, 0)
    ]
