"""What the mails about sites are filled with, when they are sent."""

from flask_babel import lazy_gettext as _l
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from portal.accounts.mails import set_up_address
from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Attachment, Content
from portal.orders.models import Order
from portal.orders.services.placing import PURPOSE
from portal.payments import queries as payments
from portal.payments.invoices import pdf
from portal.sites import layout
from portal.sites.errors import SiteNotFound
from portal.sites.services.selling import site_of_order


@mail.context("site_welcome", title=_l("Welcome to a new website"))
def site_welcome(order_id: int) -> Content:
    """For who bought a site: where it is, its page here, the invoice, and the link for who has no password yet."""
    order = db.session.scalars(select(Order).where(Order.id == order_id).options(selectinload(Order.lines))).one()
    site = site_of_order(order)
    if site is None:
        raise SiteNotFound
    sessions = payments.sessions_of(PURPOSE, order.id)
    invoice = next(iter(payments.invoices_of_sessions([one.id for one in sessions])), None)
    link = set_up_address(order.user_id) if order.user_id is not None else None
    return Content(
        values={
            "order": order,
            "site": site,
            "site_url": layout.site_url(site.slug),
            "page_url": address_of("sites.my_site", slug=site.slug),
            "invoice": invoice,
            "link": "",
        },
        secrets={"link": link} if link is not None else {},
        attachments=(Attachment(f"{invoice.number}.pdf", pdf(invoice)),) if invoice is not None else (),
    )
