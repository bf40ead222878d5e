"""What the mails about orders are filled with. Called when a mail is sent, so it says how things stand by then."""

from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.orders.models import Order, OrderLine
from portal.orders.services.placing import PURPOSE, return_url
from portal.payments import queries as payments
from portal.payments.invoices import pdf
from portal.payments.models import Invoice


@mail.context("order_confirmation", title=_l("Purchase confirmation with receipt"))
def order_confirmation(order_id: int) -> Content:
    """For a customer we know: what is unlocked, and the invoice."""
    return _about(order_id, packages_url=address_of("library.index"))


@mail.context("order_welcome", title=_l("Receipt for a new customer"))
def order_welcome(order_id: int) -> Content:
    """For a buyer whose account this purchase made; the set-up link comes in a mail of its own."""
    return _about(order_id, packages_url=address_of("library.index"))


@mail.context("order_waiting", title=_l("Purchase waits for the address to be confirmed"))
def order_waiting(order_id: int) -> Content:
    """For a buyer whose address has an account that nobody has proven to be theirs."""
    return _about(order_id, packages_url=address_of("library.index"))


@mail.context("order_unlocked", title=_l("Purchase unlocked after confirming the address"))
def order_unlocked(order_id: int) -> Content:
    """After a purchase that waited was claimed."""
    return _about(order_id, with_invoice=False, packages_url=address_of("library.index"))


def _about(order_id: int, *, with_invoice: bool = True, **values: Any) -> Content:
    order = db.session.scalars(
        select(Order).where(Order.id == order_id).options(selectinload(Order.lines).selectinload(OrderLine.unlocks))
    ).one()
    invoice = _invoice_of(order) if with_invoice else None
    attachments = (Attachment(f"{invoice.number}.pdf", pdf(invoice)),) if invoice is not None else ()
    return Content(
        values={
            "order": order,
            "rows": [(line_text(line), line.total_minor) for line in order.lines],
            "invoice": invoice,
            "order_url": address_of("orders.detail", number=order.number),
            **values,
        },
        # The signed address opens the order's page without an account, so it is not kept in the log.
        secrets={"status_url": return_url(order.number)},
        attachments=attachments,
    )


def line_text(line: OrderLine) -> str:
    """A line of an order in one text, with its quantity."""
    return line.description if line.quantity == 1 else f"{line.description} × {line.quantity}"


def _invoice_of(order: Order) -> Invoice | None:
    for session in payments.sessions_of(PURPOSE, order.id):
        invoice = payments.invoice_of_session(session.id)
        if invoice is not None:
            return invoice
    return None
