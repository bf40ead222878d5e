"""The audit log: who did what to what, from where, with before and after; and what caused it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from portal.core import clock, context
from portal.core.db import Base, UTCDateTime, db

_cause: ContextVar[str | None] = ContextVar("cause", default=None)
# A value under such a name never reaches the log, whoever passes it.
_SECRET_WORDS = ("password", "secret", "token", "hash", "api_key", "recovery")


class AuditEvent(Base):
    """One line of the audit log; nothing updates or deletes it."""

    __tablename__ = "audit_events"

    id: Mapped[int] = mapped_column(primary_key=True)
    event: Mapped[str] = mapped_column(String(64))
    actor: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str | None] = mapped_column(String(128))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    detail: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[str | None] = mapped_column(String(64))
    ip_address: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index("ix_audit_events_subject", "subject", "id"),
        Index("ix_audit_events_event", "event", "id"),
        Index("ix_audit_events_actor", "actor", "id"),
        Index(
            "ix_audit_events_cause",
            "cause",
            postgresql_where=text("cause IS NOT NULL"),
            sqlite_where=text("cause IS NOT NULL"),
        ),
    )


def record(
    event: str,
    *,
    actor: str,
    subject: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    detail: str | None = None,
) -> None:
    """Write one line in the current transaction. `actor` is an e-mail, `job:<name>` or `event:<id>`; `subject` is
    `<table>:<id>`."""
    db.session.add(
        AuditEvent(
            event=event,
            actor=actor,
            subject=subject,
            before=_without_secrets(before),
            after=_without_secrets(after),
            detail=detail,
            cause=current_cause(),
            ip_address=context.client_address(),
            request_id=context.request_id(),
            at=clock.now(),
        )
    )


@contextmanager
def caused_by(cause: str) -> Iterator[None]:
    """Mark everything written inside as an effect of `cause` (such as `event:17`), for the effect ledger."""
    token = _cause.set(cause)
    try:
        yield
    finally:
        _cause.reset(token)


def current_cause() -> str | None:
    """What is being carried out, or None for an ordinary request."""
    return _cause.get()


def _without_secrets(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {name: _hide(name, value) for name, value in values.items()}


def is_secret(name: str) -> bool:
    """Whether a value under this name is shown to nobody."""
    return any(word in name.lower() for word in _SECRET_WORDS)


def _hide(name: str, value: Any) -> Any:
    if is_secret(name):
        return "[hidden]"
    if isinstance(value, Mapping):
        return _without_secrets(value)
    if isinstance(value, list | tuple):
        return [_hide(name, one) for one in value]
    return value
