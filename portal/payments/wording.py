"""What the money core notes about an event or about money, in words for people.

The notes themselves are kept in English, as they were written; programs read them as they are.
"""

from collections.abc import Iterator

from flask_babel import LazyString
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

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
    "not used, or names no payment session of ours": _l(
        "We do not use this type of event, or it names no payment of ours."
    ),
    "nothing of ours has this reference yet": _l("It names something that we do not have, or not yet."),
    "its sender is switched off": _l("Its sender is switched off."),
    "its first payment is not known yet": _l("The first payment of its subscription is not known here yet."),
    "another subscription than the one that was paid for": _l(
        "It is about another subscription than the one that was paid for."
    ),
    "changes nothing": _l("It changes nothing."),
    "said to be paid": _l("The shop says that it is paid and not how much."),
    "the provider is asked": _l("It proves nothing by itself, so the provider was asked."),
    "paid without an amount": _l("It says paid and names no amount."),
    "overtaken": _l("Something later had happened to this payment already."),
    "no payment session": _l("It names a payment that we do not have, or not yet."),
    "refunded": _l("A refund of ours has reached the buyer."),
    "refunded elsewhere": _l("A refund was made at the provider and not here. It is in our books now."),
    "we knew of this refund": _l("We already knew of this refund."),
    "refund failed": _l("A refund failed at the provider: the money is still here, or came back."),
    "this refund had failed before": _l("We already knew that this refund had failed."),
    "a refund that we do not know failed": _l("A refund that we know nothing of has failed. Nothing changes."),
    "refund of another amount": _l("The provider gave back another amount than we asked for."),
    "more was refunded than was left": _l("More was given back than was left of the payment."),
    "money back without an amount": _l("It speaks of money that went back and does not say how much."),
    "its payment is not known yet": _l("The payment it names is not known here yet."),
    "waits for the answer about our own refund": _l("It waits until the provider has answered about a refund of ours."),
    "disputed": _l("The buyer disputes this payment at the provider."),
    "the dispute has changed": _l("A dispute has another deadline, amount or reason now."),
    "we knew of this dispute": _l("We already knew of this dispute."),
    "this dispute is closed already": _l("This dispute was already closed."),
    "a dispute without a number": _l("It speaks of a dispute and does not say which."),
    "a dispute was closed, and not said how": _l("A dispute was closed at the provider."),
    "the dispute had another end": _l("The dispute had ended otherwise."),
    "more was lost than was left": _l("More was lost in a dispute than was left of the payment."),
    "dispute won": _l("The dispute is won: the money stays."),
    "dispute lost": _l("The dispute is lost: the money is gone, and our books say so."),
    "dispute withdrawn": _l("The dispute was withdrawn: the money stays."),
}


def known_words(verdict: str) -> Iterator[tuple[str, str | None]]:
    """The notes of a verdict, one for each fact of the delivery, each with its sentence where we have one."""
    parts = [verdict] if verdict in _VERDICTS else verdict.split("; ")
    for part in map(_name, parts):
        words = _VERDICTS.get(part)
        yield part, None if words is None else str(words)


def _name(part: str) -> str:
    """A note without what differs from one event to the next."""
    if part.startswith("no payment session "):
        return "no payment session"
    return "overtaken" if part.startswith("overtaken: ") else part


def heard_words(verdict: str | None) -> str:
    """Why an event has its status, for whom it is about: facts alone, and nothing of what went wrong in here."""
    return " ".join(words for _part, words in known_words(verdict or "") if words)


def way_words(source: str) -> str:
    """How we came to know of an event, and so why it is believed."""
    return str(_("Came by webhook, and its signature was right") if source == "webhook" else _("We asked the provider"))
