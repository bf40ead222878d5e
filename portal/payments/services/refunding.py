"""Giving money back: record it, ask the provider outside any transaction, record the answer.

A refund's own idempotency key is written before the provider is called, so a call whose answer was lost is repeated and
gives nothing twice. Nothing but an answer of the provider, or of a person who looked there, ends a refund that was
asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import select

from portal.core import audit, clock, outbox, queues
from portal.core.db import db, unit_of_work
from portal.core.faults import fault
from portal.core.money import Money
from portal.core.queues import QueueName
from portal.core.state import transition
from portal.payments import credit_notes
from portal.payments.errors import (
    FullRefundOnly,
    InvalidRefund,
    LineAlreadyRefunded,
    MoneyInDispute,
    NothingToRefund,
    RefundNotAskable,
    RefundTooLarge,
    RequestAlreadyUsed,
)
from portal.payments.extension import current_registry
from portal.payments.models import Payment, Standing
from portal.payments.providers.base import (
    Provider,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    RefundResult,
)
from portal.payments.providers.registry import UnknownProvider
from portal.payments.refund_models import Refund, RefundFlag, RefundOrigin, RefundReason, RefundStatus
from portal.payments.services.returning import (
    book_failure,
    book_success,
    is_disputed,
    lock_payments,
    lock_refund,
    lock_sessions,
    reconsider,
    record_refund,
)

log = structlog.get_logger(__name__)

# Providers remember an idempotency key for a day (https://docs.stripe.com/api/idempotent_requests: "at least 24
# hours"). Asking again later could give the money a second time.
KEY_LASTS = timedelta(hours=20)
# Refusals that are about us or about the call, and say nothing about the money.
_NO_ANSWER = frozenset({"idempotency_conflict", "not_configured"})


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be given back, once for each `key`: some invoice lines, an amount, or with neither all that is left.

    `payment_id` limits it to one payment, such as a surplus; otherwise it is spread over the payments of the sessions,
    those that count first.
    """

    session_ids: tuple[int, ...]
    key: str
    reason: RefundReason = RefundReason.OTHER
    note: str = ""
    amount: Money | None = None
    line_ids: tuple[int, ...] = ()
    payment_id: int | None = None
    keeps_access: bool = False

    def as_stored(self) -> dict[str, Any]:
        """The wish as it is kept, to know a repeated form from another one."""
        return {
            "sessions": sorted(self.session_ids),
            "payment": self.payment_id,
            "amount": self.amount.amount_minor if self.amount else None,
            "lines": sorted(self.line_ids),
            "reason": self.reason.value,
            "keeps_access": self.keeps_access,
        }


@dataclass(frozen=True, slots=True)
class Part:
    """What one payment contributes."""

    payment: Payment
    amount_minor: int
    line_ids: tuple[int, ...] = ()


def request_refund(wish: Wish, *, by: str, at: datetime) -> list[Refund]:
    """Record refunds and plan the calls, in the caller's transaction; the same key again gives the same refunds.

    Raises NothingToRefund, RefundTooLarge, InvalidRefund, LineAlreadyRefunded, FullRefundOnly, MoneyInDispute, or
    RequestAlreadyUsed for a key that asked for something else.
    """
    lock_sessions(wish.session_ids)
    payments = lock_payments(wish.session_ids)
    known = db.session.scalars(select(Refund).where(Refund.request_key == wish.key).order_by(Refund.id)).all()
    if known:
        if known[0].wish != wish.as_stored():
            raise RequestAlreadyUsed
        return list(known)
    if wish.payment_id is not None:
        payments = [payment for payment in payments if payment.id == wish.payment_id]
    parts = _parts(wish, payments)
    refunds = []
    for part in parts:
        if is_disputed(part.payment.id):
            raise MoneyInDispute
        is_by_hand = _check_provider(part)
        refund = record_refund(
            part.payment,
            part.amount_minor,
            origin=RefundOrigin.STAFF,
            request_key=wish.key,
            reason=wish.reason,
            by=by,
            at=at,
            note=wish.note,
            line_ids=list(part.line_ids),
            keeps_access=wish.keeps_access,
            wish=wish.as_stored(),
            flag=RefundFlag.BY_HAND if is_by_hand else None,
        )
        if not is_by_hand:
            outbox.publish("refund.requested", key=f"refund:{refund.id}:0", refund_id=refund.id)
        refunds.append(refund)
    fault("refund-after-record")
    return refunds


