"""Writing down what happened to a merchant, in the transaction in which it happens, so that none is lost or made up."""

import json
import uuid
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import select

from portal.core import outbox
from portal.core.db import db
from portal.merchants import queries
from portal.merchants.api.answers import instant, session_values
from portal.merchants.models import Merchant
from portal.merchants.outbound.models import MerchantEvent, WebhookDelivery, WebhookEndpoint
from portal.merchants.services import refunding, settling
from portal.payments import Returned
from portal.payments.models import PaymentSession

DUE = "webhook_delivery.due"


class EventType(StrEnum):
    """Everything that merchants are told."""

    SESSION_PAID = "session.paid"
    SESSION_FAILED = "session.failed"
    SESSION_REFUNDED = "session.refunded"
    TEST_PING = "test.ping"


def merchant_event(
    merchant: Merchant, kind: EventType, *, mode: str, object_id: str, data: Mapping[str, Any], at: datetime
) -> MerchantEvent:
    """Write an event and, when the merchant listens, its delivery and what sends it, in the caller's transaction.

    `data` is frozen here: later changes of the object are later events. Without an endpoint the event is kept alone.
    """
    public_id = f"evt_{uuid.uuid4().hex}"
    payload = {"id": public_id, "type": kind.value, "timestamp": instant(at), "mode": mode, "data": data}
    event = MerchantEvent(
        public_id=public_id,
        merchant_id=merchant.id,
        mode=mode,
        type=kind.value,
        object_id=object_id,
        payload=json.dumps(payload, ensure_ascii=False, separators=(",", ":")),
        created_at=at,
    )
    db.session.add(event)
    db.session.flush()
    endpoint_id = db.session.scalar(
        select(WebhookEndpoint.id).where(WebhookEndpoint.merchant_id == merchant.id, WebhookEndpoint.mode == mode)
    )
    if endpoint_id is not None:
        delivery = WebhookDelivery(
            event_id=event.id, endpoint_id=endpoint_id, event_type=event.type, object_id=object_id,
            next_try_at=at, created_at=at,
        )  # fmt: skip
        db.session.add(delivery)
        db.session.flush()
        outbox.publish(DUE, delivery_id=delivery.id)
    return event


def session_event(session: PaymentSession, kind: EventType, *, at: datetime) -> MerchantEvent:
    """Something that happened to a payment session of a merchant, told with the session as the API shows it."""
    merchant = db.session.get_one(Merchant, session.merchant_id)
    sources = queries.webhook_sources([session.public_id]).get(session.public_id, [])
    refunded = refunding.refunded_minor([session.id]).get(session.id, 0)
    data = session_values(session, merchant, sources, refunded)
    return merchant_event(merchant, kind, mode=session.mode, object_id=session.public_id, data=data, at=at)


def settle_session(session: PaymentSession, *, at: datetime) -> None:
    """What a paid session of a merchant brings about, and the event that says so."""
    settling.settle_session(session, at=at)
    session_event(session, EventType.SESSION_PAID, at=at)


def fail_session(session: PaymentSession, *, at: datetime) -> None:
    """Tell the merchant that a session can no longer be paid."""
    session_event(session, EventType.SESSION_FAILED, at=at)


def return_money(session: PaymentSession, returned: Returned, *, at: datetime) -> None:  # noqa: ARG001  # the session tells the sum
    """Tell the merchant that money went back, or came back because the refund failed after all."""
    session_event(session, EventType.SESSION_REFUNDED, at=at)
