"""The outbox: effects written in the transaction that causes them, carried out after it, at least once.

A message is due when its `available_at` has come. Claiming one moves `available_at` past a lease, so a worker that
dies in the middle costs the length of the lease and nothing else. Handlers run outside any transaction and may run
twice: each must look whether its work is already done.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from sqlalchemy import JSON, ColumnElement, Index, String, Text, case, delete, literal, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from portal.core import clock, queues
from portal.core.audit import caused_by, current_cause
from portal.core.db import Base, UTCDateTime, after_commit, db, is_postgresql, status_column, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 12
# Longer than anybody retries anything; then the key of an effect may be used again.
REMEMBERED = timedelta(days=90)
_FORGET_AT_ONCE = 5_000
_BATCH = 20
_LEASE = timedelta(seconds=45)
# A message that waited longer than this for those before it in its batch gets a lease of its own.
_FRESH = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(hours=6)
_TRACE_LENGTH = 4_000

Handler = Callable[..., None]


class MessageStatus(StrEnum):
    """Where an effect stands."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


class OutboxMessage(Base):
    """One effect to carry out: a topic and the ids it is about."""

    __tablename__ = "outbox_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(String(64))
    queue: Mapped[str] = mapped_column(String(16))
    payload: Mapped[dict[str, Any]] = mapped_column(JSON)
    key: Mapped[str | None] = mapped_column(String(128), unique=True)
    cause: Mapped[str | None] = mapped_column(String(64), index=True)
    status: Mapped[MessageStatus] = mapped_column(
        status_column(MessageStatus, "message_status"), default=MessageStatus.PENDING
    )
    attempts: Mapped[int] = mapped_column(default=0)
    available_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    done_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index(
            "ix_outbox_messages_due",
            "queue",
            "available_at",
            "id",
            postgresql_where=text("status = 'pending'"),
            sqlite_where=text("status = 'pending'"),
        ),
        Index("ix_outbox_messages_status", "status", "id"),
    )


@dataclass(frozen=True, slots=True)
class Subscription:
    """A topic's handler: `lease` is how long one run may take before another worker may try."""

    topic: str
    queue: str
    handler: Handler
    lease: timedelta
    on_exhausted: Handler | None


_subscriptions: dict[str, Subscription] = {}


class UnknownTopic(LookupError):
    """A topic without a handler was published; `tests/structure` keeps this from happening."""


def handles(
    topic: str,
    *,
    queue: str = QueueName.DEFAULT,
    lease: timedelta = _LEASE,
    on_exhausted: Handler | None = None,
) -> Callable[[Handler], Handler]:
    """Register the one handler of a topic. `on_exhausted` is told when the last try failed."""

    def register(handler: Handler) -> Handler:
        known = _subscriptions.get(topic)
        if known is not None and known.handler.__qualname__ != handler.__qualname__:
            raise ValueError(f"two handlers for {topic}")
        _subscriptions[topic] = Subscription(topic, queue, handler, lease, on_exhausted)
        return handler

    return register


def subscriptions() -> dict[str, Subscription]:
    """Every topic and its handler."""
    return dict(_subscriptions)


def publish(
    topic: str,
    *,
    key: str | None = None,
    available_at: datetime | None = None,
    queue: str | None = None,
    **payload: Any,
) -> bool:
    """Write an effect in the current transaction; `payload` is ids only. `queue` is a site host's own, if one is meant.

    With a `key` the effect exists once, as long as it is remembered: a second publication changes nothing and returns
    False.
    """
    subscription = _subscriptions.get(topic)
    if subscription is None:
        raise UnknownTopic(topic)
    now = clock.now()
    queue = queue or str(subscription.queue)
    row = {
        "topic": topic,
        "queue": queue,
        "payload": payload,
        "key": key,
        "cause": current_cause(),
        "status": MessageStatus.PENDING,
        "attempts": 0,
        "available_at": available_at or now,
        "created_at": now,
    }
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    statement = insert(OutboxMessage).values(row).on_conflict_do_nothing(index_elements=["key"])
    # Asked for by RETURNING: the row count of such an insert is not told by every driver.
    if db.session.execute(statement.returning(OutboxMessage.id)).first() is None:
        return False
    if available_at is None or available_at <= now:
        after_commit(_Wake(queue))
    return True


