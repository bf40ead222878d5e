"""What a person decides about refunds: those given by hand, those a provider says nothing about, those to look at."""

from datetime import date, datetime, timedelta

from sqlalchemy import select

from portal.core import audit
from portal.core.db import db, unit_of_work
from portal.core.state import InvalidTransition
from portal.payments.errors import RefundNotAskable
from portal.payments.refund_models import Refund, RefundFlag, RefundStatus
from portal.payments.services.returning import book_failure, book_success, lock_refund

# Banks take up to ten days (https://docs.stripe.com/refunds: "5-10 business days"); after that somebody should look.
_LONG = timedelta(days=14)
_BATCH = 100


def note_given(refund_id: int, *, reference: str, given_on: date, note: str, by: str, at: datetime) -> Refund:
    """A person gave the money, or saw at the provider that it was given. Raises InvalidTransition when decided."""
    refund = lock_refund(refund_id)
    if not is_for_a_person(refund):
        raise InvalidTransition(refund, RefundStatus.SUCCEEDED)
    values = {"hand_reference": reference, "given_on": given_on, "note": _added(refund.note, note)}
    book_success(refund, by=by, at=at, values=values)
    return refund


def note_not_given(refund_id: int, *, note: str, by: str, at: datetime) -> Refund:
    """A person saw that no money was given, and lets it be. Raises InvalidTransition when it is decided."""
    refund = lock_refund(refund_id)
    if not is_for_a_person(refund):
        raise InvalidTransition(refund, RefundStatus.FAILED)
    book_failure(refund, by=by, at=at, reason=note, values={"flag": None})
    return refund


def is_for_a_person(refund: Refund) -> bool:
    """Only what no program will end: by hand, or asked for in vain."""
    return refund.is_open and refund.flag in (RefundFlag.BY_HAND, RefundFlag.UNANSWERED)


def _added(note: str, more: str) -> str:
    return "\n".join(part for part in (note, more) if part)


def note_seen(refund_id: int, *, by: str) -> None:
    """Take a finished refund off the work list: a person has looked at it. Raises RefundNotAskable while it is open."""
    refund = lock_refund(refund_id)
    if refund.is_open:
        raise RefundNotAskable
    refund.flag = None
    audit.record("refund.seen", actor=by, subject=f"refunds:{refund.id}")


def flag_overdue(*, at: datetime) -> int:
    """Hand refunds to a person that a provider has had for long without an end; returns how many. Opens its own unit
    of work."""
    with unit_of_work():
        overdue = db.session.scalars(
            select(Refund)
            .where(Refund.status == RefundStatus.PENDING, Refund.flag.is_(None), Refund.asked_at < at - _LONG)
            .order_by(Refund.id)
            .limit(_BATCH)
            .with_for_update(skip_locked=True)
        ).all()
        for refund in overdue:
            refund.flag = RefundFlag.UNANSWERED
    return len(overdue)
