"""What must be true of payments: each rule with the one click that makes it true again, where a click can."""

import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from flask_babel import lazy_gettext as _l
from sqlalchemy import ColumnElement, exists, func, select

from portal.core.db import db
from portal.core.invariants import LIMIT, AlreadyRight, Breach, Reach, invariant
from portal.core.numbering import NumberSequence
from portal.payments import hooks
from portal.payments.invoices import SERIES, issue_invoice
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
from portal.payments.services import checking, draining

_A_DAY, _AN_HOUR = timedelta(days=1), timedelta(hours=1)
# A drainer works off what is due within seconds.
_NOT_DRAINED = timedelta(minutes=10)
_OPEN = (SessionStatus.CREATED, SessionStatus.PENDING)
_NUMBER = re.compile(rf"({SERIES}-[0-9]{{4}})-([0-9]+)")


def _session(one: PaymentSession, *, since: datetime | None = None) -> Breach:
    return Breach(
        f"payment_sessions:{one.id}",
        one.description,
        one.customer_email or "",
        one.amount,
        since or one.created_at,
        reference=one.public_id,
    )


def _sessions(*where: ColumnElement[bool]) -> list[PaymentSession]:
    statement = select(PaymentSession).where(*where).order_by(PaymentSession.id).limit(LIMIT)
    return list(db.session.scalars(statement))


def newest_sessions(reach: Reach) -> int:
    """The lowest id among the newest payment sessions. An id and no subquery, so that both sides of an anti-join are
    one short stretch of index each."""
    newest = select(PaymentSession.id).order_by(PaymentSession.id.desc()).limit(reach.rows).subquery()
    return db.session.scalar(select(func.min(newest.c.id))) or 0


def _locked(session_id: int) -> PaymentSession:
    return db.session.get_one(PaymentSession, session_id, with_for_update=True, populate_existing=True)


# --- paid, and something that belongs to it is missing ---


def _issue(subject_id: int, *, by: str, at: datetime) -> None:  # noqa: ARG001  # the caller notes who
    session = _locked(subject_id)
    has_one = db.session.scalar(select(Invoice.id).where(Invoice.session_id == session.id))
    if session.status is not SessionStatus.PAID or has_one is not None:
        raise AlreadyRight
    issue_invoice(
        session, bill=hooks.bill_of(session), provider=session.provider or "", at=at,
        provider_reference=session.provider_reference,
    )  # fmt: skip


@invariant(
    "paid_without_invoice",
    title=_l("Paid without invoice"),
    advice=_l("The money counts and no invoice was issued. Issue it now; it carries the day of today."),
    repair=_issue,
    action=_l("Issue the invoice"),
)
def paid_without_invoice(reach: Reach) -> Sequence[Breach]:
    """Settling issues it in the same transaction, so a missing one was deleted or lost by a bug."""
    first = newest_sessions(reach)
    has_invoice = exists().where(Invoice.session_id == PaymentSession.id, Invoice.session_id >= first)
    found = _sessions(PaymentSession.id >= first, PaymentSession.status == SessionStatus.PAID, ~has_invoice)
    return [_session(one, since=one.paid_at) for one in found]


@invariant(
    "paid_without_money",
    title=_l("Paid, and no money came"),
    advice=_l("A payment is marked as paid and no money counts for it. Look at the provider's page before anything."),
)
def paid_without_money(reach: Reach) -> Sequence[Breach]:
    """A paid session has exactly one payment that counts."""
    first = newest_sessions(reach)
    counted = exists().where(
        Payment.session_id == PaymentSession.id, Payment.session_id >= first, Payment.standing == Standing.COUNTED
    )
    found = _sessions(PaymentSession.id >= first, PaymentSession.status == SessionStatus.PAID, ~counted)
    return [_session(one, since=one.paid_at) for one in found]


# --- nobody knows how it ended ---


def _ask(subject_id: int, *, by: str, at: datetime) -> None:  # noqa: ARG001  # the caller notes who
    session = _locked(subject_id)
    if session.is_final:
        raise AlreadyRight
    session.check_at = at
    checking.request_check(session, at=at)


@invariant(
    "open_for_too_long",
    title=_l("Open for longer than a day"),
    advice=_l("Its time is up and no provider has said how it ended. Ask; it is closed as soon as one answers."),
    repair=_ask,
    action=_l("Ask the provider"),
)
def open_for_too_long(reach: Reach) -> Sequence[Breach]:
    """The checks close a session within minutes of its end, when the provider answers."""
    found = _sessions(
        PaymentSession.status.in_(_OPEN),
        PaymentSession.created_at < reach.at - _A_DAY,
        PaymentSession.expires_at < reach.at,
    )
    return [_session(one) for one in found]


@invariant(
    "attempt_unknown",
    title=_l("Tries that nobody knows the end of"),
    advice=_l("A provider did not answer when the buyer was sent there. Ask again: the same page is found, or none."),
    repair=_ask,
    action=_l("Ask the provider"),
)
def attempt_unknown(reach: Reach) -> Sequence[Breach]:
    """Unknown is not failed: a page may be open there that can be paid."""
    unclear = exists().where(
        PaymentAttempt.session_id == PaymentSession.id,
        PaymentAttempt.status.in_((AttemptStatus.UNKNOWN, AttemptStatus.STARTING)),
        PaymentAttempt.created_at < reach.at - _AN_HOUR,
    )
    return [_session(one) for one in _sessions(PaymentSession.status.in_(_OPEN), unclear)]


# --- money and events that do not fit ---