def _check_provider(part: Part) -> bool:
    """Whether the money must be given by hand. Raises FullRefundOnly."""
    payment = part.payment
    try:
        can = current_registry().get(payment.provider).capabilities
    except UnknownProvider:
        return True
    if not can.refund or payment.provider_reference is None:
        return True
    if not can.partial_refund and part.amount_minor != payment.amount_minor:
        raise FullRefundOnly
    return False


def _parts(wish: Wish, payments: Sequence[Payment]) -> list[Part]:
    """What each payment contributes. Money in dispute is passed over as long as the rest is enough."""
    rests = [payment for payment in payments if payment.rest_minor]
    if not rests:
        raise NothingToRefund
    if wish.line_ids:
        return _parts_by_line(wish, rests)
    if len({payment.currency for payment in rests}) > 1 and wish.amount is None:
        raise InvalidRefund(field="amount")
    if wish.amount is None:
        return [Part(payment, payment.rest_minor) for payment in rests]
    return _parts_by_amount(wish.amount, rests)


def _parts_by_amount(amount: Money, payments: Sequence[Payment]) -> list[Part]:
    rests = [payment for payment in payments if payment.currency == amount.currency]
    if amount.amount_minor <= 0 or not rests:
        raise InvalidRefund(field="amount")
    free = [payment for payment in rests if not is_disputed(payment.id)]
    left = amount.amount_minor
    if left > sum(payment.rest_minor for payment in rests):
        raise RefundTooLarge(field="amount")
    parts = []
    for payment in free:
        if left:
            parts.append(Part(payment, min(left, payment.rest_minor)))
            left -= parts[-1].amount_minor
    if left:
        raise MoneyInDispute
    return parts


def _parts_by_line(wish: Wish, payments: Sequence[Payment]) -> list[Part]:
    """The chosen lines of each session's invoice, taken from the payment that counts for it."""
    parts, wanted = [], set(wish.line_ids)
    for payment in payments:
        invoice = credit_notes.find_invoice(payment.session_id) if payment.standing is Standing.COUNTED else None
        lines = [line for line in invoice.lines if line.id in wanted] if invoice is not None else []
        if not lines:
            continue
        amount_minor = sum(line.gross_minor for line in lines)
        if wanted & lines_going_back([payment.session_id]) or amount_minor > payment.rest_minor:
            raise LineAlreadyRefunded
        parts.append(Part(payment, amount_minor, tuple(line.id for line in lines)))
        wanted -= {line.id for line in lines}
    if wanted:
        raise InvalidRefund(field="lines")
    return parts


def lines_going_back(session_ids: Sequence[int]) -> set[int]:
    """The invoice lines that were given back, or that a refund on its way names."""
    rows = db.session.scalars(
        select(Refund.line_ids).where(Refund.session_id.in_(session_ids), Refund.status != RefundStatus.FAILED)
    )
    return {line_id for line_ids in rows for line_id in line_ids}


def _gave_up(refund_id: int) -> None:
    """The provider was asked many times and never answered: a person has to look there."""
    refund = lock_refund(refund_id)
    if refund.status is RefundStatus.ASKING:
        refund.flag = RefundFlag.UNANSWERED


@outbox.handles("refund.requested", queue=QueueName.WEBHOOKS, on_exhausted=_gave_up)
def give_back(refund_id: int) -> None:
    """Ask the provider to give the money back, and record what it says.

    Raises ProviderUnavailable, so that it is asked again later under the same key.
    """
    request = _begin_asking(refund_id, at=clock.now())
    if request is None:
        return
    provider, asked = request
    fault("refund-before-provider")
    try:
        result = provider.refund(asked)
    except ProviderRejected as error:
        if error.reason in _NO_ANSWER:
            _note_silence(refund_id, error.detail or str(error.reason))
            raise ProviderUnavailable(detail=error.detail) from error
        with unit_of_work():
            refund = lock_refund(refund_id)
            if refund.status is RefundStatus.ASKING:
                by = f"provider:{refund.provider}"
                book_failure(refund, by=by, at=clock.now(), reason=str(error.detail or error.reason or error))
        _wake_inbox()
        return
    except ProviderUnavailable as error:
        _note_silence(refund_id, error.detail or "no answer")
        raise
    fault("refund-after-provider")
    _record_answer(refund_id, result, at=clock.now())