@dataclass(frozen=True, slots=True)
class _Wake:
    """A comparable callback, so that a unit of work wakes each queue once."""

    queue: str

    def __call__(self) -> None:
        queues.wake(self.queue)


def drain(queue: str, *, limit: int = 500) -> int:
    """Carry out what is due in `queue`; returns how many messages were tried."""
    tried = 0
    while tried < limit:
        claimed = _claim(queue)
        for message in claimed:
            if _is_still_ours(message):
                _carry_out(message)
        tried += len(claimed)
        if len(claimed) < _BATCH:
            return tried
    return tried


def has_due(queue: str, *, at: datetime) -> bool:
    """Whether a message of the queue waits to be carried out."""
    return (
        db.session.execute(
            db.select(OutboxMessage.id)
            .where(
                OutboxMessage.queue == queue,
                OutboxMessage.status == MessageStatus.PENDING,
                OutboxMessage.available_at <= at,
            )
            .limit(1)
        ).first()
        is not None
    )


def is_pending(keys: Collection[str]) -> bool:
    """Whether an effect of one of these keys is still to be carried out."""
    found = (OutboxMessage.key.in_(keys), OutboxMessage.status == MessageStatus.PENDING)
    return db.session.execute(db.select(OutboxMessage.id).where(*found).limit(1)).first() is not None


def run_again(message_id: int, *, at: datetime) -> bool:
    """Put a failed message back in the queue with fresh tries; False when it is not failed."""
    message = db.session.get(OutboxMessage, message_id)
    if message is None:
        return False
    result: Any = db.session.execute(
        update(OutboxMessage)
        .where(OutboxMessage.id == message_id, OutboxMessage.status == MessageStatus.FAILED)
        .values(status=MessageStatus.PENDING, attempts=0, available_at=at)
    )
    if result.rowcount:
        after_commit(_Wake(message.queue))
    return bool(result.rowcount)


def forget_done(*, at: datetime) -> int:
    """Delete the effects that were carried out long ago, some at a time; returns how many. Failed ones stay."""
    old = (
        db.select(OutboxMessage.id)
        .where(OutboxMessage.status == MessageStatus.DONE, OutboxMessage.done_at < at - REMEMBERED)
        .order_by(OutboxMessage.id)
        .limit(_FORGET_AT_ONCE)
    )
    result: Any = db.session.execute(
        delete(OutboxMessage)
        .where(OutboxMessage.id.in_(old.scalar_subquery()))
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount)


def backoff(attempts: int) -> timedelta:
    """How long to wait after the n-th failed try: 5 s, 20 s, 80 s ... up to six hours, with jitter."""
    wait = min(timedelta(seconds=5 * 4 ** max(attempts - 1, 0)), _LONGEST_WAIT)
    return wait * random.uniform(0.9, 1.1)  # noqa: S311  # jitter, not a secret


@dataclass(frozen=True, slots=True)
class _Claim:
    id: int
    topic: str
    payload: dict[str, Any]
    attempts: int
    cause: str | None
    claimed_at: datetime


def _claim(queue: str) -> list[_Claim]:
    """Take up to a batch of due messages under a lease; two workers never hold the same one."""
    now = clock.now()
    due = (
        db.select(OutboxMessage.id)
        .where(
            OutboxMessage.queue == queue,
            OutboxMessage.status == MessageStatus.PENDING,
            OutboxMessage.available_at <= now,
        )
        .order_by(OutboxMessage.available_at, OutboxMessage.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    )
    with unit_of_work() as session:
        rows = session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.id.in_(due.scalar_subquery()))
            .values(attempts=OutboxMessage.attempts + 1, available_at=_lease_end(queue, now))
            .returning(
                OutboxMessage.id,
                OutboxMessage.topic,
                OutboxMessage.payload,
                OutboxMessage.attempts,
                OutboxMessage.cause,
            )
            .execution_options(synchronize_session=False)
        ).all()
    claims = [_Claim(row.id, row.topic, row.payload, row.attempts, row.cause, now) for row in rows]
    return sorted(claims, key=lambda claim: claim.id)


