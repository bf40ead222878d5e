"""Recurrente (Guatemala): its hosted checkout for cards and bank transfers, through its REST API.

Three things are different from others. There are no idempotency keys, so a start looks first whether an earlier call
opened a page. A page cannot be closed, so it is opened with the time at which it closes by itself. And in test mode no
webhooks are sent, so whether it was paid is asked. Events are read in `recurrente_events.py`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask_babel import lazy_gettext as _l

from portal.core import clock
from portal.core.money import digits
from portal.payments.providers import standard_webhooks
from portal.payments.providers.base import (
    Capabilities,
    FetchResult,
    InvalidPayload,
    Outcome,
    ParsedWebhook,
    ProviderRejected,
    ProviderUnavailable,
    RecoveredEvent,
    RefundRequest,
    RefundResult,
    RefundStatus,
    StartRequest,
    StartResult,
)
from portal.payments.providers.payloads import Fields
from portal.payments.providers.recurrente_api import (
    CONNECT_SECONDS,
    LIVE_URL,
    READ_SECONDS,
    RecurrenteApi,
    garbled,
)
from portal.payments.providers.recurrente_events import (
    AMOUNT_KEY,
    ATTEMPT_KEY,
    CLOSES_KEY,
    IDEMPOTENCY_KEY,
    SESSION_KEY,
    checkout_state,
    marks_of,
    read_event,
    subscription_state,
)
from portal.payments.providers.signing import usable_secrets

log = structlog.get_logger(__name__)

CURRENCIES = frozenset({"GTQ", "USD"})
# Svix, who deliver its webhooks, call the Standard Webhooks headers so.
_HEADERS = "svix"
# How far back a page of an attempt is looked for when nobody says since when it can be there.
_LONGEST_OPEN = timedelta(hours=25)
_CLOCK_SLACK = timedelta(minutes=5)
# https://docs.recurrente.com: at most 50 entries of metadata; five are ours.
_MOST_METADATA, _LONGEST_METADATA_KEY, _LONGEST_METADATA_VALUE = 45, 40, 500
_LONGEST_NAME = 250
_LONGEST_URL = 5_000
_TWO_DIGITS = 2
_LIVE_KEY = "sk_live_"
_REFUND_STATUSES: Mapping[str, RefundStatus] = {
    "succeeded": "succeeded",
    "completed": "succeeded",
    "refunded": "succeeded",
    "failed": "failed",
    "rejected": "failed",
    "canceled": "failed",
    "cancelled": "failed",
}
# How a refusal reads when the payment was given back before; anything else is a refusal.
_GIVEN_BACK = re.compile(r"already (?:been )?refunded|ya (?:fue|ha sido|está) reembolsad", re.IGNORECASE)
_SENTENCES = {
    "currency_not_supported": _l("Recurrente takes quetzals and US dollars only. Choose another way to pay."),
    "not_configured": _l("Recurrente cannot take payments for us right now. Choose another way to pay."),
    "resource_missing": _l("Recurrente does not know this payment."),
    "partial_refund": _l("Recurrente gives back whole payments only."),
    "already_completed": _l("The buyer has already finished paying on Recurrente's page."),
}


class RecurrenteProvider:
    """Takes payments on Recurrente's own page. Safe to share between threads."""

    name = "recurrente"
    title = "Recurrente"
    capabilities = Capabilities(
        refund=True, partial_refund=False, fetch=True, methods=("card", "transfer"), expire=False, recurring=True
    )

    def __init__(
        self,
        *,
        secret_key: str,
        webhook_secrets: Sequence[str],
        public_key: str = "",
        api_url: str | None = None,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """`webhook_secrets` are all in use, so that one can be rotated without a gap. Raises ValueError for blanks."""
        if not secret_key.strip():
            raise ValueError("the Recurrente secret key is blank")
        self._keys = tuple(standard_webhooks.key_of(secret) for secret in usable_secrets(webhook_secrets))
        self._is_test = not secret_key.startswith(_LIVE_KEY)
        self._now = now
        url = api_url or LIVE_URL
        self._pages = "{0.scheme}://{0.netloc}/checkout-session/".format(urlsplit(url))
        self._api = RecurrenteApi(public_key=public_key, secret_key=secret_key, url=url, timeout=timeout)

    def start(self, request: StartRequest) -> StartResult:
        """Open a checkout, or give the one that an earlier call opened. Raises ProviderUnavailable, ProviderRejected.

        Without idempotency keys, two calls at the same moment may each open one. Both then look again and agree on the
        older; nobody is sent to the other one. A page whose answer was lost after we had looked is known to nobody.
        """
        amount = _amount_of(request)
        found = self._find(request, amount)
        if found is not None:
            return found
        with _translated("start"):
            made = self._api.create_checkout(self._values(request, amount))
            mine = self._result(made, request)
        return self._find(request, amount) or mine

    def _find(self, request: StartRequest, amount: str) -> StartResult | None:
        """The oldest checkout of this very attempt. Raises ProviderRejected when it is for another amount."""
        now = self._now()
        since = max(request.begun_at or now - _LONGEST_OPEN, now - _LONGEST_OPEN) - _CLOCK_SLACK
        with _translated("start"):
            listed = self._api.list_checkouts("start", since=since, until=now + _CLOCK_SLACK)
            mine = [one for one in listed if marks_of(one)[0] == request.idempotency_key]
            if not mine:
                return None
            oldest = min(mine, key=_age)
            if marks_of(oldest)[1] != amount:
                raise ProviderRejected(reason="idempotency_conflict")
            return self._result(oldest, request)

    def _result(self, checkout: Fields, request: StartRequest) -> StartResult:
        reference = checkout.text("id")
        url = checkout.optional_text("checkout_url", longest=_LONGEST_URL) or f"{self._pages}{reference}"
        return StartResult(reference, url, request.expires_at)

    def _values(self, request: StartRequest, amount: str) -> dict[str, Any]:
        closes_at = request.expires_at.replace(microsecond=0).isoformat()
        item: dict[str, Any] = {
            "name": request.description[:_LONGEST_NAME],
            "amount_in_cents": request.amount.amount_minor,
            "currency": request.amount.currency,
            "quantity": 1,
        }
        if request.every_months is not None:
            item |= {
                "charge_type": "recurring",
                "billing_interval": "month",
                "billing_interval_count": request.every_months,
            }
        return {
            "items": [item],
            "success_url": request.success_url,
            "cancel_url": request.cancel_url,
            "expires_at": closes_at,
            "metadata": {
                **_storable(request.metadata),
                SESSION_KEY: request.session_id,
                ATTEMPT_KEY: str(request.attempt),
                IDEMPOTENCY_KEY: request.idempotency_key,
                AMOUNT_KEY: amount,
                CLOSES_KEY: closes_at,
            },
        }

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify and read a delivery. Raises InvalidSignature or InvalidPayload."""
        webhook_id = standard_webhooks.verify(headers, body, self._keys, at=at, prefix=_HEADERS)
        return read_event(webhook_id, body, is_test=self._is_test)

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Ask how a checkout stands. Raises ProviderUnavailable or ProviderRejected."""
        with _translated("fetch"):
            checkout = self._api.get_checkout(attempt_reference)
            return checkout_state(checkout, at=self._now(), is_test=self._is_test)

    def fetch_subscription(self, reference: str) -> FetchResult:
        """Ask how a subscription stands; which charges it had is not told.

        Raises ProviderUnavailable or ProviderRejected.
        """
        with _translated("fetch"):
            return subscription_state(self._api.get_subscription(reference), is_test=self._is_test)

    def cancel_subscription(self, reference: str) -> None:
        """End a subscription now. Raises ProviderUnavailable or ProviderRejected."""
        try:
            with _translated("cancel"):
                self._api.delete_subscription(reference)
        except ProviderRejected as refusal:
            if refusal.reason not in ("resource_missing", "refused"):
                raise
            # It may have ended before.
            if self.fetch_subscription(reference).outcome is not Outcome.SUBSCRIPTION_ENDED:
                raise

    def refund(self, request: RefundRequest) -> RefundResult:
        """Give a whole payment back. Raises ProviderUnavailable or ProviderRejected.

        A payment is given back once, so its refund goes by the payment's id: repeating the request, also after an
        answer was lost, gives the same result.
        """
        if request.amount is not None:
            raise _rejected("partial_refund")
        try:
            with _translated("refund"):
                status = self._api.create_refund(request.payment_reference).optional_text("status")
        except ProviderRejected as refusal:
            if refusal.reason != "refused" or not _GIVEN_BACK.search(refusal.detail or ""):
                raise
            return RefundResult(request.payment_reference, "succeeded")
        # A status that is not known yet is no answer; `refund.create` will be.
        return RefundResult(request.payment_reference, _REFUND_STATUSES.get(status or "", "pending"))

    def expire(self, attempt_reference: str) -> None:
        """Nothing is done when the page has closed by itself; there is no call that closes one.

        Raises ProviderUnavailable, or ProviderRejected with reason "already_completed" or "cannot_expire".
        """
        outcome = self.fetch(attempt_reference).outcome
        if outcome is not Outcome.FAILED:
            raise _rejected("already_completed" if outcome is Outcome.PAID else "cannot_expire")

    def recover_events(self, since: datetime) -> Iterator[RecoveredEvent]:
        """Checkouts made since then that were paid, oldest first: a webhook may be lost, or the attempt given up.

        They have the key that asking for them has. Raises ProviderUnavailable or ProviderRejected.
        """
        now = self._now()
        listed: list[Fields] = []
        try:
            with _translated("recover"):
                listed.extend(self._api.list_checkouts("recover", since=since, until=now + _CLOCK_SLACK))
        except ProviderUnavailable:
            if not listed:
                raise
        for checkout in sorted(listed, key=_age):
            try:
                answer = checkout_state(checkout, at=now, is_test=self._is_test)
            except InvalidPayload as error:
                log.error("recurrente.unreadable_checkout", reason=error.reason)
                continue
            fact = answer.event
            if answer.outcome is Outcome.PAID and fact is not None and fact.session_id is not None:
                key = f"poll:{fact.attempt_reference}:{answer.raw_status}"
                body = f"listed: {answer.raw_status}".encode()
                yield RecoveredEvent(body, ParsedWebhook(key, "poll.paid", (fact,)))


def _age(checkout: Fields) -> tuple[str, str]:
    """Sorts the oldest first, and those of one moment in an order that everybody finds."""
    try:
        return checkout.optional_text("created_at") or "", checkout.optional_text("id") or ""
    except InvalidPayload:
        return "", ""  # Found unreadable by whoever looks into it.


def _amount_of(request: StartRequest) -> str:
    """The amount as it is written down with the checkout. Raises ProviderRejected for a currency it does not take."""
    amount = request.amount
    if amount.amount_minor <= 0:
        raise ValueError("nothing to pay")
    if amount.currency not in CURRENCIES or digits(amount.currency) != _TWO_DIGITS:
        raise _rejected("currency_not_supported")
    return f"{amount.amount_minor} {amount.currency}"


def _storable(metadata: Mapping[str, str]) -> dict[str, str]:
    """What Recurrente can keep of a merchant's metadata, there for people reading its dashboard."""
    kept = {
        key: value[:_LONGEST_METADATA_VALUE]
        for key, value in metadata.items()
        if 0 < len(key) <= _LONGEST_METADATA_KEY and value
    }
    return dict(islice(kept.items(), _MOST_METADATA))


def _rejected(reason: str, *, detail: str | None = None) -> ProviderRejected:
    return ProviderRejected(_SENTENCES.get(reason), reason=reason, detail=detail)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """A refusal gets a sentence for the buyer; an answer with other fields than documented leaves it unknown."""
    try:
        yield
    except ProviderRejected as refusal:
        if refusal.reason in _SENTENCES:
            raise _rejected(refusal.reason, detail=refusal.detail) from refusal
        raise
    except InvalidPayload as error:
        raise garbled(action, error) from error
