"""Reads for the rooms of payments, invoices and webhooks."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, or_, text, union
from sqlalchemy.orm import selectinload

from portal.accounts.models import User
from portal.admin.queries.matching import is_id, is_named, starts_with
from portal.admin.queries.refunds import MoneyBack, money_back_of
from portal.core.audit import AuditEvent
from portal.core.db import db
from portal.core.outbox import OutboxMessage
from portal.core.paging import Page, paginate
from portal.core.state import StatusChange, history
from portal.orders.models import Order
from portal.orders.queries import order_paid_by
from portal.payments.errors import EventNotFound
from portal.payments.extension import current_listeners
from portal.payments.invoices import SERIES, TEST_SERIES
from portal.payments.models import (
    EventStatus,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
)
from portal.payments.providers.registry import ROWS

_SESSION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{0,12}){0,4}", re.IGNORECASE)
_MOST = 50


def provider_names() -> tuple[str, ...]:
    """Every provider there is a module for, switched on or not: old payments stay when one is switched off."""
    return tuple(row.name for row in ROWS)


def sender_names() -> tuple[str, ...]:
    """Everybody whose webhooks come into the inbox: the providers, and those whose news are not about money."""
    return (*provider_names(), *(listener.name for listener in current_listeners()))


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """What staff want to see of the payment sessions."""

    text: str = ""
    status: SessionStatus | None = None
    provider: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


def sessions_where(wanted: SessionFilter) -> Select[PaymentSession]:
    """The payment sessions of a filter, for a page or for the export."""
    statement: Select[PaymentSession] = db.select(PaymentSession)
    if wanted.status is not None:
        statement = statement.where(PaymentSession.status == wanted.status)
    if wanted.provider is not None:
        statement = statement.where(
            exists().where(PaymentAttempt.session_id == PaymentSession.id, PaymentAttempt.provider == wanted.provider)
        )
    if wanted.created_from is not None:
        statement = statement.where(PaymentSession.created_at >= wanted.created_from)
    if wanted.created_before is not None:
        statement = statement.where(PaymentSession.created_at < wanted.created_before)
    if wanted.text:
        statement = statement.where(_session_named(wanted.text))
    return statement


def _session_named(typed: str) -> Any:
    """By our id, by the buyer's address, or by a provider's reference of a try or of the money."""
    if _SESSION_ID.fullmatch(typed):
        return is_id(PaymentSession.public_id, typed)
    if "@" in typed:
        return is_named(PaymentSession.customer_email, typed.lower())
    # With the provider, because the indexes begin with it.
    tries = db.select(PaymentAttempt.session_id).where(
        PaymentAttempt.provider.in_(provider_names()), PaymentAttempt.provider_reference == typed
    )
    money = db.select(Payment.session_id).where(
        Payment.provider.in_(provider_names()), Payment.provider_reference == typed
    )
    return PaymentSession.id.in_(union(tries, money).scalar_subquery())


def sessions_page(wanted: SessionFilter, *, before: str | None, after: str | None) -> Page[PaymentSession]:
    """A page of payment sessions with their attempts, newest first."""
    statement = sessions_where(wanted).options(selectinload(PaymentSession.attempts))
    return paginate(statement, PaymentSession.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class SessionFile:
    """Everything staff see about one payment session."""

    session: PaymentSession
    payments: list[Payment]
    events: list[ProviderEvent]
    invoice: Invoice | None
    back: MoneyBack
    order: Order | None
    changes: list[StatusChange]


def find_session(public_id: str) -> PaymentSession | None:
    """A session with its attempts."""
    session: PaymentSession | None = db.session.scalar(
        db.select(PaymentSession)
        .where(PaymentSession.public_id == public_id)
        .options(selectinload(PaymentSession.attempts))
        .execution_options(populate_existing=True)
    )
    return session


def read_session_file(session: PaymentSession) -> SessionFile:
    """The same number of statements whatever happened to the session."""
    attempt_ids = [attempt.id for attempt in session.attempts]
    order = order_paid_by(session)
    changes = db.session.scalars(
        db.select(StatusChange)
        .where(
            or_(
                (StatusChange.entity == "payment_sessions") & (StatusChange.entity_id == session.id),
                (StatusChange.entity == "payment_attempts") & StatusChange.entity_id.in_(attempt_ids),
            )
        )
        .order_by(StatusChange.id)
    )
    return SessionFile(
        session=session,
        payments=list(
            db.session.scalars(db.select(Payment).where(Payment.session_id == session.id).order_by(Payment.id))
        ),
        events=list(
            db.session.scalars(
                db.select(ProviderEvent)
                .where(ProviderEvent.session_public_id == session.public_id)
                .order_by(ProviderEvent.id.desc())
                .limit(_MOST)
            )
        ),
        invoice=db.session.scalar(db.select(Invoice).where(Invoice.session_id == session.id)),
        back=money_back_of([session.id]),
        order=order,
        changes=list(changes),
    )


def invoices_page(typed: str, *, before: str | None, after: str | None) -> Page[Invoice]:
    """A page of invoices, newest first; found by their number, the order's number or the customer's address."""
    statement = db.select(Invoice)
    if typed and "@" in typed:
        buyers = db.select(User.id).where(is_named(User.email, typed.lower()))
        statement = statement.where(Invoice.user_id.in_(buyers))
    elif typed:
        column = Invoice.number if typed.upper().startswith((SERIES, TEST_SERIES)) else Invoice.subject_number
        statement = statement.where(is_named(column, typed.upper()))
    return paginate(statement, Invoice.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """What staff want to see of the webhook inbox."""

    text: str = ""
    provider: str | None = None
    status: EventStatus | None = None
    event_type: str = ""
    source: str | None = None
    received_from: datetime | None = None
    received_before: datetime | None = None


def events_page(wanted: EventFilter, *, before: str | None, after: str | None) -> Page[ProviderEvent]:
    """A page of the inbox, newest first; found by the payment's id or the delivery's key."""
    statement = db.select(ProviderEvent)
    if wanted.provider is not None:
        statement = statement.where(ProviderEvent.provider == wanted.provider)
    if wanted.status is not None:
        statement = statement.where(ProviderEvent.status == wanted.status)
    if wanted.event_type:
        statement = statement.where(starts_with(ProviderEvent.event_type, wanted.event_type))
    if wanted.source == "poll":
        # In the words of the partial index ix_provider_events_asked.
        statement = statement.where(text("provider_events.source = 'poll'"))
    elif wanted.source is not None:
        statement = statement.where(ProviderEvent.source == wanted.source)
    if wanted.received_from is not None:
        statement = statement.where(ProviderEvent.received_at >= wanted.received_from)
    if wanted.received_before is not None:
        statement = statement.where(ProviderEvent.received_at < wanted.received_before)
    if wanted.text and _SESSION_ID.fullmatch(wanted.text):
        statement = statement.where(is_id(ProviderEvent.session_public_id, wanted.text))
    elif wanted.text:
        # With the provider, because the unique index begins with it.
        of_ours = ProviderEvent.provider.in_(sender_names())
        statement = statement.where(of_ours, is_named(ProviderEvent.delivery_key, wanted.text, of_ours))
    return paginate(statement, ProviderEvent.id, before=before, after=after)


@dataclass(frozen=True, slots=True)
class EventFile:
    """One event of the inbox with its own history and everything it brought about."""

    event: ProviderEvent
    session: PaymentSession | None
    order: Order | None
    payments: list[Payment]
    effects: list[OutboxMessage]
    history: list[StatusChange]
    changes: list[StatusChange]
    audit_lines: list[AuditEvent]


def get_event(event_id: int) -> ProviderEvent:
    """An event of the inbox. Raises EventNotFound."""
    event = db.session.get(ProviderEvent, event_id)
    if event is None:
        raise EventNotFound
    return event


def read_event_file(event: ProviderEvent) -> EventFile:
    """The event with its effects, found by their cause."""
    cause = f"event:{event.id}"
    session = None
    if event.session_public_id is not None:
        session = db.session.scalar(
            db.select(PaymentSession).where(PaymentSession.public_id == event.session_public_id)
        )
    order = order_paid_by(session) if session is not None else None
    return EventFile(
        event=event,
        session=session,
        order=order,
        payments=list(db.session.scalars(db.select(Payment).where(Payment.event_id == event.id).order_by(Payment.id))),
        effects=list(
            db.session.scalars(
                db.select(OutboxMessage).where(OutboxMessage.cause == cause).order_by(OutboxMessage.id).limit(_MOST)
            )
        ),
        history=history(event),
        changes=list(
            db.session.scalars(
                db.select(StatusChange).where(StatusChange.cause == cause).order_by(StatusChange.id).limit(_MOST)
            )
        ),
        audit_lines=list(
            db.session.scalars(
                db.select(AuditEvent).where(AuditEvent.cause == cause).order_by(AuditEvent.id).limit(_MOST)
            )
        ),
    )
