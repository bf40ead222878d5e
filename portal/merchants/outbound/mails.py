"""What the mail about paused webhooks is filled with."""

from flask import current_app
from flask_babel import lazy_gettext as _l

from portal.core import mail
from portal.core.db import db
from portal.core.mail import Content
from portal.merchants.outbound.models import WebhookEndpoint


@mail.context("merchant_webhooks_paused", title=_l("Webhooks to a merchant paused"))
def merchant_webhooks_paused(endpoint_id: int) -> Content:
    """For the owner: nothing is sent any more, nothing is lost, and how to go on."""
    endpoint = db.session.get_one(WebhookEndpoint, endpoint_id)
    path = current_app.url_map.bind("portal").build("merchant.webhooks", {"mode": endpoint.mode})
    url = f"{current_app.config['PORTAL_URL'].rstrip('/')}{path}"
    return Content(values={"endpoint": endpoint, "merchant": endpoint.merchant, "webhooks_url": url})
