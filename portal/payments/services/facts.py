"""What an event says, as the inbox stores it: the facts that a provider's adapter read in it."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from portal.payments.models import ProviderEvent
from portal.payments.providers.base import NormalisedEvent, Outcome

_INSTANTS = ("occurred_at", "due_at")


def facts_of(event: ProviderEvent) -> list[NormalisedEvent]:
    """The facts the adapter read in a stored event."""
    return [_from_mapping(mapping) for mapping in event.normalised]


def subject_of(fact: NormalisedEvent) -> str | None:
    """What the inbox finds a fact by, besides the session: the provider's id of the payment or of the subscription, or
    of what is news."""
    is_news = fact.outcome is Outcome.NEWS
    reference = fact.subject_reference if is_news else fact.payment_reference or fact.subscription_reference
    return reference[:255] if reference is not None else None


def to_mapping(fact: NormalisedEvent) -> dict[str, Any]:
    """A fact as the inbox stores it."""
    mapping = {field.name: getattr(fact, field.name) for field in fields(fact)}
    mapping["outcome"] = fact.outcome.value
    for name in _INSTANTS:
        mapping[name] = mapping[name].isoformat() if mapping[name] else None
    return mapping


def _from_mapping(mapping: dict[str, Any]) -> NormalisedEvent:
    values = dict(mapping)
    values["outcome"] = Outcome(values["outcome"])
    for name in _INSTANTS:
        if values.get(name):
            values[name] = datetime.fromisoformat(values[name])
    known = {field.name for field in fields(NormalisedEvent)}
    # An event stored by a newer version may know more than we do.
    return NormalisedEvent(**{name: value for name, value in values.items() if name in known})
