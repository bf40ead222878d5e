"""Sending what waits: a worker claims one delivery, sends it outside any transaction, and writes how it went.

At least once: a worker that dies after the request and before its transaction has told nobody, so the delivery is sent
again, with the same webhook-id. Events of one object go in their order: a later one waits until the earlier one has
arrived or was given up.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import joinedload

from portal.core import clock, mail, outbox, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.core.state import transition
from portal.merchants.outbound import posting, schedule, signing
from portal.merchants.outbound.events import DUE
from portal.merchants.outbound.models import (
    DeliveryStatus,
    EndpointStatus,
    MerchantEvent,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)
from portal.merchants.outbound.posting import Outcome

# Longer than the slowest request with its look-up can take.
CLAIM = timedelta(seconds=60)
_LEASE = timedelta(seconds=90)
_SLOW_MS = 5_000
_REST = timedelta(seconds=30)
_BY = "job:webhooks"
_USER_AGENT = "Portal-Webhooks/1.0"
RESUMED = "webhook_endpoint.resumed"
_BATCH = 200
# A due delivery that nobody has touched for so long has lost the message that should have woken it.
FORGOTTEN = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one worker sends: it holds no row and no transaction."""

    delivery_id: int
    claim: str
    endpoint_id: int
    url: str
    mode: str
    webhook_id: str
    body: bytes
    headers: dict[str, str] | None


@outbox.handles(DUE, queue=QueueName.DEFAULT, lease=_LEASE)
def deliver(delivery_id: int) -> None:
    """Send one delivery, when its time has come and nobody else is at it."""
    at = clock.now()
    with unit_of_work():
        claimed = _claim(delivery_id, at=at)
    if claimed is None:
        return
    stop_reading()
    outcome = _send(claimed)
    fault("webhook-after-post")
    with unit_of_work():
        _write_down(claimed, outcome, began=at, at=clock.now())


def _claim(delivery_id: int, *, at: datetime) -> Claimed | None:
    """Take a delivery for `CLAIM`, so that two workers send it once; None when it is not to be sent now."""
    delivery = _locked(delivery_id)
    if delivery is None or delivery.status is not DeliveryStatus.PENDING:
        return None
    endpoint = db.session.get_one(WebhookEndpoint, delivery.endpoint_id, populate_existing=True)
    if not endpoint.is_active or _waits_for_earlier(delivery):
        # Resuming, or the end of the earlier delivery, publishes it again.
        return None
    if delivery.claimed_until is not None and delivery.claimed_until > at:
        # Somebody is at it, or has died at it: look again when that is sure.
        outbox.publish(DUE, available_at=delivery.claimed_until, delivery_id=delivery_id)
        return None
    if delivery.next_try_at > at:
        # Whoever wrote that time has published a message for it.
        return None
    if endpoint.rest_until is not None and endpoint.rest_until > at:
        outbox.publish(DUE, available_at=endpoint.rest_until, delivery_id=delivery_id)
        return None
    delivery.claim, delivery.claimed_until = secrets.token_hex(16), at + CLAIM
    event = db.session.get_one(MerchantEvent, delivery.event_id)
    body = event.payload.encode()
    return Claimed(
        delivery_id=delivery.id,
        claim=delivery.claim,
        endpoint_id=endpoint.id,
        url=endpoint.url,
        mode=endpoint.mode,
        webhook_id=event.public_id,
        body=body,
        headers=_headers(endpoint, event.public_id, body, at=at),
    )


def _headers(endpoint: WebhookEndpoint, webhook_id: str, body: bytes, *, at: datetime) -> dict[str, str] | None:
    try:
        signed = signing.headers_of(endpoint, webhook_id, body, at=at)
    except ValueError:
        return None
    return {"Content-Type": "application/json", "User-Agent": _USER_AGENT, "Accept": "*/*", **signed}


