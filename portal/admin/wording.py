"""What the tables say in one word, in words for staff."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from flask_babel import LazyString, format_timedelta
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.admin import filters
from portal.admin.blueprint import bp
from portal.core import mail, ui
from portal.core.status_labels import status_label

# Why money was kept apart (Payment.surplus_reason), and what the money core notes about an event.
_VERDICTS: dict[str, LazyString] = {
    "after_failure": _l("The money came after this payment had already ended without success."),
    "second_payment": _l("This payment had already been paid; this is money on top of it."),
    "wrong_amount": _l("The amount is not what was asked for."),
    "wrong_currency": _l("The currency is not what was asked for."),
    "wrong_mode": _l("Test money came for a live payment, or the other way round."),
    "paid": _l("The payment is settled."),
    "pending": _l("The buyer is done; the money is on its way."),
    "failed": _l("The payment ended without success."),
    "this payment was counted before": _l("This payment was already counted."),
    "failed after it was paid": _l("The provider reports a failure for a payment that is already settled."),
    "this session had failed before": _l("This payment had already ended without success."),
    "this session was pending before": _l("We already knew that the money is on its way."),
    "another attempt of this session had paid it": _l("The buyer had several pages open and paid on another one."),
    "attempt failed; another one is open": _l("This try failed; the buyer still has another one open."),
    "no such payment session yet": _l("It names a payment that we do not have, or not yet."),
    "names no payment session of ours": _l("It names no payment of ours."),
    "a type that is not used": _l("We do not use this type of event."),
    "a type that is not used, or names no payment session of ours": _l(
        "We do not use this type of event, or it names no payment of ours."
    ),
    "changes nothing": _l("It changes nothing."),
    "paid without an amount": _l("It says paid and names no amount. Look at the provider's page how much came."),
    "overtaken": _l("Something later had happened to this payment already."),
    "no payment session": _l("It names a payment that we do not have, or not yet."),
    "refunded at the provider": _l("A refund was made at the provider. Check that our records agree."),
    "refund_failed at the provider": _l("A refund failed at the provider: the money came back."),
    "disputed at the provider": _l("The buyer disputes this payment at the provider. Answer there in time."),
    "dispute_closed at the provider": _l("A dispute was closed at the provider. Look at how it ended."),
}

_OUTCOMES: dict[str, LazyString] = {
    "pending": _l("Money on its way"),
    "paid": _l("Paid"),
    "failed": _l("Failed"),
    "refunded": _l("Refunded"),
    "refund_failed": _l("Refund failed"),
    "disputed": _l("Disputed"),
    "dispute_closed": _l("Dispute closed"),
    "ignored": _l("Changes nothing"),
}

_ENTITIES: dict[str, LazyString] = {
    "orders": _l("Order"),
    "payment_sessions": _l("Payment"),
    "payment_attempts": _l("Attempt"),
    "provider_events": _l("Event"),
    "mail_messages": _l("Mail"),
    "packages": _l("Package"),
    "users": _l("Account"),
    "outbox_messages": _l("Effect"),
    "merchants": _l("Merchant"),
    "merchant_requests": _l("Request to become a merchant"),
}

_QUEUES: dict[str, LazyString] = {
    "inbox": _l("Webhook inbox"),
    "webhooks": _l("Asking providers"),
    "mail": _l("Mail"),
    "files": _l("Files"),
    "deploy": _l("Deployment"),
    "default": _l("Everything else"),
}

_COLUMNS: dict[tuple[str, str], LazyString] = {
    ("orders", "status"): _l("Delivery"),
    ("orders", "payment_status"): _l("Payment of the order"),
}


def verdict_words(verdict: str | None) -> str:
    """Why an event has its status: a sentence for each fact of the delivery; one we do not know stays as it is."""
    if not verdict:
        return str(_("Not looked at yet."))
    if verdict in _VERDICTS:
        return _sentence(verdict)
    return " ".join(_sentence(part) for part in verdict.split("; "))


def _sentence(part: str) -> str:
    if part.startswith("no payment session "):
        part = "no payment session"
    if part.startswith("overtaken: "):
        part = "overtaken"
    return str(_VERDICTS.get(part, part))


def outcome_words(outcome: str) -> str:
    """What a fact says about the money."""
    return str(_OUTCOMES.get(outcome, outcome))


def actor_words(actor: str) -> str:
    """Who did something: a person's e-mail address, or what acted by itself."""
    kind, _colon, rest = actor.partition(":")
    if kind == "event" and rest:
        return str(_("Event %(number)s", number=rest))
    if kind == "job" and rest:
        return str(_("Background job (%(name)s)", name=rest))
    if kind == "provider" and rest:
        return str(_("Payment provider (%(name)s)", name=rest))
    return actor


def change_words(entity: str, column: str) -> str:
    """What has changed its status."""
    return str(_COLUMNS.get((entity, column)) or _ENTITIES.get(entity, entity))


def entity_words(entity: str) -> str:
    """The kind of thing a table holds."""
    return str(_ENTITIES.get(entity, entity))


def choices(options: type[StrEnum], kind: str | None = None) -> list[tuple[str, str]]:
    """An enumeration as the choices of a filter."""
    return [(one.value, status_label(one, kind)) for one in options]


def words(options: Iterable[str]) -> list[tuple[str, str]]:
    """Words of machines, such as providers' names, as the choices of a filter."""
    return [(one, one) for one in options]


def mail_title(template: str) -> str:
    """What a kind of mail is called; one whose code is gone keeps the template's name."""
    return str(mail.templates().get(template, template))


def told_amount(fact: Mapping[str, Any]) -> str:
    """The amount an event speaks of; what is no amount is shown as it came."""
    try:
        return ui.money(fact["amount_minor"], fact["currency"])
    except (TypeError, ValueError):
        return f"{fact['amount_minor']} {fact['currency']}"


def told_instant(fact: Mapping[str, Any]) -> datetime | None:
    """When an event says that something happened."""
    try:
        instant = datetime.fromisoformat(fact["occurred_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return instant if instant.tzinfo else None


def queue_words(queue: str) -> str:
    """What waits in a queue."""
    return str(_QUEUES.get(queue, queue))


def interval_words(interval: timedelta) -> str:
    """How often something runs."""
    return str(format_timedelta(interval, threshold=1))


def differences(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> list[tuple[str, str | None, str | None]]:
    """What an audit line says about values: each that differs with its old and its new state, None for neither."""
    was, became = before or {}, after or {}
    return [
        (name, _value(was, name), _value(became, name))
        for name in dict.fromkeys([*was, *became])
        if was.get(name) != became.get(name) or name not in was
    ]


def _value(values: Mapping[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


@bp.context_processor
def _words() -> dict[str, Any]:
    named = (
        actor_words, change_words, choices, differences, entity_words, interval_words, mail_title, outcome_words,
        queue_words, told_amount, told_instant, verdict_words, words,
    )  # fmt: skip
    return {"asked": filters.text, **{function.__name__: function for function in named}}
