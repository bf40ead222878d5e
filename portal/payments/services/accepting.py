"""Taking in a webhook: verify, store, look up, answer. A worker applies it; a 2xx is a promise that it is stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, bindparam, text
from sqlalchemy.exc import DBAPIError

from portal.core import queues
from portal.core.db import UTCDateTime, db, hot_connection, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.payments.models import EventStatus, ProviderEvent, SessionStatus
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook, Provider
from portal.payments.services.settling import apply_event, to_mapping


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sender is told: an HTTP status and one word."""

    status: int
    word: str


ACCEPTED = Answer(200, "accepted")
DUPLICATE = Answer(200, "duplicate")
IGNORED = Answer(200, "ignored")
UNMATCHED = Answer(404, "unmatched")
CONFLICT = Answer(409, "conflict")

_ANSWERS = {
    EventStatus.APPLIED: ACCEPTED,
    EventStatus.PENDING: ACCEPTED,
    EventStatus.FAILED: ACCEPTED,
    EventStatus.DUPLICATE: DUPLICATE,
    EventStatus.IGNORED: IGNORED,
    EventStatus.UNMATCHED: UNMATCHED,
    EventStatus.CONFLICT: CONFLICT,
}
_ASKED_FOR = (Outcome.PENDING, Outcome.CLAIMED, Outcome.PAID, Outcome.FAILED)
_FINAL = (SessionStatus.PAID, SessionStatus.FAILED)

# Storing an event and looking up its session is one statement and one round trip: the hot write of the product, where
# the ORM would cost more than the database does. `found` is the session by our own id or by the provider's.
_FIND_BY_ID = "SELECT public_id, status FROM payment_sessions WHERE public_id = :session_id"
_FIND_BY_REFERENCE = (
    "SELECT s.public_id, s.status FROM payment_sessions s JOIN payment_attempts a ON a.session_id = s.id "
    "WHERE a.provider = :provider AND a.provider_reference = :reference LIMIT 1"
)
_FIND_BY_PAYMENT = (
    "SELECT s.public_id, s.status FROM payment_sessions s JOIN payments p ON p.session_id = s.id "
    "WHERE p.provider = :provider AND p.provider_reference = :payment LIMIT 1"
)
_STORE = """
WITH found AS ({find})
INSERT INTO provider_events (provider, delivery_key, event_type, source, body, normalised, session_public_id,
    payment_reference, status, verdict, attempts, available_at, received_at, processed_at)
VALUES (:provider, :delivery_key, :event_type, :source, :body, :normalised,
    COALESCE((SELECT public_id FROM found), :session_id), :payment,
    CASE WHEN EXISTS (SELECT 1 FROM found) THEN 'pending' ELSE :otherwise END,
    CASE WHEN EXISTS (SELECT 1 FROM found) THEN NULL ELSE :why END,
    0, :at, :at, NULL)
ON CONFLICT (provider, delivery_key) DO NOTHING
RETURNING id, status, (SELECT status FROM found)
"""


def accept_webhook(provider: Provider, headers: Mapping[str, str], body: bytes, *, at: datetime) -> Answer:
    """Verify and store one delivery. Call it outside any transaction.

    Raises InvalidSignature or InvalidPayload; then nothing was stored.
    """
    parsed = provider.parse_webhook(headers, body, at=at)
    return store_event(provider.name, parsed, body.decode("utf-8"), source="webhook", at=at)


def store_event(provider: str, parsed: ParsedWebhook, body: str, *, source: str, at: datetime) -> Answer:
    """Put a verified event into the inbox and say how it stands. Call it outside any transaction.

    An event about a session that is already final is applied at once, so that the sender learns of a conflict; should
    that be interrupted, the event waits in the inbox like any other.
    """
    fact = _telling(parsed)
    names_session = fact is not None and fact.session_id is not None
    values = {
        "provider": provider,
        "delivery_key": parsed.delivery_key,
        "event_type": parsed.event_type[:128],
        "source": source,
        "body": body,
        "normalised": [to_mapping(one) for one in parsed.events],
        "session_id": fact.session_id[:64] if fact is not None and fact.session_id is not None else None,
        "reference": fact.attempt_reference if fact is not None else None,
        "payment": fact.payment_reference if fact is not None else None,
        "otherwise": (EventStatus.UNMATCHED if names_session else EventStatus.IGNORED).value,
        "why": "no such payment session yet" if names_session else "not used, or names no payment session of ours",
        "at": at,
    }
    row = _insert(values, find=_how_to_find(fact))
    fault("accept-after-insert")
    if row is None:
        return DUPLICATE
    event_id, status, session_status = row
    if session_status in _FINAL and fact is not None:
        verdict = _apply_now(event_id, at)
        # What was reported, not asked for, conflicts with nothing the sender could mend by trying again.
        return verdict if fact.outcome in _ASKED_FOR else ACCEPTED
    if status == EventStatus.PENDING:
        wake_inbox()
    return _ANSWERS[EventStatus(status)]


def _how_to_find(fact: NormalisedEvent | None) -> str:
    if fact is None or fact.session_id is not None:
        return _FIND_BY_ID
    return _FIND_BY_REFERENCE if fact.attempt_reference is not None else _FIND_BY_PAYMENT


def _apply_now(event_id: int, at: datetime) -> Answer:
    with unit_of_work():
        event = db.session.get_one(ProviderEvent, event_id, with_for_update=True, populate_existing=True)
        apply_event(event, at=at)
    return _ANSWERS[event.status]


def wake_inbox() -> None:
    """Have a worker look at the inbox."""
    queues.wake_often(QueueName.WEBHOOKS, queues.DRAIN_INBOX)


def _telling(parsed: ParsedWebhook) -> NormalisedEvent | None:
    return next((event for event in parsed.events if event.outcome is not Outcome.IGNORED), None)


def _insert(values: dict[str, Any], *, find: str) -> tuple[int, str, str | None] | None:
    """Store the event; None when it is there already. A dead connection is replaced once: the key makes that safe."""
    statement = _STATEMENTS[find]
    try:
        with hot_connection() as connection:
            row = connection.execute(statement, values).first()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        with hot_connection() as connection:
            row = connection.execute(statement, values).first()
    return None if row is None else (row[0], row[1], row[2])


_STATEMENTS = {
    find: text(_STORE.format(find=find)).bindparams(
        bindparam("at", type_=UTCDateTime()), bindparam("normalised", type_=JSON())
    )
    for find in (_FIND_BY_ID, _FIND_BY_REFERENCE, _FIND_BY_PAYMENT)
}