def _is_still_ours(claim: _Claim) -> bool:
    """Whether nobody else has claimed the message meanwhile; one that waited for slow ones gets a fresh lease."""
    now = clock.now()
    if now - claim.claimed_at < _FRESH:
        return True
    subscription = _subscriptions.get(claim.topic)
    lease = subscription.lease if subscription is not None else _LEASE
    with unit_of_work() as session:
        result: Any = session.execute(
            update(OutboxMessage)
            .where(*_as_claimed(claim))
            .values(available_at=now + lease)
            .execution_options(synchronize_session=False)
        )
    return bool(result.rowcount)


def _as_claimed(claim: _Claim) -> tuple[ColumnElement[bool], ...]:
    """The condition that finds the message as long as no other worker has taken it over or done it."""
    return (
        OutboxMessage.id == claim.id,
        OutboxMessage.status == MessageStatus.PENDING,
        OutboxMessage.attempts == claim.attempts,
    )


def _lease_end(queue: str, now: datetime) -> ColumnElement[datetime]:
    """When another worker may try each claimed message, by its topic."""
    kind = queues.kind_of(queue)
    ends = {s.topic: now + s.lease for s in _subscriptions.values() if s.queue == kind and s.lease != _LEASE}
    usual = literal(now + _LEASE, UTCDateTime())
    if not ends:
        return usual
    whens = {topic: literal(end, UTCDateTime()) for topic, end in ends.items()}
    return case(whens, value=OutboxMessage.topic, else_=usual)


def _carry_out(claim: _Claim) -> None:
    subscription = _subscriptions.get(claim.topic)
    try:
        fault("outbox-before-handler")
        with caused_by(claim.cause or f"message:{claim.id}"):
            _handler_of(claim.topic)(**claim.payload)
        fault("outbox-before-done")
    except Exception as error:  # noqa: BLE001  # a handler may raise anything
        # Whatever a handler raises is this message's trouble alone; the rest of the batch goes on.
        _put_back(claim, subscription, error)
        return
    finally:
        db.session.rollback()
    with unit_of_work() as session:
        session.execute(
            update(OutboxMessage)
            .where(OutboxMessage.id == claim.id)
            .values(status=MessageStatus.DONE, done_at=clock.now(), last_error=None)
            .execution_options(synchronize_session=False)
        )


def _handler_of(topic: str) -> Handler:
    if topic not in _subscriptions:
        raise UnknownTopic(topic)
    return _subscriptions[topic].handler


def _put_back(claim: _Claim, subscription: Subscription | None, error: Exception) -> None:
    exhausted = claim.attempts >= MAX_ATTEMPTS
    log.warning(
        "effect_failed", topic=claim.topic, message_id=claim.id, attempt=claim.attempts, exhausted=exhausted,
        exc_info=error,
    )  # fmt: skip
    db.session.rollback()
    with unit_of_work() as session:
        result: Any = session.execute(
            update(OutboxMessage)
            .where(*_as_claimed(claim))
            .values(
                status=MessageStatus.FAILED if exhausted else MessageStatus.PENDING,
                available_at=clock.now() + backoff(claim.attempts),
                last_error=f"{type(error).__name__}: {error}"[:_TRACE_LENGTH],
            )
            .execution_options(synchronize_session=False)
        )
        if result.rowcount and exhausted and subscription is not None and subscription.on_exhausted is not None:
            subscription.on_exhausted(**claim.payload)
