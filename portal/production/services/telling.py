"""The mails of a sales order, written with the change that causes them; one of each kind ever."""

from portal.core import mail
from portal.payments.models import PaymentSession
from portal.production.models import SalesOrder


def moved(sales_order: SalesOrder, step: str) -> None:
    """Tell the customer how far the order has come: confirmed, in_production, delivered or cancelled.

    Once for a step, also when parts are made again.
    """
    order = sales_order.order
    key = f"sales_order:{sales_order.id}:{step}"
    mail.send("sales_order_moved", to=order.email, locale=order.locale, key=key, order_id=order.id, step=step)


def paid(sales_order: SalesOrder, session: PaymentSession) -> None:
    """Tell the customer that money of the order is here, with its invoice."""
    order = sales_order.order
    key = f"sales_order:{sales_order.id}:paid:{session.id}"
    mail.send(
        "sales_order_paid", to=order.email, locale=order.locale, key=key, order_id=order.id, session_id=session.id
    )