def _locked(delivery_id: int) -> WebhookDelivery | None:
    delivery: WebhookDelivery | None = db.session.scalar(
        select(WebhookDelivery)
        .where(WebhookDelivery.id == delivery_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return delivery


def _waits_for_earlier(delivery: WebhookDelivery) -> bool:
    """Whether an earlier event of the same object is still on its way.

    Its row is locked for the question: a worker that is just ending it has then either ended it, or will find this one
    and wake it.
    """
    earlier = db.session.scalars(
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.endpoint_id == delivery.endpoint_id,
            WebhookDelivery.object_id == delivery.object_id,
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.id < delivery.id,
        )
        .order_by(WebhookDelivery.id)
        .with_for_update()
    ).all()
    return bool(earlier)


def _send(claimed: Claimed) -> Outcome:
    if claimed.headers is None:
        return Outcome(None, "", "the secret cannot be read any more: replace it", 0)
    loopback = settings.current().webhooks_to_loopback
    return posting.post(claimed.url, claimed.body, claimed.headers, mode=claimed.mode, loopback=loopback)


def _write_down(claimed: Claimed, outcome: Outcome, *, began: datetime, at: datetime) -> None:
    """Record a try, and decide what comes next. Whoever's claim was taken over has nothing to say any more."""
    # The endpoint first, as resuming does: the other way round the two could wait for each other.
    endpoint = _locked_endpoint(claimed.endpoint_id)
    delivery = _locked(claimed.delivery_id)
    if delivery is None or delivery.claim != claimed.claim:
        return
    if outcome.duration_ms > _SLOW_MS:
        endpoint.rest_until = at + _REST
    delivery.attempts += 1
    delivery.tries += 1
    delivery.first_tried_at = delivery.first_tried_at or began
    delivery.claim = delivery.claimed_until = None
    delivery.last_http_code = outcome.http_code
    db.session.add(
        WebhookAttempt(
            delivery_id=delivery.id,
            number=delivery.attempts,
            url=claimed.url,
            started_at=began,
            duration_ms=outcome.duration_ms,
            http_code=outcome.http_code,
            response_body=outcome.body,
            error=outcome.error,
        )
    )
    if outcome.is_delivered:
        endpoint.failing_since = None
        _end(delivery, DeliveryStatus.DELIVERED, at=at)
    else:
        endpoint.failing_since = endpoint.failing_since or began
        _plan_next(delivery, endpoint, outcome, at=at)


def _locked_endpoint(endpoint_id: int) -> WebhookEndpoint:
    return db.session.scalars(
        select(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint_id)
        .options(joinedload(WebhookEndpoint.merchant))
        .with_for_update(of=WebhookEndpoint)
        .execution_options(populate_existing=True)
    ).one()


def _plan_next(delivery: WebhookDelivery, endpoint: WebhookEndpoint, outcome: Outcome, *, at: datetime) -> None:
    """After a failure: another time, or never again, and the endpoint is paused when nothing arrives for three days."""
    if delivery.first_tried_at is None or endpoint.failing_since is None:
        raise ValueError("a failed try has a time")
    next_at = schedule.next_try(delivery.tries, first=delivery.first_tried_at, at=at)
    if next_at is not None:
        delivery.next_try_at = next_at
        outbox.publish(DUE, available_at=next_at, delivery_id=delivery.id)
    else:
        _end(delivery, DeliveryStatus.FAILED, at=at)
    has_only_failed = next_at is None and endpoint.failing_since <= delivery.first_tried_at
    if outcome.is_gone:
        _pause(endpoint, "410 Gone", at=at)
    elif has_only_failed or at - endpoint.failing_since >= schedule.LONGEST:
        _pause(endpoint, "nothing arrived for three days", at=at)


def _end(delivery: WebhookDelivery, to: DeliveryStatus, *, at: datetime) -> None:
    db.session.flush()
    transition(delivery, to, by=_BY, at=at, values={"ended_at": at})
    following = db.session.scalar(
        select(WebhookDelivery.id)
        .where(
            WebhookDelivery.endpoint_id == delivery.endpoint_id,
            WebhookDelivery.object_id == delivery.object_id,
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.id > delivery.id,
        )
        .order_by(WebhookDelivery.id)
        .limit(1)
    )
    if following is not None:
        outbox.publish(DUE, delivery_id=following)


def _pause(endpoint: WebhookEndpoint, reason: str, *, at: datetime) -> None:
    """Stop sending, and tell the merchant. What waits is kept."""
    if not endpoint.is_active:
        return
    db.session.flush()
    transition(endpoint, EndpointStatus.PAUSED, by=_BY, at=at, reason=reason)
    owner = endpoint.merchant.owner
    mail.send("merchant_webhooks_paused", to=owner.email, locale=owner.locale, endpoint_id=endpoint.id)


@outbox.handles(RESUMED, queue=QueueName.DEFAULT)
def send_what_waits(endpoint_id: int) -> None:
    """After a pause: everything that waited is due, some at a time; one that is not the first of its object waits."""
    last = 0
    while True:
        with unit_of_work():
            waiting = db.session.scalars(
                select(WebhookDelivery.id)
                .where(
                    WebhookDelivery.endpoint_id == endpoint_id,
                    WebhookDelivery.status == DeliveryStatus.PENDING,
                    WebhookDelivery.id > last,
                )
                .order_by(WebhookDelivery.id)
                .limit(_BATCH)
            ).all()
            for delivery_id in waiting:
                outbox.publish(DUE, delivery_id=delivery_id)
        if len(waiting) < _BATCH:
            return
        last = waiting[-1]


def restart_waiting(endpoint_id: int, *, at: datetime) -> None:
    """Give everything that waits at an endpoint its whole three days again, beginning now."""
    db.session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.endpoint_id == endpoint_id, WebhookDelivery.status == DeliveryStatus.PENDING)
        .values(tries=0, first_tried_at=None, next_try_at=at)
        .execution_options(synchronize_session=False)
    )
    outbox.publish(RESUMED, endpoint_id=endpoint_id)


def wake_forgotten(*, at: datetime) -> int:
    """Publish deliveries whose time has long come again, should their message be lost; returns how many."""
    forgotten = db.session.scalars(
        select(WebhookDelivery.id)
        .join(WebhookEndpoint, WebhookEndpoint.id == WebhookDelivery.endpoint_id)
        .where(
            WebhookDelivery.status == DeliveryStatus.PENDING,
            WebhookDelivery.next_try_at < at - FORGOTTEN,
            WebhookEndpoint.status == EndpointStatus.ACTIVE,
        )
        .order_by(WebhookDelivery.next_try_at, WebhookDelivery.id)
        .limit(_BATCH)
    ).all()
    slot = int(at.timestamp() // FORGOTTEN.total_seconds())
    return sum(outbox.publish(DUE, key=f"{DUE}:{one}:{slot}", delivery_id=one) for one in forgotten)
