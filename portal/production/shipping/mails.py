"""What the mail about a shipped parcel is filled with."""

from flask_babel import lazy_gettext as _l

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Content
from portal.production.models import Shipment
from portal.production.shipping.services.links import token_of


@mail.context("sales_order_shipped", title=_l("Shipped with tracking"))
def shipped(shipment_id: int) -> Content:
    """Who carries the parcel, its number, and a link that opens without a log-in."""
    shipment = db.session.get_one(Shipment, shipment_id)
    order = shipment.sales_order.order
    token = token_of(shipment.sales_order)
    own_page = address_of("orders.detail", number=order.number)
    return Content(
        values={"order": order, "shipment": shipment, "expected_at": shipment.expected_at, "has_link": bool(token)},
        # The link shows the order's progress to anybody who has it, so it is not kept in the log.
        secrets={"track_url": address_of("tracking.show", token=token) if token else own_page},
    )
