"""PayU (GPO Europe, REST API 2.1): its hosted page for cards, BLIK and bank transfers in central Europe.

Calls are made in `payu_api.py`; notifications and orders are read in `payu_events.py`. "Auto-receive" must be on for
the point of sale, else payments wait for a confirmation that we do not send.
See https://developers.payu.com/europe/docs/.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import structlog
from flask_babel import lazy_gettext as _l

from portal.core import clock
from portal.core.money import Money
from portal.payments.providers.base import (
    AlreadyStarted,
    Capabilities,
    FetchResult,
    InvalidPayload,
    ParsedWebhook,
    ProviderRejected,
    ProviderUnavailable,
    RefundRequest,
    RefundResult,
    RefundStatus,
    StartRequest,
    StartResult,
)
from portal.payments.providers.payloads import Fields
from portal.payments.providers.payu_api import Answer, NotLetIn, PayUApi
from portal.payments.providers.payu_events import (
    ORDER_ID,
    external_order_id,
    order_fact,
    parse_notification,
    payu_amount,
    read_order_id,
    verify,
)
from portal.payments.providers.signing import usable_secrets

log = structlog.get_logger(__name__)

LIVE_URL, SANDBOX_URL = "https://secure.payu.com", "https://secure.snd.payu.com"
# PayU tries again whatever is not answered with exactly 200, also what is stored already and waits for us.
NOTIFY_PATH = "/api/v1/webhooks/payu"
# PayU wants the buyer's address with each order. When the portal asks by itself nobody is there to have one, and PayU's
# own examples send this.
UNKNOWN_ADDRESS = "127.0.0.1"
_SHORTEST_VALIDITY = timedelta(minutes=1)
_LONGEST_DESCRIPTION, _LONGEST_VISIBLE_DESCRIPTION, _LONGEST_REASON = 4_000, 80, 250
_LONGEST_URL = 2_000
_LANGUAGES = frozenset({"en", "es", "pl"})
_OK, _NOT_FOUND = 200, 404
_STARTED = (200, 201, 302)
_REFUND_STATUSES: Mapping[str, RefundStatus] = {
    "PENDING": "pending",
    "FINALIZED": "succeeded",
    "CANCELED": "failed",
}
# PayU's causes in the words that the portal uses for every provider; others keep PayU's word.
_REASONS = {
    "AMOUNT_TO_BIG": "refund_too_large",
    "PAID": "charge_already_refunded",
    "DATA_NOT_FOUND": "resource_missing",
    "ERROR_INCONSISTENT_CURRENCIES": "currency_not_supported",
}
_SENTENCES = {
    "resource_missing": _l("PayU does not know this payment."),
    "refund_too_large": _l("This is more than is left to refund of this payment."),
    "charge_already_refunded": _l("This payment has already been refunded in full."),
    "no_balance": _l("There is not enough money in the PayU account for this refund."),
    "already_completed": _l("The buyer has already finished paying on PayU's page."),
    "currency_not_supported": _l("PayU does not take this amount in this currency. Choose another way to pay."),
}


class PayUProvider:
    """Takes payments on PayU's own page. Safe to share between threads."""

    name = "payu"
    title = "PayU"

    def __init__(
        self,
        *,
        pos_id: str,
        client_id: str,
        client_secret: str,
        webhook_secrets: Sequence[str],
        portal_url: str,
        currencies: Sequence[str] = ("PLN",),
        api_url: str = SANDBOX_URL,
        timeout: tuple[float, float] | None = None,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """`webhook_secrets` are PayU's "second keys", all in use. Raises ValueError when something is blank."""
        if not pos_id.strip() or not client_id.strip() or not client_secret.strip():
            raise ValueError("PayU needs a point of sale, a client id and a client secret")
        self.capabilities = Capabilities(
            refund=True,
            partial_refund=True,
            fetch=True,
            methods=("card", "blik", "transfer"),
            repeats_start=False,
            currencies=frozenset(currencies),
        )
        self._pos_id = pos_id
        self._secrets = usable_secrets(webhook_secrets)
        self._notify_url = portal_url.rstrip("/") + NOTIFY_PATH
        self._api = PayUApi(api_url.rstrip("/"), client_id=client_id, client_secret=client_secret, timeout=timeout)
        # PayU's objects do not say whether their money is real; where they live does.
        parts = urlsplit(api_url)
        self._is_test = parts.hostname != urlsplit(LIVE_URL).hostname
        self._page_schemes = ("https",) if parts.scheme == "https" else ("https", "http")
        self._now = now

    def start(self, request: StartRequest) -> StartResult:
        """Open an order. Raises ProviderUnavailable, ProviderRejected, or AlreadyStarted for a name that is taken."""
        lifetime = max(request.expires_at - self._now(), _SHORTEST_VALIDITY)
        seconds = int(lifetime.total_seconds())
        expires_at = self._now() + timedelta(seconds=seconds)
        answer = self._api.call("start", "POST", "/api/v2_1/orders", self._order(request, seconds))
        if answer.http_status not in _STARTED:
            if answer.code == "ERROR_ORDER_NOT_UNIQUE":
                raise AlreadyStarted(detail=answer.detail)
            raise _refused(answer)
        with _read(answer):
            if answer.code != "SUCCESS" and not (answer.code or "").startswith("WARNING_CONTINUE_"):
                raise InvalidPayload(f"statusCode {answer.code}")
            page = answer.fields.text("redirectUri", longest=_LONGEST_URL)
            if urlsplit(page).scheme not in self._page_schemes:
                raise InvalidPayload("redirectUri is not an address to send a buyer to")
            return StartResult(read_order_id(answer.fields), page, expires_at)

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:  # noqa: ARG002  # PayU signs no time
        """Verify and read a notification. Raises InvalidSignature or InvalidPayload."""
        verify(headers, body, self._secrets)
        return parse_notification(body, pos_id=self._pos_id, is_test=self._is_test)

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Ask how an order stands. Raises ProviderUnavailable, or ProviderRejected when PayU has no such order."""
        if not ORDER_ID.fullmatch(attempt_reference):
            raise _rejected("resource_missing")
        with _asking("fetch"):
            answer = self._api.call("fetch", "GET", f"/api/v2_1/orders/{attempt_reference}")
        if answer.http_status == _NOT_FOUND and answer.code == "DATA_NOT_FOUND":
            raise _rejected("resource_missing", detail=answer.detail)
        with _read(answer):
            if answer.http_status != _OK:
                raise InvalidPayload("no order")
            status, outcome, fact = order_fact(_only_order(answer, attempt_reference), is_test=self._is_test)
        return FetchResult(outcome, fact, status)

    def refund(self, request: RefundRequest) -> RefundResult:
        """Refund an order, in whole or in part. Raises ProviderUnavailable or ProviderRejected.

        PayU gives the same refund for the same data, so the key goes along as `extRefundId`: without it two equal
        parts would be one refund, and with it a repeated request is.
        """
        if not ORDER_ID.fullmatch(request.payment_reference):
            raise _rejected("resource_missing")
        refund: dict[str, str] = {
            "description": request.reason[:_LONGEST_REASON] or "Refund",
            "extRefundId": request.idempotency_key,
        }
        if request.amount is not None:
            refund.update(amount=_amount(request.amount), currencyCode=request.amount.currency)
        path = f"/api/v2_1/orders/{request.payment_reference}/refunds"
        answer = self._api.call("refund", "POST", path, {"refund": refund})
        if answer.http_status not in _STARTED:
            raise _refused(answer)
        with _read(answer):
            made = answer.fields.fields("refund")
            # A status PayU adds later is not an answer yet; its notification will be.
            status = _REFUND_STATUSES.get(made.optional_text("status") or "", "pending")
            return RefundResult(made.text("refundId", longest=64), status)

    def expire(self, attempt_reference: str) -> None:
        """Cancel the order, and look: PayU takes a cancellation, and a payment may be faster than that.

        Raises ProviderUnavailable, or ProviderRejected when it is paid or unknown.
        """
        if not ORDER_ID.fullmatch(attempt_reference):
            raise _rejected("resource_missing")
        with _asking("expire"):
            answer = self._api.call("expire", "DELETE", f"/api/v2_1/orders/{attempt_reference}")
        status = self.fetch(attempt_reference).raw_status
        if status == "COMPLETED":
            raise _rejected("already_completed", detail=answer.detail)
        if status != "CANCELED":
            raise ProviderUnavailable(detail=f"{answer.detail}: the order is still {status}")

    def _order(self, request: StartRequest, seconds: int) -> dict[str, Any]:
        total = _amount(request.amount)
        order: dict[str, Any] = {
            "merchantPosId": self._pos_id,
            "extOrderId": external_order_id(request.session_id, request.attempt),
            "notifyUrl": self._notify_url,
            # PayU has no address for those who give up: everybody returns here, and nobody is believed.
            "continueUrl": request.success_url,
            "customerIp": _client_address(request.client_address),
            "description": request.description[:_LONGEST_DESCRIPTION],
            "visibleDescription": request.description[:_LONGEST_VISIBLE_DESCRIPTION],
            "currencyCode": request.amount.currency,
            "totalAmount": total,
            "products": [{"name": request.description[:255], "unitPrice": total, "quantity": "1"}],
            "validityTime": str(seconds),
        }
        buyer = {"email": request.customer_email} if request.customer_email else {}
        if buyer and request.locale in _LANGUAGES:
            buyer["language"] = request.locale
        if buyer:
            order["buyer"] = buyer
        return order


def _amount(amount: Money) -> str:
    """The amount as PayU writes it. Raises ProviderRejected when PayU cannot take it exactly."""
    if amount.amount_minor <= 0:
        raise ValueError("nothing to pay or to refund")
    text = payu_amount(amount)
    if text is None:
        raise _rejected("currency_not_supported")
    return text


def _client_address(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return UNKNOWN_ADDRESS
    return UNKNOWN_ADDRESS if parsed.is_unspecified else str(parsed)


def _only_order(answer: Answer, order_id: str) -> Fields:
    orders = answer.values.get("orders")
    if not isinstance(orders, list) or len(orders) != 1 or not isinstance(orders[0], dict):
        raise InvalidPayload("orders is not one order")
    order = Fields(orders[0], "orders[0]")
    if read_order_id(order) != order_id:
        raise InvalidPayload("another order than the one that was asked for")
    return order


def _rejected(reason: str | None, *, detail: str | None = None) -> ProviderRejected:
    return ProviderRejected(_SENTENCES.get(reason or ""), reason=reason, detail=detail)


def _refused(answer: Answer) -> ProviderRejected | ProviderUnavailable:
    """A refusal in PayU's own words is final; anything else may be somebody in between."""
    log.warning("payu.refused", detail=answer.detail)
    if answer.code is None:
        return ProviderUnavailable(detail=answer.detail)
    word = answer.literal or answer.code
    return _rejected(_REASONS.get(word, word.lower()[:64]), detail=answer.detail)


@contextmanager
def _read(answer: Answer) -> Iterator[None]:
    """Half an answer, or one of another shape: what happened at PayU is unknown."""
    try:
        yield
    except (InvalidPayload, ValueError) as error:
        log.warning("payu.garbled_answer", detail=answer.detail, error=repr(error)[:200])
        raise ProviderUnavailable(detail=f"{answer.detail}: {error}"[:500]) from error


@contextmanager
def _asking(action: str) -> Iterator[None]:
    """Wrong credentials say nothing about an order that may be paid."""
    try:
        yield
    except NotLetIn as error:
        raise ProviderUnavailable(detail=f"{action}: {error.detail}") from error
