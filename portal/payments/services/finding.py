"""Which payment session an event is about: by our own id, else by the first of the provider's ids that we know."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, Select, or_, select, union
from sqlalchemy.orm import selectinload

from portal.core.db import db
from portal.payments.models import Payment, PaymentAttempt, PaymentSession, ProviderEvent
from portal.payments.providers.base import NormalisedEvent
from portal.payments.services.facts import facts_of


def find_session(provider: str, fact: NormalisedEvent) -> PaymentSession | None:
    """The session a fact is about, locked."""
    if fact.session_id is not None:
        return _locked(PaymentSession.public_id == fact.session_id)
    for ids in _known_by(provider, [fact]):
        if found := _locked(PaymentSession.id.in_(ids)):
            return found
    return None


def _locked(condition: ColumnElement[bool]) -> PaymentSession | None:
    statement = select(PaymentSession).where(condition).limit(1).with_for_update(of=PaymentSession)
    return db.session.scalar(statement.execution_options(populate_existing=True))


def lock_sessions(events: Sequence[ProviderEvent]) -> dict[str, PaymentSession]:
    """The sessions that events are about, as far as they are known by now, by public id and locked.

    A batch takes its locks in one order, so that two batches cannot wait for each other. News of refunds and disputes
    name the payment only: if their session were found when their turn comes, it would be locked after all that the
    events before them have locked.
    """
    public_ids = {event.session_public_id for event in events if event.session_public_id}
    condition: ColumnElement[bool] = PaymentSession.public_id.in_(public_ids)
    if ids := _ids_of([event for event in events if not event.session_public_id]):
        condition = or_(condition, PaymentSession.id.in_(ids))
    sessions = db.session.scalars(
        select(PaymentSession)
        .where(condition)
        .order_by(PaymentSession.id)
        .options(selectinload(PaymentSession.attempts))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    return {session.public_id: session for session in sessions}


def _ids_of(events: Sequence[ProviderEvent]) -> Sequence[int]:
    """The sessions of events that do not name them."""
    facts: dict[str, list[NormalisedEvent]] = {}
    for event in events:
        facts.setdefault(event.provider, []).extend(facts_of(event))
    lookups = [ids for provider, told in facts.items() for ids in _known_by(provider, told)]
    return db.session.scalars(union(*lookups)).all() if lookups else []


def _known_by(provider: str, facts: Sequence[NormalisedEvent]) -> Iterator[Select[int]]:
    """What finds the ids of sessions by the provider's ids: of the attempt, of the subscription, of the payment."""
    if attempts := {fact.attempt_reference for fact in facts if fact.attempt_reference}:
        yield select(PaymentAttempt.session_id).where(
            PaymentAttempt.provider == provider, PaymentAttempt.provider_reference.in_(attempts)
        )
    if subscriptions := {fact.subscription_reference for fact in facts if fact.subscription_reference}:
        yield select(PaymentSession.id).where(
            PaymentSession.provider == provider, PaymentSession.subscription_reference.in_(subscriptions)
        )
    if payments := {fact.payment_reference for fact in facts if fact.payment_reference}:
        yield select(Payment.session_id).where(Payment.provider == provider, Payment.provider_reference.in_(payments))
