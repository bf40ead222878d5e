"""What the mails about sales orders are filled with: how things stand when they are sent."""

from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import joinedload, selectinload

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.orders.mails import line_text
from portal.orders.models import Order
from portal.payments import queries as payments
from portal.payments.invoices import pdf
from portal.payments.models import PaymentSession
from portal.payments.queries import money_back_of, sessions_of
from portal.production.models import SalesOrder


@mail.context("sales_order_paid", title=_l("Payment for printed parts"))
def sales_order_paid(order_id: int, session_id: int) -> Content:
    """Money is here: how much, what is left, and the invoice."""
    sales_order = _sales_order(order_id)
    order = sales_order.order
    session = db.session.get_one(PaymentSession, session_id)
    invoice = payments.invoice_of_session(session_id)
    return Content(
        values={
            **_values(sales_order),
            "rows": [(line_text(line), line.total_minor) for line in order.lines],
            "session": session,
            "rest_minor": order.rest_minor,
            "invoice": invoice,
        },
        attachments=(Attachment(f"{invoice.number}.pdf", pdf(invoice)),) if invoice is not None else (),
    )


@mail.context("sales_order_moved", title=_l("Printed parts: how far they are"))
def sales_order_moved(order_id: int, step: str) -> Content:
    """The order has come to a step: confirmed, in_production, delivered or cancelled."""
    sales_order = _sales_order(order_id)
    refunds = money_back_of([one.id for one in sessions_of("order", order_id)]) if step == "cancelled" else []
    back_minor = sum(refund.amount_minor for refund in refunds)
    return Content(values={**_values(sales_order), "step": step, "back_minor": back_minor})


def _values(sales_order: SalesOrder) -> dict[str, Any]:
    order = sales_order.order
    return {
        "order": order,
        "sales_order": sales_order,
        "order_url": address_of("orders.detail", number=order.number),
    }


def _sales_order(order_id: int) -> SalesOrder:
    return db.session.scalars(
        select(SalesOrder)
        .where(SalesOrder.order_id == order_id)
        .options(joinedload(SalesOrder.order).options(selectinload(Order.lines)))
    ).one()
