"""What needs a person, most money first: one statement over all queues, each read by its index and up to a limit."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    or_,
    text,
    union_all,
)

from portal.accounts.models import User
from portal.admin.queries.work_changes import changes_to_make
from portal.admin.queries.work_production import parcels_to_look_at, parts_to_look_at
from portal.admin.queries.work_quotes import quotes_to_price
from portal.admin.queries.work_refunds import open_disputes, refunds_to_look_at
from portal.admin.queries.work_rows import LIMIT, WorkKind, row
from portal.core.db import db
from portal.core.mail import MailMessage, MailStatus
from portal.core.money import Money
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.paging import Page
from portal.orders.invariants import is_handed_over
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.payments.extension import current_registry
from portal.payments.models import (
    AttemptStatus,
    EventStatus,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentSession,
    ProviderEvent,
    SessionStatus,
    Standing,
)
from portal.payments.providers.base import DecidedByHand

__all__ = ["LIMIT", "WorkItem", "WorkKind", "WorkList", "read_work_list"]

PAGE_SIZE = 25
# How many of the newest payments are looked at for what should have come with them. Settling is one transaction, so
# a gap is a bug of ours and shows at once; looking through all payments for ever would cost more with every sale.
_WATCHED_SESSIONS = 1_000
# An expired session is closed within a minute when the provider answers.
_OVERDUE = timedelta(minutes=15)
# Where nobody can be asked, a person looks after a day at the latest.
_BY_HAND_AFTER = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One row: what it is about, what it is called, how much is at stake and since when it waits."""

    kind: WorkKind
    id: int
    name: str
    note: str
    detail: str
    amount: Money | None
    since: datetime


@dataclass(frozen=True, slots=True)
class WorkList:
    """The queues together. `counts` go up to LIMIT; `at_stake` sums what is on the list, by currency."""

    page: Page[WorkItem]
    counts: dict[WorkKind, int]
    at_stake: list[Money]


def read_work_list(*, at: datetime, kind: WorkKind | None, start: int = 0) -> WorkList:
    """A page of what needs a person, or of one queue of it, beginning with the `start`-th row."""
    items = sorted((_item(row) for row in db.session.execute(_statement(at)).all()), key=_urgency)
    counts = {one: sum(item.kind is one for item in items) for one in WorkKind}
    shown = [item for item in items if kind is None or item.kind is kind]
    if kind is WorkKind.DISPUTE:
        # What a bank's deadline decides does not wait for larger sums.
        shown.sort(key=lambda item: item.since)
    start = max(0, min(start, len(shown) - 1)) // PAGE_SIZE * PAGE_SIZE
    page = Page(
        rows=shown[start : start + PAGE_SIZE],
        older=str(start + PAGE_SIZE) if start + PAGE_SIZE < len(shown) else None,
        newer=str(start - PAGE_SIZE) if start else None,
    )
    return WorkList(page, counts, _sums(shown))


def _urgency(item: WorkItem) -> tuple[bool, Any, datetime]:
    """The most money first, then the oldest. Amounts of different currencies are compared by their number alone: to
    convert them would need a rate, and it is only the order of a list."""
    return (item.amount is None, -item.amount.to_decimal() if item.amount else 0, item.since)


def _sums(items: list[WorkItem]) -> list[Money]:
    totals: dict[str, Money] = {}
    for item in items:
        if item.amount is not None:
            totals[item.amount.currency] = (
                totals.get(item.amount.currency, Money(0, item.amount.currency)) + item.amount
            )
    return [totals[currency] for currency in sorted(totals)]


def _item(row: Row[Any]) -> WorkItem:
    amount_minor, currency = row.amount_minor, row.currency
    if amount_minor is None:
        amount_minor, currency = _told_amount(row.facts)
    return WorkItem(
        kind=WorkKind(row.kind),
        id=row.id,
        name=row.name,
        note=row.note or "",
        detail=row.detail or "",
        amount=_money(amount_minor, currency),
        since=row.since,
    )


def _money(amount_minor: int | None, currency: str | None) -> Money | None:
    """An amount, when it is one: an event may tell anything."""
    try:
        return Money(amount_minor, currency) if amount_minor is not None and currency else None
    except (TypeError, ValueError):
        return None


