"""What merchants do with their webhooks: set the address, replace the secret, pause, resume, test, send again."""

from datetime import datetime, timedelta

from sqlalchemy import select

from portal.core import audit, outbox, settings
from portal.core.db import db
from portal.core.state import transition
from portal.merchants.models import Merchant
from portal.merchants.outbound import delivering, guard, queries, signing
from portal.merchants.outbound.errors import EndpointNotFound, RotatedJustNow, StillPending
from portal.merchants.outbound.events import DUE, EventType, merchant_event
from portal.merchants.outbound.models import DeliveryStatus, EndpointStatus, MerchantEvent, WebhookEndpoint

OVERLAP = timedelta(hours=24)


def check_url(url: str, *, mode: str) -> str:
    """The address as it is, when webhooks may be sent there. Names are resolved when something is sent, each time.

    Raises RefusedAddress.
    """
    guard.read_url(url, mode=mode, loopback=settings.current().webhooks_to_loopback)
    return url


def set_url(merchant: Merchant, *, mode: str, url: str, by: str, at: datetime) -> tuple[WebhookEndpoint, str | None]:
    """Say where to send; the first time with the new secret, which is told now and never again. Raises RefusedAddress.

    A secret stays when the address changes.
    """
    check_url(url, mode=mode)
    # Two windows that set the first address at once: the second finds the first one's endpoint.
    db.session.execute(select(Merchant.id).where(Merchant.id == merchant.id).with_for_update())
    endpoint = queries.find_endpoint(merchant, mode, locked=True)
    secret = None
    before = None
    if endpoint is None:
        secret = signing.new_secret()
        endpoint = WebhookEndpoint(
            merchant_id=merchant.id, mode=mode, url=url, sealed_secret=signing.seal(secret),
            created_at=at, updated_at=at,
        )  # fmt: skip
        db.session.add(endpoint)
    else:
        before = {"url": endpoint.url}
        endpoint.url, endpoint.updated_at = url, at
    db.session.flush()
    audit.record("WEBHOOK_URL_SET", actor=by, subject=_subject(endpoint), before=before, after={"url": url})
    return endpoint, secret


def rotate_secret(merchant: Merchant, *, mode: str, by: str, at: datetime) -> tuple[WebhookEndpoint, str]:
    """A new secret; for a day the old one signs as well. Raises EndpointNotFound, or RotatedJustNow while it does."""
    endpoint = _locked(merchant, mode)
    if endpoint.previous_ends_at is not None and endpoint.previous_ends_at > at:
        raise RotatedJustNow
    secret = signing.new_secret()
    endpoint.sealed_previous, endpoint.previous_ends_at = endpoint.sealed_secret, at + OVERLAP
    endpoint.sealed_secret, endpoint.updated_at = signing.seal(secret), at
    audit.record(
        "WEBHOOK_SECRET_ROTATED", actor=by, subject=_subject(endpoint),
        after={"previous_ends_at": endpoint.previous_ends_at.isoformat()},
    )  # fmt: skip
    return endpoint, secret


def pause(merchant: Merchant, *, mode: str, by: str, at: datetime) -> None:
    """Send nothing until somebody resumes; pausing twice changes nothing. Raises EndpointNotFound."""
    endpoint = _locked(merchant, mode)
    if endpoint.is_active:
        transition(endpoint, EndpointStatus.PAUSED, by=by, at=at)


def resume(merchant: Merchant, *, mode: str, by: str, at: datetime) -> None:
    """Send again, beginning with what waits; resuming twice changes nothing. Raises EndpointNotFound."""
    endpoint = _locked(merchant, mode)
    if endpoint.is_active:
        return
    transition(endpoint, EndpointStatus.ACTIVE, by=by, at=at, values={"failing_since": None})
    delivering.restart_waiting(endpoint.id, at=at)


def send_test(merchant: Merchant, *, mode: str, at: datetime) -> MerchantEvent:
    """An event about nothing, to try the receiving program with. Raises EndpointNotFound."""
    _locked(merchant, mode)
    data = {"object": "ping", "merchant_id": merchant.public_id, "message": "This is a test."}
    # Each stands alone: one that cannot be delivered holds up no other.
    object_id = f"ping_{int(at.timestamp() * 1_000_000)}"
    return merchant_event(merchant, EventType.TEST_PING, mode=mode, object_id=object_id, data=data, at=at)


def redeliver(merchant: Merchant, public_id: str, *, by: str, at: datetime) -> None:
    """Send an ended delivery once more, under its old webhook-id. Raises DeliveryNotFound, or StillPending."""
    delivery = queries.get_delivery(merchant, public_id, locked=True)
    if delivery.status is DeliveryStatus.PENDING:
        raise StillPending
    schedule_anew = {"tries": 0, "first_tried_at": None, "next_try_at": at, "ended_at": None}
    transition(delivery, DeliveryStatus.PENDING, by=by, at=at, values=schedule_anew)
    outbox.publish(DUE, delivery_id=delivery.id)


def _locked(merchant: Merchant, mode: str) -> WebhookEndpoint:
    endpoint = queries.find_endpoint(merchant, mode, locked=True)
    if endpoint is None:
        raise EndpointNotFound
    return endpoint


def _subject(endpoint: WebhookEndpoint) -> str:
    return f"webhook_endpoints:{endpoint.id}"
