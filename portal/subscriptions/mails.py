"""What the mails about subscriptions are filled with, when they are sent: how things stand by then."""

from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from portal.core import mail
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.payments import queries as payments
from portal.payments.invoices import pdf
from portal.subscriptions.hooks import seller_of
from portal.subscriptions.models import BillingPeriod, Subscription


@mail.context("subscription_activated", title=_l("Subscription activated"))
def subscription_activated(subscription_id: int, period_id: int) -> Content:
    """It begins, or begins again: what is open now, when it is charged next, and the invoice."""
    return _paid(subscription_id, period_id)


@mail.context("subscription_receipt", title=_l("Subscription: another month paid"))
def subscription_receipt(subscription_id: int, period_id: int) -> Content:
    """Another period is paid for, with its invoice."""
    return _paid(subscription_id, period_id)


@mail.context("subscription_due", title=_l("Subscription: please pay for the next month"))
def subscription_due(subscription_id: int) -> Content:
    """The next period has to be paid by hand."""
    return Content(values=_values(subscription_id))


@mail.context("subscription_payment_failed", title=_l("Subscription: payment failed"))
def subscription_payment_failed(subscription_id: int, day: int) -> Content:
    """A payment failed: until when it can be made good, and what ends then."""
    return Content(values={**_values(subscription_id), "day": day})


@mail.context("subscription_cancelled", title=_l("Subscription cancelled"))
def subscription_cancelled(subscription_id: int) -> Content:
    """It was called off, by whom, and what stays."""
    return Content(values=_values(subscription_id))


def _paid(subscription_id: int, period_id: int) -> Content:
    period = db.session.get_one(BillingPeriod, period_id)
    invoice = payments.invoice_of_session(period.session_id)
    return Content(
        values={**_values(subscription_id), "period": period, "invoice": invoice},
        attachments=(Attachment(f"{invoice.number}.pdf", pdf(invoice)),) if invoice is not None else (),
    )


def _values(subscription_id: int) -> dict[str, Any]:
    subscription = db.session.scalars(
        select(Subscription).where(Subscription.id == subscription_id).options(joinedload(Subscription.user))
    ).one()
    return {
        "subscription": subscription,
        "name": subscription.user.name,
        "page_url": seller_of(subscription).address(subscription.subject_id),
    }
