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
from portal.payments.extension import find_listener
from portal.payments.listening import Sender, Subject
from portal.payments.models import EventStatus, ProviderEvent, SessionStatus
from portal.payments.providers.base import NormalisedEvent, Outcome, ParsedWebhook
from portal.payments.services.facts import subject_of, to_mapping
from portal.payments.services.settling import apply_event


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
_FIND_BY_SUBSCRIPTION = (
    "SELECT public_id, status FROM payment_sessions WHERE provider = :provider "
    "AND subscription_reference = :subscription LIMIT 1"
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


def accept_webhook(sender: Sender, headers: Mapping[str, str], body: bytes, *, at: datetime) -> Answer:
    """Verify and store one delivery. Call it outside any transaction.

    Raises InvalidSignature or InvalidPayload; then nothing was stored.
    """
    parsed = sender.parse_webhook(headers, body, at=at)
    return store_event(sender.name, parsed, body.decode("utf-8"), source="webhook", at=at)


def store_event(provider: str, parsed: ParsedWebhook, body: str, *, source: str, at: datetime) -> Answer:
    """Put a verified event into the inbox and say how it stands. Call it outside any transaction.

    An event about a session that is already final is applied at once, so that the sender learns of a conflict; should
    that be interrupted, the event waits in the inbox like any other.
    """
    fact = _telling(parsed)
    standing = _standing_of_news(provider, fact)
    otherwise, why = _unless_found(fact, standing)
    values = {
        "provider": provider,
        "delivery_key": parsed.delivery_key,
        "event_type": parsed.event_type[:128],
        "source": source,
        "body": body,
        "normalised": [to_mapping(one) for one in parsed.events],
        "session_id": fact.session_id[:64] if fact is not None and fact.session_id is not None else None,
        "reference": fact.attempt_reference if fact is not None else None,
        "payment": subject_of(fact) if fact is not None else None,
        "subscription": fact.subscription_reference if fact is not None else None,
        "otherwise": otherwise.value,
        "why": why,
        "at": at,
    }
    row = _insert(values, find=_how_to_find(fact))
    fault("accept-after-insert")
    if row is None:
        return DUPLICATE
    event_id, status, session_status = row
    if standing is Subject.OVER:
        return _apply_now(event_id, at)
    if session_status in _FINAL and fact is not None:
        verdict = _apply_now(event_id, at)
        # What was reported, not asked for, conflicts with nothing the sender could mend by trying again.
        return verdict if fact.outcome in _ASKED_FOR else ACCEPTED
    if status == EventStatus.PENDING:
        wake_inbox()
    return _ANSWERS[EventStatus(status)]


def _standing_of_news(provider: str, fact: NormalisedEvent | None) -> Subject | None:
    """Whether news are about something that we have. Should it come a moment later, the sweeper matches them."""
    if fact is None or fact.outcome is not Outcome.NEWS or fact.subject_reference is None:
        return None
    listener = find_listener(provider)
    return listener.standing_of(fact.subject_reference) if listener is not None else None


def _unless_found(fact: NormalisedEvent | None, standing: Subject | None) -> tuple[EventStatus, str | None]:
    """How an event begins that names no payment session of ours, and why."""
    if standing is not None:
        return EventStatus.PENDING, None
    if fact is not None and fact.outcome is Outcome.NEWS:
        return EventStatus.UNMATCHED, "nothing of ours has this reference yet"
    if fact is not None and fact.session_id is not None:
        return EventStatus.UNMATCHED, "no such payment session yet"
    return EventStatus.IGNORED, "not used, or names no payment session of ours"


def _how_to_find(fact: NormalisedEvent | None) -> str:
    if fact is None or fact.session_id is not None:
        return _FIND_BY_ID
    if fact.attempt_reference is not None:
        return _FIND_BY_REFERENCE
    return _FIND_BY_SUBSCRIPTION if fact.subscription_reference is not None else _FIND_BY_PAYMENT


def _apply_now(event_id: int, at: datetime) -> Answer:
    with unit_of_work():
        event = db.session.get_one(ProviderEvent, event_id, with_for_update=True, populate_existing=True)
        apply_event(event, at=at)
    return _ANSWERS[event.status]


def wake_inbox() -> None:
    """Have a worker look at the inbox."""
    queues.wake_often(QueueName.INBOX, queues.DRAIN_INBOX)


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
    for find in (_FIND_BY_ID, _FIND_BY_REFERENCE, _FIND_BY_SUBSCRIPTION, _FIND_BY_PAYMENT)
}
