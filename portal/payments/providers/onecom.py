"""One.com: a link to the shop's own page, and a signed message when something happened there.

One.com has no payment API: the contract is ours, and the shop's owner runs the program that speaks it
(`docs/providers/onecom.md`). Nobody can be asked, nothing can be closed or given back from here: staff do that by hand.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from flask_babel import lazy_gettext as _l

from portal.payments.providers import standard_webhooks
from portal.payments.providers.base import (
    Capabilities,
    FetchResult,
    InvalidPayload,
    NormalisedEvent,
    Outcome,
    ParsedWebhook,
    ProviderRejected,
    RefundRequest,
    RefundResult,
    StartRequest,
    StartResult,
)
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.signing import usable_secrets

BLANKS = ("reference", "amount", "currency", "return_url")
_BLANK = re.compile(r"{([a-z_]+)}")
_LONGEST_EVENT_TYPE = 128
_LONGEST_SESSION_ID = 64
_LONGEST_DETAIL = 500
_MEANINGS = {
    "payment.pending": Outcome.PENDING,
    "payment.completed": Outcome.PAID,
    "payment.failed": Outcome.FAILED,
    "payment.refunded": Outcome.REFUNDED,
    "payment.disputed": Outcome.DISPUTED,
}
_NO_AMOUNT = "it says paid and does not say how much"


class OneComProvider:
    """Sends the buyer to the shop's link and believes its signed messages. Safe to share between threads."""

    name = "onecom"
    title = "One.com"
    capabilities = Capabilities(refund=False, partial_refund=False, fetch=False, methods=("card",), expire=False)

    def __init__(self, *, checkout_url: str, webhook_secrets: Sequence[str], requires_amount: bool) -> None:
        """`checkout_url` has blanks such as {reference}; without `requires_amount` a message that says no amount
        is believed to mean the session's own. Raises ValueError for a link or a secret that is none."""
        if "{reference}" not in checkout_url or set(_BLANK.findall(checkout_url)) - set(BLANKS):
            raise ValueError("the One.com link needs {reference}, and no blanks that nobody fills")
        self._checkout_url = checkout_url
        self._requires_amount = requires_amount
        self._keys = tuple(standard_webhooks.key_of(secret) for secret in usable_secrets(webhook_secrets))

    def start(self, request: StartRequest) -> StartResult:
        """The link of this payment. Nothing is opened: the same request gives the same link, and it never closes.

        The buyer can change what stands in it, so the amount is compared when the money is announced.
        """
        values = {
            "reference": request.session_id,
            "amount": str(request.amount.amount_minor),
            "currency": request.amount.currency,
            "return_url": request.success_url,
        }
        url = _BLANK.sub(lambda blank: quote(values[blank[1]], safe=""), self._checkout_url)
        return StartResult(f"{request.session_id}:{request.attempt}", url, None)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify and read a message. Raises InvalidSignature or InvalidPayload."""
        webhook_id = standard_webhooks.verify(headers, body, self._keys, at=at)
        event = Fields(parse_object(body))
        event_type = event.text("type", longest=_LONGEST_EVENT_TYPE)
        outcome = _MEANINGS.get(event_type)
        if outcome is None:
            return ParsedWebhook(webhook_id, event_type, ())
        return ParsedWebhook(webhook_id, event_type, (self._fact(outcome, event),))

    def _fact(self, outcome: Outcome, event: Fields) -> NormalisedEvent:
        data = event.fields("data")
        reference = data.text("reference", longest=_LONGEST_SESSION_ID)
        amount, currency = data.optional_whole("amount"), data.optional_text("currency", longest=3)
        detail = data.optional_text("reason", longest=_LONGEST_DETAIL) or data.optional_text("status")
        if outcome is Outcome.PAID and self._requires_amount and (amount is None or currency is None):
            outcome, detail = Outcome.CLAIMED, _NO_AMOUNT
        transaction = data.optional_text("transaction_id")
        return NormalisedEvent(
            outcome=outcome,
            session_id=reference,
            payment_reference=transaction,
            business_key=_business_key(reference, outcome, transaction),
            amount_minor=amount,
            currency=currency.upper() if currency else None,
            occurred_at=_instant(event.optional_text("timestamp")),
            detail=detail,
        )

    def fact_by_hand(self, attempt_reference: str, outcome: Outcome, transaction: str | None) -> NormalisedEvent:
        """What the shop's message would have said."""
        reference, _, attempt = attempt_reference.rpartition(":")
        return NormalisedEvent(
            outcome=outcome,
            session_id=reference,
            payment_reference=transaction,
            business_key=_business_key(reference, outcome, transaction),
            attempt=int(attempt),
        )

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Nobody can be asked. Raises ProviderRejected."""
        raise _by_hand(attempt_reference)

    def refund(self, request: RefundRequest) -> RefundResult:
        """Staff give the money back at the shop and record it. Raises ProviderRejected."""
        raise _by_hand(request.payment_reference)

    def expire(self, attempt_reference: str) -> None:
        """A link cannot be closed. Raises ProviderRejected."""
        raise ProviderRejected(reason="cannot_expire", detail=attempt_reference)


def _business_key(reference: str, outcome: Outcome, transaction: str | None) -> str:
    """A fact is named by our session and what happened to it, as one payment may be announced more than once. Of
    refunds and disputes there may be several, so those are named by their transaction."""
    if outcome in (Outcome.REFUNDED, Outcome.DISPUTED) and transaction is not None:
        return f"onecom:{transaction}:{outcome}"
    return f"onecom:{reference}:{outcome}"


def _by_hand(reference: str) -> ProviderRejected:
    return ProviderRejected(
        _l("This is done by hand at the shop, and recorded here."), reason="by_hand", detail=reference
    )


def _instant(text: str | None) -> datetime | None:
    """An ISO 8601 instant. Raises InvalidPayload for a text that is none."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidPayload("timestamp is not a time") from None
