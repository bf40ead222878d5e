"""What the mail about paused webhooks is filled with."""

from flask_babel import lazy_gettext as _l

from portal.core import mail
from portal.core.addresses import address_of
from portal.core.db import db
from portal.core.mail import Content
from portal.merchants.outbound.models import WebhookEndpoint


@mail.context("merchant_webhooks_paused", title=_l("Webhooks to a merchant paused"))
def merchant_webhooks_paused(endpoint_id: int) -> Content:
    """For the owner: nothing is sent any more, nothing is lost, and how to go on."""
    endpoint = db.session.get_one(WebhookEndpoint, endpoint_id)
    url = address_of("merchant.webhooks", mode=endpoint.mode)
    return Content(values={"endpoint": endpoint, "merchant": endpoint.merchant, "webhooks_url": url})