def _told_amount(facts: list[dict[str, Any]] | None) -> tuple[int | None, str | None]:
    """The amount an event speaks of when it names no payment of ours."""
    for fact in facts or []:
        if fact.get("amount_minor") is not None and fact.get("currency"):
            return fact["amount_minor"], fact["currency"]
    return None, None


def _statement(at: datetime) -> Any:
    watched = _watched()
    branches = [
        _events(EventStatus.CONFLICT, WorkKind.CONFLICT),
        _events(EventStatus.UNMATCHED, WorkKind.UNMATCHED),
        _events(EventStatus.FAILED, WorkKind.PARKED),
        _sessions_without_invoice(watched),
        _sessions_without_order(watched),
        _unfulfilled_orders(),
        _late_sessions(at),
        _failed_mails(),
        _failed_effects(),
        refunds_to_look_at(),
        open_disputes(),
        parts_to_look_at(at),
        parcels_to_look_at(at),
        quotes_to_price(),
        changes_to_make(at),
    ]
    # Each in a subquery of its own: SQLite takes no LIMIT inside a UNION otherwise.
    return union_all(*(db.select(branch.subquery()) for branch in branches))


def _events(status: EventStatus, kind: WorkKind) -> Select[Any]:
    """Events of one status. What is at stake is the money that came, else what the payment was for."""
    came = (
        db.select(Payment.amount_minor)
        .where(Payment.event_id == ProviderEvent.id, Payment.standing == Standing.SURPLUS)
        .order_by(Payment.id)
        .limit(1)
        .scalar_subquery()
    )
    came_in = (
        db.select(Payment.currency)
        .where(Payment.event_id == ProviderEvent.id, Payment.standing == Standing.SURPLUS)
        .order_by(Payment.id)
        .limit(1)
        .scalar_subquery()
    )
    return (
        row(
            kind,
            id=ProviderEvent.id,
            # A payment says in its description which order it is for; staff look for that.
            name=func.coalesce(PaymentSession.description, ProviderEvent.event_type),
            note=ProviderEvent.verdict,
            detail=ProviderEvent.provider,
            amount_minor=func.coalesce(came, PaymentSession.amount_minor),
            currency=func.coalesce(came_in, PaymentSession.currency),
            since=ProviderEvent.received_at,
            facts=ProviderEvent.normalised,
        )
        .select_from(ProviderEvent)
        .outerjoin(PaymentSession, PaymentSession.public_id == ProviderEvent.session_public_id)
        .where(ProviderEvent.status == status)
        .order_by(ProviderEvent.id)
        .limit(LIMIT)
    )


@dataclass(frozen=True, slots=True)
class _Watched:
    """The newest payment sessions, by the lowest id among them and among what they are for.

    Ids instead of a subquery: with a range on both sides of a join PostgreSQL reads two short stretches of index,
    where it would look up each session's invoice and order one by one.
    """

    session_id: int
    order_id: int


def _watched() -> _Watched:
    newest = (
        db.select(
            PaymentSession.id, case((PaymentSession.purpose == "order", PaymentSession.subject_id)).label("order_id")
        )
        .order_by(PaymentSession.id.desc())
        .limit(_WATCHED_SESSIONS)
        .subquery()
    )
    row = db.session.execute(db.select(func.min(newest.c.id), func.min(newest.c.order_id))).one()
    return _Watched(row[0] or 0, row[1] or 0)


def _sessions_without_invoice(watched: _Watched) -> Select[Any]:
    has_invoice = exists().where(Invoice.session_id == PaymentSession.id, Invoice.session_id >= watched.session_id)
    return (
        _session_row(WorkKind.NO_INVOICE, since=_SETTLED_AT)
        .where(PaymentSession.id >= watched.session_id, PaymentSession.status == SessionStatus.PAID, ~has_invoice)
        .limit(LIMIT)
    )


