"""Reads of a merchant's webhooks. Nothing here finds another merchant's."""

import re
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import contains_eager, joinedload

from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.merchants.models import Merchant
from portal.merchants.outbound.errors import DeliveryNotFound
from portal.merchants.outbound.models import (
    DeliveryStatus,
    MerchantEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)

EVENT_ID = re.compile(r"evt_[0-9a-f]{32}")
_MOST_ATTEMPTS = 50
_FOR_STAFF = 10


def find_endpoint(merchant: Merchant, mode: str, *, locked: bool = False) -> WebhookEndpoint | None:
    """Where a merchant listens in a mode."""
    statement = select(WebhookEndpoint).where(WebhookEndpoint.merchant_id == merchant.id, WebhookEndpoint.mode == mode)
    if locked:
        statement = statement.with_for_update().execution_options(populate_existing=True)
    endpoint: WebhookEndpoint | None = db.session.scalar(statement)
    return endpoint


def deliveries_page(
    endpoint: WebhookEndpoint,
    *,
    status: DeliveryStatus | None,
    event_type: str | None,
    before: str | None,
    after: str | None,
) -> Page[WebhookDelivery]:
    """A page of an endpoint's deliveries with their events, newest first."""
    statement = select(WebhookDelivery).where(WebhookDelivery.endpoint_id == endpoint.id)
    if status is not None:
        statement = statement.where(WebhookDelivery.status == status)
    if event_type is not None:
        statement = statement.where(WebhookDelivery.event_type == event_type)
    statement = statement.options(joinedload(WebhookDelivery.event))
    return paginate(statement, WebhookDelivery.id, before=before, after=after)


def get_delivery(merchant: Merchant, public_id: str, *, locked: bool = False) -> WebhookDelivery:
    """A merchant's own delivery with its event and endpoint, by the event's id. Raises DeliveryNotFound."""
    if not EVENT_ID.fullmatch(public_id):
        raise DeliveryNotFound
    statement = (
        select(WebhookDelivery)
        .join(WebhookDelivery.event)
        .join(WebhookDelivery.endpoint)
        .where(MerchantEvent.public_id == public_id, MerchantEvent.merchant_id == merchant.id)
        .options(contains_eager(WebhookDelivery.event), contains_eager(WebhookDelivery.endpoint))
    )
    if locked:
        statement = statement.with_for_update(of=WebhookDelivery).execution_options(populate_existing=True)
    delivery: WebhookDelivery | None = db.session.scalar(statement)
    if delivery is None:
        raise DeliveryNotFound
    return delivery


def list_attempts(delivery: WebhookDelivery) -> list[WebhookAttempt]:
    """The tries of a delivery, newest first."""
    return list(
        db.session.scalars(
            select(WebhookAttempt)
            .where(WebhookAttempt.delivery_id == delivery.id)
            .order_by(WebhookAttempt.number.desc())
            .limit(_MOST_ATTEMPTS)
        )
    )


@dataclass(frozen=True, slots=True)
class WebhooksForStaff:
    """What staff see of a merchant's webhooks."""

    endpoints: list[WebhookEndpoint]
    deliveries: list[WebhookDelivery]


def for_staff(merchant: Merchant) -> WebhooksForStaff:
    """A merchant's endpoints and its latest deliveries, in two statements."""
    endpoints = list(
        db.session.scalars(
            select(WebhookEndpoint).where(WebhookEndpoint.merchant_id == merchant.id).order_by(WebhookEndpoint.mode)
        )
    )
    deliveries = db.session.scalars(
        select(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id.in_([endpoint.id for endpoint in endpoints]))
        .options(joinedload(WebhookDelivery.event))
        .order_by(WebhookDelivery.id.desc())
        .limit(_FOR_STAFF)
    )
    return WebhooksForStaff(endpoints, list(deliveries))
