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
from portal.payments.wording import known_words

# What staff do about some of what the money core notes.
_TASKS: dict[str, LazyString] = {
    "said to be paid": _l("Look there, and say how it ended."),
    "paid without an amount": _l("Look at the provider's page how much came."),
    "refunded elsewhere": _l("Check that it was meant."),
    "disputed": _l("Answer there in time."),
    "a dispute was closed, and not said how": _l("Look there how it ended."),
    "the dispute had another end": _l("Look at the provider's page."),
}

_OUTCOMES: dict[str, LazyString] = {
    "pending": _l("Money on its way"),
    "hint": _l("Something happened"),
    "claimed": _l("Said to be paid"),
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
    "sales_orders": _l("Sales order"),
    "subscriptions": _l("Subscription"),
    "payment_sessions": _l("Payment"),
    "payment_attempts": _l("Attempt"),
    "provider_events": _l("Event"),
    "mail_messages": _l("Mail"),
    "packages": _l("Package"),
    "domains": _l("Domain"),
    "price_book_versions": _l("Price book"),
    "users": _l("Account"),
    "outbox_messages": _l("Effect"),
    "refunds": _l("Refund"),
    "disputes": _l("Dispute"),
    "merchants": _l("Merchant"),
    "merchant_requests": _l("Request to become a merchant"),
    "payments": _l("Money"),
    "invoices": _l("Invoice"),
    "invoice_lines": _l("Line of an invoice"),
    "enrolments": _l("Enrolment"),
    "enrolment_grants": _l("Licences of an order line"),
    "status_changes": _l("History"),
    "audit_events": _l("Audit log"),
    "number_sequences": _l("Number series"),
}

# Which part of a signature is wrong, and what usually makes it so.
_PROBLEMS: dict[str, tuple[LazyString, LazyString]] = {
    "missing_header": (
        _l("The header with the signature is missing"),
        _l("A scanner that guesses addresses, or a proxy that takes unknown headers away."),
    ),
    "malformed_header": (
        _l("The header with the signature cannot be read"),
        _l("Another version of the scheme, another provider's address, or a proxy that changed or joined headers."),
    ),
    "too_old": (
        _l("The signature is right and too old"),
        _l("Our clock runs ahead, the delivery waited on its way, or somebody sends a recorded one again."),
    ),
    "in_future": (
        _l("The signature is right and from the future"),
        _l("Our clock runs behind. Set it by NTP; the provider sends the event again."),
    ),
    "no_match": (
        _l("The signature does not fit the body"),
        _l("The secret is not the one of this endpoint, or a proxy has changed the body, or it is forged."),
    ),
}
_UNREADABLE = (
    _l("The signature is right and the body cannot be read"),
    _l("The provider has changed what it sends, or the endpoint has another version than we expect."),
)
_MENDINGS: dict[str, LazyString] = {
    "last_newline": _l("It fits after a line break at the end was added or taken away: copying has changed that."),
    "line_ends": _l(
        "It fits with the ends of lines that browsers send: the body was changed on its way, or by copying."
    ),
}
_UNREAD: dict[str, LazyString] = {
    "switched_off": _l("Its provider is switched off, so it is taken as it was read when it came."),
    "not_offered": _l("This provider's adapter reads nothing again, so it is taken as it was read when it came."),
    "says_less": _l("Read again today, its body says nothing that we use, so it is taken as it was read when it came."),
    "asked": _l("This is an answer to a question of ours: it has no body, so it is taken as it was read."),
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


_ORIGINS: dict[str, LazyString] = {
    "staff": _l("Given here"),
    "provider": _l("Given at the provider"),
    "dispute": _l("Lost in a dispute"),
}
_REASONS: dict[str, LazyString] = {
    "requested_by_customer": _l("The customer asked for it"),
    "duplicate": _l("Paid twice"),
    "fraudulent": _l("Fraud"),
    "other": _l("Something else"),
}
_FLAGS: dict[str, LazyString] = {
    "failed": _l("The money did not go back. Give it another way, or leave it."),
    "elsewhere": _l("This refund was made at the provider and not here. Check that it was meant."),
    "by_hand": _l("This provider cannot give money back by itself. Do it there or by bank, then note it here."),
    "unanswered": _l("The provider did not answer. Look there whether the money went back, then note it here."),
}


def origin_words(origin: str) -> str:
    """Who began a refund."""
    return str(_ORIGINS.get(origin, origin))


def origin_choices(options: Iterable[str]) -> list[tuple[str, str]]:
    """The origins of refunds as the choices of a filter."""
    return [(str(one), origin_words(one)) for one in options]


def reason_words(reason: str) -> str:
    """Why money goes back."""
    return str(_REASONS.get(reason, reason))


def flag_words(flag: str) -> str:
    """What a person should do about a refund."""
    return str(_FLAGS.get(flag, flag))


def verdict_words(verdict: str | None) -> str:
    """Why an event has its status, and what to do about it; a note that we do not know stays as it is."""
    if not verdict:
        return str(_("Not looked at yet."))
    return " ".join(_sentence(part, words) for part, words in known_words(verdict))


def _sentence(part: str, words: str | None) -> str:
    if words is None:
        return part
    return f"{words} {_TASKS[part]}" if part in _TASKS else words


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
    if kind == "command" and rest:
        return str(_("Command (%(name)s)", name=rest))
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


def problem_words(reason: str) -> str:
    """Which part of a delivery is wrong."""
    return str(_PROBLEMS.get(reason, _UNREADABLE)[0])


def hint_words(reason: str) -> str:
    """What usually is the cause of it."""
    return str(_PROBLEMS.get(reason, _UNREADABLE)[1])


def skew_words(seconds: float | None) -> str | None:
    """How far a sender's clock is from ours, when that is known."""
    if seconds is None:
        return None
    span = format_timedelta(timedelta(seconds=abs(seconds)), threshold=1)
    if seconds > 0:
        return str(_("signed %(span)s ago", span=span))
    return str(_("signed %(span)s from now", span=span))


def mending_words(mending: str) -> str | None:
    """What copying has changed about a pasted body; None for nothing."""
    return str(_MENDINGS[mending]) if mending in _MENDINGS else None


def unread_words(problem: str) -> str:
    """Why a stored body was not read again."""
    known = _UNREAD.get(problem)
    return str(known) if known else str(_("Its body cannot be read any more: %(problem)s.", problem=problem))


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
        actor_words, change_words, choices, differences, entity_words, flag_words, hint_words, interval_words,
        mail_title, mending_words, origin_choices, origin_words, outcome_words, problem_words, queue_words,
        reason_words, skew_words, told_amount, told_instant, unread_words, verdict_words, words,
    )  # fmt: skip
    return {"asked": filters.text, **{function.__name__: function for function in named}}