def _sessions_without_order(watched: _Watched) -> Select[Any]:
    """The money counts and the order does not know of it, is gone, or was called off before the money came."""
    return (
        _session_row(
            WorkKind.NO_ORDER,
            since=_SETTLED_AT,
            detail=case((Order.status == OrderStatus.CANCELLED, "cancelled"), else_="missing"),
        )
        .outerjoin(Order, and_(Order.id == PaymentSession.subject_id, Order.id >= watched.order_id))
        .where(
            PaymentSession.id >= watched.session_id,
            PaymentSession.status == SessionStatus.PAID,
            PaymentSession.purpose == "order",
            or_(
                Order.id.is_(None),
                Order.payment_status == PaymentStatus.PENDING,
                and_(Order.status == OrderStatus.CANCELLED, Order.payment_status != PaymentStatus.REFUNDED),
            ),
        )
        .limit(LIMIT)
    )


_SETTLED_AT = func.coalesce(PaymentSession.paid_at, PaymentSession.created_at)


def _session_row(kind: WorkKind, *, since: Any, detail: Any = None) -> Select[Any]:
    return row(
        kind,
        id=PaymentSession.id,
        name=PaymentSession.public_id,
        note=PaymentSession.description,
        detail=detail,
        amount_minor=PaymentSession.amount_minor,
        currency=PaymentSession.currency,
        since=since,
    )


def _unfulfilled_orders() -> Select[Any]:
    """Orders that are paid and not delivered; `detail` says whether the buyer's address still has to be proven."""
    is_proven = exists().where(User.email == Order.email, User.email_verified_at.is_not(None))
    return (
        row(
            WorkKind.UNFULFILLED,
            id=Order.id,
            name=Order.number,
            note=Order.email,
            detail=case((is_proven, "delivery"), else_="verification"),
            amount_minor=Order.total_minor,
            currency=Order.currency,
            since=func.coalesce(Order.paid_at, Order.placed_at),
        )
        # In the words of the partial index ix_orders_open_paid.
        .where(
            text("orders.status = 'open' AND orders.payment_status <> 'pending'"),
            Order.payment_status != PaymentStatus.REFUNDED,
            is_handed_over(),
        )
        .order_by(Order.id)
        .limit(LIMIT)
    )


def _late_sessions(at: datetime) -> Select[Any]:
    """Payments nobody knows the end of: a provider did not answer, or has not said how it ended when time was up."""
    is_unknown = exists().where(
        PaymentAttempt.session_id == PaymentSession.id, PaymentAttempt.status == AttemptStatus.UNKNOWN
    )
    by_hand = [one.name for one in current_registry().enabled() if isinstance(one, DecidedByHand)]
    is_by_hand = exists().where(
        PaymentAttempt.session_id == PaymentSession.id,
        PaymentAttempt.provider.in_(by_hand),
        PaymentAttempt.status == AttemptStatus.OPEN,
    )
    return (
        _session_row(
            WorkKind.LATE,
            since=PaymentSession.created_at,
            detail=case((is_by_hand, "by_hand"), (is_unknown, "unknown"), else_="overdue"),
        )
        .where(
            PaymentSession.status.in_([SessionStatus.CREATED, SessionStatus.PENDING]),
            or_(
                is_unknown,
                PaymentSession.expires_at < at - _OVERDUE,
                and_(is_by_hand, PaymentSession.created_at < at - _BY_HAND_AFTER),
            ),
        )
        .order_by(PaymentSession.id)
        .limit(LIMIT)
    )


def _failed_mails() -> Select[Any]:
    return (
        row(
            WorkKind.MAIL,
            id=MailMessage.id,
            name=MailMessage.template,
            note=MailMessage.to,
            since=MailMessage.created_at,
        )
        .where(MailMessage.status == MailStatus.FAILED)
        .order_by(MailMessage.id)
        .limit(LIMIT)
    )


def _failed_effects() -> Select[Any]:
    return (
        row(
            WorkKind.EFFECT,
            id=OutboxMessage.id,
            name=OutboxMessage.topic,
            note=func.substr(OutboxMessage.last_error, 1, 200),
            since=OutboxMessage.created_at,
        )
        # A mail that failed is on the list as a mail.
        .where(OutboxMessage.status == MessageStatus.FAILED, OutboxMessage.topic != "mail.queued")
        .order_by(OutboxMessage.id)
        .limit(LIMIT)
    )
