"""What providers report about refunds, whoever made them: by the API for us, or somebody on the provider's own pages.

Two facts about one refund are recognised by the provider's id of it, or by our idempotency key where it comes back.
"""

from datetime import datetime

from sqlalchemy import select

from portal.core.db import db
from portal.payments.models import EventStatus, Payment, PaymentSession, ProviderEvent
from portal.payments.providers.base import NormalisedEvent, Outcome
from portal.payments.refund_models import Refund, RefundFlag, RefundOrigin, RefundStatus
from portal.payments.services.returning import book_failure, book_success, lock_payments, record_refund

Decision = tuple[EventStatus, str]


def apply_refund_fact(event: ProviderEvent, session: PaymentSession, fact: NormalisedEvent, at: datetime) -> Decision:
    """Confirm our refund, or record one that was made elsewhere, under the session's lock; what does not add up is a
    conflict and changes nothing."""
    payment = payment_of(lock_payments([session.id]), event.provider, fact)
    if payment is None:
        # It may have overtaken the payment; that one looks for it.
        return EventStatus.IGNORED, "its payment is not known yet"
    trouble = trouble_with(fact, session, payment)
    if trouble is not None:
        return EventStatus.CONFLICT, trouble
    refund = _matching(payment, fact)
    if refund is not None:
        return _confirm(event, refund, fact, at)
    if _may_be_ours(payment, fact):
        return EventStatus.IGNORED, "waits for the answer about our own refund"
    return _made_elsewhere(event, payment, fact, at)


def payment_of(payments: list[Payment], provider: str, fact: NormalisedEvent) -> Payment | None:
    """The payment a fact names: by the provider's id of it, else the only one there is."""
    mine = [payment for payment in payments if payment.provider == provider]
    if fact.payment_reference is not None:
        return next((one for one in mine if one.provider_reference == fact.payment_reference), None)
    named = [one for one in mine if fact.attempt_reference and one.provider_reference == fact.attempt_reference]
    return (named or mine)[0] if len(named or mine) == 1 else None


def trouble_with(fact: NormalisedEvent, session: PaymentSession, payment: Payment) -> str | None:
    """Why a fact cannot be about this payment; None when it can."""
    if fact.is_test is not None and fact.is_test != (session.mode == "test"):
        return "wrong_mode"
    if fact.currency is not None and fact.currency != payment.currency:
        return "wrong_currency"
    if fact.amount_minor is not None and fact.amount_minor <= 0:
        return "money back without an amount"
    return None


def reference_of(fact: NormalisedEvent) -> str | None:
    """The provider's id of the refund or dispute: as it says, else the middle of the business key."""
    if fact.subject_reference:
        return fact.subject_reference[:255]
    _provider, _, rest = (fact.business_key or "").partition(":")
    subject, _, _name = rest.rpartition(":")
    return subject[:255] or None


def _matching(payment: Payment, fact: NormalisedEvent) -> Refund | None:
    """Our record of the refund: by the provider's id, by our key, or the one that staff are giving by hand."""
    mine = db.session.scalars(
        select(Refund)
        .where(Refund.payment_id == payment.id)
        .order_by(Refund.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    reference = reference_of(fact)
    by_reference = [one for one in mine if reference is not None and one.provider_reference == reference]
    by_key = [one for one in mine if fact.refund_key is not None and one.idempotency_key == fact.refund_key]
    by_hand = [
        one
        for one in mine
        if (one.flag is RefundFlag.BY_HAND or _was_noted_only(one))
        and one.amount_minor == fact.amount_minor
        and fact.outcome is Outcome.REFUNDED
    ]
    return next(iter([*by_reference, *by_key, *by_hand]), None)


def _was_noted_only(refund: Refund) -> bool:
    """Whether we know of its success from a person alone; the provider's word about it may still come."""
    return refund.status is RefundStatus.SUCCEEDED and bool(refund.hand_reference) and refund.provider_reference is None


def _may_be_ours(payment: Payment, fact: NormalisedEvent) -> bool:
    """Whether a refund of ours is under way whose reference is not known yet: its answer decides whose fact this is."""
    if fact.refund_key is not None:
        return False
    statement = select(Refund.id).where(
        Refund.payment_id == payment.id,
        Refund.status == RefundStatus.ASKING,
        Refund.provider_reference.is_(None),
    )
    return db.session.execute(statement.limit(1)).first() is not None


def _confirm(event: ProviderEvent, refund: Refund, fact: NormalisedEvent, at: datetime) -> Decision:
    if fact.amount_minor is not None and fact.amount_minor != refund.amount_minor:
        return EventStatus.CONFLICT, "refund of another amount"
    by = f"event:{event.id}"
    values = {"provider_reference": refund.provider_reference or reference_of(fact)}
    if fact.outcome is Outcome.REFUND_FAILED:
        if refund.status is RefundStatus.FAILED:
            return EventStatus.DUPLICATE, "this refund had failed before"
        book_failure(refund, by=by, at=at, reason=fact.detail or "the provider says that it failed", values=values)
        return EventStatus.APPLIED, "refund failed"
    if refund.status is RefundStatus.SUCCEEDED:
        refund.provider_reference = values["provider_reference"]
        return EventStatus.DUPLICATE, "we knew of this refund"
    if refund.status is RefundStatus.FAILED:
        if refund.provider_reference is None:
            # Nothing was given, we were told, and now it was: another row of the books, which staff are shown.
            return _made_elsewhere(event, refund.payment, fact, at)
        return EventStatus.IGNORED, "overtaken: the refund has failed"
    book_success(refund, by=by, at=at, values=values)
    return EventStatus.APPLIED, "refunded"


def _made_elsewhere(event: ProviderEvent, payment: Payment, fact: NormalisedEvent, at: datetime) -> Decision:
    """Somebody gave money back at the provider's own pages: our books follow, and staff are shown."""
    reference = reference_of(fact)
    if reference is None or fact.amount_minor is None:
        return EventStatus.CONFLICT, "money back without an amount"
    if fact.amount_minor > payment.rest_minor:
        if fact.outcome is Outcome.REFUND_FAILED:
            return EventStatus.IGNORED, "a refund that we do not know failed"
        return EventStatus.CONFLICT, "more was refunded than was left"
    by = f"event:{event.id}"
    refund = record_refund(
        payment,
        fact.amount_minor,
        origin=RefundOrigin.PROVIDER,
        request_key=f"{event.provider}:{reference}"[:80],
        by=by,
        at=at,
        note=fact.detail or "",
        provider_reference=reference,
    )
    if fact.outcome is Outcome.REFUND_FAILED:
        # Kept, so that the news of its success, should it be late, is known to be old.
        book_failure(refund, by=by, at=at, reason=fact.detail or "the provider says that it failed")
        return EventStatus.APPLIED, "refund failed"
    book_success(refund, by=by, at=at, flag=RefundFlag.ELSEWHERE)
    return EventStatus.APPLIED, "refunded elsewhere"
