"""What a person found out about a payment whose provider cannot be asked: it takes the way of every other fact."""

import json
from dataclasses import replace
from datetime import datetime

from portal.core import audit
from portal.core.db import db
from portal.payments.errors import NotDecidedByHand, SessionClosed
from portal.payments.extension import current_registry
from portal.payments.models import AttemptStatus, PaymentAttempt, PaymentSession, ProviderEvent
from portal.payments.providers.base import DecidedByHand, Outcome
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.facts import to_mapping
from portal.payments.services.settling import apply_event

SOURCE = "staff"


def decide_by_hand(
    session_id: int, outcome: Outcome, *, by: str, reason: str, transaction: str | None = None, at: datetime
) -> ProviderEvent:
    """Settle or end a payment on somebody's word, in the caller's transaction.

    The word becomes an event of the inbox with the business key that the provider's own message would have, so a
    message that comes later counts nothing twice. Two people at once: the session's lock lets one of them in, and the
    other finds the payment finished. `outcome` is PAID or FAILED; `transaction` is the provider's id of the money,
    where it is known. Raises SessionClosed or NotDecidedByHand.
    """
    session = _locked(session_id)
    if session.is_final:
        raise SessionClosed
    found = decidable(session)
    if found is None:
        raise NotDecidedByHand
    attempt, provider = found
    fact = provider.fact_by_hand(attempt.provider_reference or "", outcome, transaction)
    fact = replace(fact, amount_minor=session.amount_minor, currency=session.currency, detail=reason)
    told = {"by": by, "reason": reason, "outcome": outcome.value, "transaction_id": transaction}
    event = ProviderEvent(
        provider=attempt.provider,
        delivery_key=f"{SOURCE}:{session.public_id}:{attempt.number}:{outcome.value}",
        event_type=f"{SOURCE}.{outcome.value}",
        source=SOURCE,
        body=json.dumps(told, ensure_ascii=False),
        normalised=[to_mapping(fact)],
        session_public_id=session.public_id,
        payment_reference=transaction,
        available_at=at,
        received_at=at,
    )
    db.session.add(event)
    db.session.flush()
    audit.record(
        "payment_session.decided_by_hand",
        actor=by,
        subject=f"payment_sessions:{session.id}",
        after={"outcome": outcome.value, "provider": attempt.provider, "transaction_id": transaction},
        detail=reason,
    )
    apply_event(event, at=at, locked={session.public_id: session})
    return event


def decidable(session: PaymentSession) -> tuple[PaymentAttempt, DecidedByHand] | None:
    """The newest open try of an unfinished session at a provider whose outcome people have to find out."""
    if session.is_final:
        return None
    for attempt in reversed(session.attempts):
        if attempt.status is not AttemptStatus.OPEN:
            continue
        try:
            provider = current_registry().get(attempt.provider)
        except UnknownProvider:
            continue
        if isinstance(provider, DecidedByHand):
            return attempt, provider
    return None


def _locked(session_id: int) -> PaymentSession:
    """The session as it is once its lock is held."""
    statement = db.select(PaymentSession).where(PaymentSession.id == session_id).with_for_update()
    session: PaymentSession = db.session.scalars(statement.execution_options(populate_existing=True)).one()
    for attempt in session.attempts:
        db.session.refresh(attempt)
    return session
