"""Events once more: what applying one would do, tried out and rolled back; and then done, by the ordinary service."""

import uuid
from dataclasses import dataclass
from datetime import datetime

import structlog
from flask_babel import lazy_gettext as _l

from portal.core.db import db
from portal.core.errors import Conflict, PortalError
from portal.core.rehearsal import Rehearsed, rehearse
from portal.payments.extension import sender_of
from portal.payments.models import EVENT_TRANSITIONS, EventStatus, PaymentSession, ProviderEvent
from portal.payments.providers.base import InvalidPayload, NormalisedEvent, Outcome, ParsedWebhook, Rereads
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services import draining
from portal.payments.services.facts import facts_of, subject_of, to_mapping
from portal.payments.services.settling import apply_event

log = structlog.get_logger(__name__)

_LONGEST_TYPE = 128


class ReplayFailed(Conflict):
    """Applying the event raised; everything it had written is rolled back."""

    code = "replay_failed"

    def __init__(self, error: Exception) -> None:
        super().__init__(_l("It failed again, and nothing was changed: %(error)s", error=_words(error)))


@dataclass(frozen=True, slots=True)
class Reading:
    """What an event says. `is_fresh`: read from its body by the adapter of today; else as it was read when it came.

    `problem` says why the body could not be read again. `differs`: today's reading is another than the stored one.
    """

    facts: tuple[NormalisedEvent, ...]
    is_fresh: bool
    problem: str | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Outlook:
    """How an event would end: its status and verdict. `event_id` is the row that stood for it in the rehearsal."""

    event_id: int
    status: EventStatus
    verdict: str | None


def read_again(event: ProviderEvent) -> Reading:
    """Read a stored body with the adapter of today.

    Its signature is not looked at: it was right when the event was stored, and has run out since.
    """
    stored = tuple(facts_of(event))
    try:
        provider = sender_of(event.provider)
    except UnknownProvider:
        return Reading(stored, is_fresh=False, problem="switched_off")
    if not isinstance(provider, Rereads):
        return Reading(stored, is_fresh=False, problem="not_offered")
    try:
        parsed = provider.reread(event.body.encode("utf-8", "replace"), delivery_key=event.delivery_key)
    except InvalidPayload as error:
        # An answer to a question of ours has no body of the provider's.
        return Reading(stored, is_fresh=False, problem="asked" if event.source == "poll" else error.reason)
    if _told(stored) and not _told(parsed.events):
        # A fact about money that was once read is not forgotten because an adapter has changed.
        return Reading(stored, is_fresh=False, problem="says_less")
    return Reading(parsed.events, is_fresh=True, differs=_told(parsed.events) != _told(stored))


def _told(facts: tuple[NormalisedEvent, ...]) -> list[NormalisedEvent]:
    """What counts: a delivery without facts and one that says that nothing changes are the same."""
    return [fact for fact in facts if fact.outcome is not Outcome.IGNORED]


def may_apply(event: ProviderEvent) -> bool:
    """Whether the event can be applied (again): one that waits for a session, failed, or was found to be of no use.

    Not a conflict: its money is on the books, kept apart, and what happens to it is a person's decision.
    """
    return EventStatus.PENDING in EVENT_TRANSITIONS.get(event.status, frozenset())


def apply_again(event_id: int, *, by: str, at: datetime) -> Outlook:
    """Read an event anew and apply it now, in the caller's transaction.

    Raises InvalidTransition unless it may be applied, ReplayFailed when applying raises.
    """
    try:
        return _apply_again(event_id, by=by, at=at)
    except PortalError:
        raise
    except Exception as error:
        log.error("replay_failed", event_id=event_id, exc_info=error)
        raise ReplayFailed(error) from error


def _apply_again(event_id: int, *, by: str, at: datetime) -> Outlook:
    draining.run_again(event_id, by=by, at=at)
    event = db.session.get_one(ProviderEvent, event_id)
    reading = read_again(event)
    if reading.is_fresh and reading.differs:
        _keep_reading(event, reading.facts)
    db.session.flush()
    apply_event(event, at=at)
    return Outlook(event.id, event.status, event.verdict)


def rehearse_event(event_id: int, *, by: str, at: datetime) -> Rehearsed[Outlook]:
    """What would happen if the event were applied now. Changes nothing; call it outside any transaction.

    One that may not be applied (it was, or a person decided) is tried as if its provider told the same once more.
    Raises rehearsal.Busy.
    """

    def work() -> Outlook:
        event = db.session.get_one(ProviderEvent, event_id)
        if may_apply(event):
            return _apply_again(event_id, by=by, at=at)
        return _tell_once_more(
            event.provider, event.event_type, event.body, read_again(event).facts, source=event.source, at=at
        )

    return rehearse(work)


def rehearse_delivery(provider: str, parsed: ParsedWebhook, body: str, *, at: datetime) -> Rehearsed[Outlook]:
    """What would happen if this delivery came in now. Stores nothing. Raises rehearsal.Busy."""

    def work() -> Outlook:
        return _tell_once_more(provider, parsed.event_type, body, parsed.events, source="webhook", at=at)

    return rehearse(work)


def find_delivery(provider: str, delivery_key: str) -> ProviderEvent | None:
    """The stored event of a delivery, when it has come before."""
    event: ProviderEvent | None = db.session.scalar(
        db.select(ProviderEvent).where(ProviderEvent.provider == provider, ProviderEvent.delivery_key == delivery_key)
    )
    return event


def _tell_once_more(
    provider: str, event_type: str, body: str, facts: tuple[NormalisedEvent, ...], *, source: str, at: datetime
) -> Outlook:
    event = ProviderEvent(
        provider=provider,
        # Two rehearsals at once must not wait for each other's key.
        delivery_key=f"rehearsal:{uuid.uuid4()}",
        event_type=event_type[:_LONGEST_TYPE],
        source=source,
        body=body,
        normalised=[],
        available_at=at,
        received_at=at,
    )
    _keep_reading(event, facts)
    db.session.add(event)
    db.session.flush()
    apply_event(event, at=at)
    return Outlook(event.id, event.status, event.verdict)


def _keep_reading(event: ProviderEvent, facts: tuple[NormalisedEvent, ...]) -> None:
    """What the inbox keeps of a reading, as it does when an event comes in."""
    telling = next((fact for fact in facts if fact.outcome is not Outcome.IGNORED), None)
    event.normalised = [to_mapping(fact) for fact in facts]
    event.payment_reference = subject_of(telling) if telling is not None else None
    named = telling.session_id if telling is not None else None
    if named is not None:
        known = db.session.scalar(db.select(PaymentSession.public_id).where(PaymentSession.public_id == named))
        event.session_public_id = known or named[:64]


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