@invariant(
    "surplus_kept",
    title=_l("Money that does not count"),
    advice=_l("It came on top, too late or in another amount. Give it back or use it, then note that on the event."),
)
def surplus_kept(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # the index holds these alone
    """Surplus whose event still waits for a person."""
    rows = db.session.execute(
        select(Payment, PaymentSession.description)
        .join(ProviderEvent, ProviderEvent.id == Payment.event_id)
        .join(PaymentSession, PaymentSession.id == Payment.session_id)
        .where(Payment.standing == Standing.SURPLUS, ProviderEvent.status == EventStatus.CONFLICT)
        .order_by(Payment.id)
        .limit(LIMIT)
    )
    return [
        Breach(f"provider_events:{one.event_id}", description, one.surplus_reason or "", one.amount, one.received_at)
        for one, description in rows
    ]


def _event(one: ProviderEvent) -> Breach:
    return Breach(
        f"provider_events:{one.id}", one.event_type, f"{one.provider} · {one.verdict or ''}".rstrip(" ·"), None,
        one.received_at,
    )  # fmt: skip


def _events(*where: ColumnElement[bool]) -> list[Breach]:
    statement = select(ProviderEvent).where(*where).order_by(ProviderEvent.id).limit(LIMIT)
    return [_event(one) for one in db.session.scalars(statement)]


def _apply(status: EventStatus) -> "_RunAgain":
    return _RunAgain(status)


class _RunAgain:
    """Puts an event of one status back into the queue; another status means that somebody was faster."""

    def __init__(self, status: EventStatus) -> None:
        self._status = status

    def __call__(self, subject_id: int, /, *, by: str, at: datetime) -> None:
        event = db.session.get_one(ProviderEvent, subject_id, with_for_update=True, populate_existing=True)
        if event.status is not self._status:
            raise AlreadyRight
        draining.run_again(event.id, by=by, at=at)


@invariant(
    "other_conflict",
    title=_l("Events that contradict us"),
    advice=_l("The provider says something that our books do not. Find out which is right, then note it on the event."),
)
def other_conflict(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # the index holds these alone
    """Conflicts without money of their own: a failure after the payment, a refund or a dispute at the provider."""
    has_money = exists().where(Payment.event_id == ProviderEvent.id, Payment.standing == Standing.SURPLUS)
    return _events(ProviderEvent.status == EventStatus.CONFLICT, ~has_money)


@invariant(
    "unmatched_event",
    title=_l("Events without a payment"),
    advice=_l(
        "It names a payment that we do not have. Matching is tried for three days; after that, look whose it is."
    ),
    repair=_apply(EventStatus.UNMATCHED),
    action=_l("Match again"),
)
def unmatched_event(reach: Reach) -> Sequence[Breach]:
    """An event may overtake its session, but not by an hour."""
    return _events(ProviderEvent.status == EventStatus.UNMATCHED, ProviderEvent.received_at < reach.at - _AN_HOUR)


@invariant(
    "failed_event",
    title=_l("Events that failed"),
    advice=_l("Applying it failed again and again. Read why on its page, try it there without risk, then run it."),
    repair=_apply(EventStatus.FAILED),
    action=_l("Run again"),
)
def failed_event(reach: Reach) -> Sequence[Breach]:  # noqa: ARG001  # the index holds these alone
    """Parked after the last try."""
    return _events(ProviderEvent.status == EventStatus.FAILED)


def _wake(subject_id: int, *, by: str, at: datetime) -> None:  # noqa: ARG001  # the caller notes who
    event = db.session.get_one(ProviderEvent, subject_id, with_for_update=True, populate_existing=True)
    if event.status is not EventStatus.PENDING:
        raise AlreadyRight
    event.available_at = at


@invariant(
    "event_waits",
    title=_l("Events that nobody applies"),
    advice=_l("It should have been applied minutes ago. Is a worker running? See the page of jobs."),
    repair=_wake,
    action=_l("Put it first"),
)
def event_waits(reach: Reach) -> Sequence[Breach]:
    """Due for ten minutes, although an inbox is worked off within seconds."""
    return _events(ProviderEvent.status == EventStatus.PENDING, ProviderEvent.available_at < reach.at - _NOT_DRAINED)


# --- numbers ---


@invariant(
    "invoice_gap",
    title=_l("Gaps in the invoice numbers"),
    advice=_l("A number is missing, so an invoice was deleted. Find it in a backup: a number is never given twice."),
)
def invoice_gap(reach: Reach) -> Sequence[Breach]:
    """The newest numbers of each series follow one another up to the last one drawn."""
    newest = db.session.execute(
        select(Invoice.number, Invoice.issued_at).order_by(Invoice.id.desc()).limit(reach.rows)
    ).all()
    drawn: dict[str, dict[int, datetime]] = defaultdict(dict)
    for number, issued_at in newest:
        found = _NUMBER.fullmatch(number)
        if found is not None:
            drawn[found.group(1)][int(found.group(2))] = issued_at
    is_all = len(newest) < reach.rows
    series = db.session.scalars(
        select(NumberSequence).where(NumberSequence.series.startswith(f"{SERIES}-")).order_by(NumberSequence.series)
    ).all()
    breaches: list[Breach] = []
    for row in series:
        mine = drawn.get(row.series, {})
        if not mine and not is_all:
            continue  # A year that is further back than we look.
        first = 1 if is_all else min(mine)
        missing = [value for value in range(first, row.value + 1) if value not in mine]
        for value in missing[:LIMIT]:
            after = [at for number, at in mine.items() if number > value]
            breaches.append(
                Breach(
                    f"invoice_numbers:{row.series}-{value}",
                    f"{row.series}-{value:05d}",
                    "",
                    None,
                    min(after, default=None),
                )
            )
    return breaches[:LIMIT]