def _begin_asking(refund_id: int, *, at: datetime) -> tuple[Provider, RefundRequest] | None:
    """Write down that the provider is about to be asked; None when there is nothing to ask (any more)."""
    with unit_of_work():
        refund = lock_refund(refund_id)
        if refund.status not in (RefundStatus.REQUESTED, RefundStatus.ASKING):
            return None
        payment = refund.payment
        try:
            provider = current_registry().get(refund.provider)
        except UnknownProvider:
            provider = None
        if provider is None or payment.provider_reference is None:
            is_begun = refund.status is RefundStatus.ASKING
            refund.flag = RefundFlag.UNANSWERED if is_begun else RefundFlag.BY_HAND
            return None
        if refund.status is RefundStatus.REQUESTED and is_disputed(payment.id):
            book_failure(refund, by="job:refunds", at=at, reason=str(MoneyInDispute.default))
            return None
        if not can_be_asked(refund, at=at):
            refund.flag = RefundFlag.UNANSWERED
            return None
        if refund.status is RefundStatus.REQUESTED:
            transition(refund, RefundStatus.ASKING, by="job:refunds", at=at, values={"asked_at": at})
        refund.asks += 1
        amount = refund.amount if provider.capabilities.partial_refund else None
        return provider, RefundRequest(
            payment_reference=payment.provider_reference,
            amount=amount,
            idempotency_key=refund.idempotency_key,
            reason=refund.reason.value,
        )


def can_be_asked(refund: Refund, *, at: datetime) -> bool:
    """Whether asking the provider (again) is safe: its memory of the first call must not have ended."""
    is_open = refund.status in (RefundStatus.REQUESTED, RefundStatus.ASKING)
    return is_open and (refund.asked_at is None or at - refund.asked_at < KEY_LASTS)


def _note_silence(refund_id: int, detail: str) -> None:
    with unit_of_work():
        refund = lock_refund(refund_id)
        if refund.status is RefundStatus.ASKING:
            refund.failure = detail[:1000]
    log.warning("refund_unanswered", refund_id=refund_id, detail=detail[:200])


def _record_answer(refund_id: int, result: RefundResult, *, at: datetime) -> None:
    """Keep what the provider answered. A webhook may have been faster: then it is known already."""
    with unit_of_work():
        refund = lock_refund(refund_id)
        if refund.status is not RefundStatus.ASKING:
            return
        by, found = f"provider:{refund.provider}", {"provider_reference": result.reference[:255]}
        if result.status == "succeeded":
            book_success(refund, by=by, at=at, values=found)
        elif result.status == "failed":
            book_failure(refund, by=by, at=at, reason="the provider could not give it back", values=found)
        else:
            values = {**found, "flag": None, "failure": None}
            transition(refund, RefundStatus.PENDING, by=by, at=at, values=values)
            reconsider(refund.provider, refund.payment.provider_reference, at)
    _wake_inbox()


def _wake_inbox() -> None:
    queues.wake(QueueName.INBOX, queues.DRAIN_INBOX)


def is_askable(refund: Refund, *, at: datetime) -> bool:
    """Whether a person may have the provider asked now."""
    return refund.flag is not RefundFlag.BY_HAND and can_be_asked(refund, at=at)


def ask_again(refund_id: int, *, by: str, at: datetime) -> None:
    """Have the provider asked now, under the same key. Raises RefundNotFound or RefundNotAskable."""
    refund = lock_refund(refund_id)
    if not is_askable(refund, at=at):
        raise RefundNotAskable
    refund.flag = None
    slot = int(at.timestamp()) // 5  # Pressing twice asks once.
    outbox.publish("refund.requested", key=f"refund:{refund.id}:{slot}", refund_id=refund.id)
    audit.record("refund.asked_again", actor=by, subject=f"refunds:{refund.id}")


def refunds_of_request(key: str, session_ids: Sequence[int]) -> list[Refund]:
    """What one press of the button has made."""
    statement = select(Refund).where(Refund.request_key == key, Refund.session_id.in_(session_ids))
    return list(db.session.scalars(statement.order_by(Refund.id)))
