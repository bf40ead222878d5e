"""BTCPay Server: the shop's own server takes bitcoin and what else the store has switched on; no company in between.

Written against the Greenfield API of BTCPay Server 2.4 (https://docs.btcpayserver.org/API/Greenfield/v1/), through the
addresses that name the store, which older servers know too. Webhooks are read in `btcpay_events.py`, the money an
invoice took in `btcpay_money.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import structlog
from flask_babel import lazy_gettext as _l

from portal.core import clock
from portal.core.money import Money
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
from portal.payments.providers.btcpay_events import ATTEMPT_KEY, SESSION_KEY, parse_event, verify
from portal.payments.providers.btcpay_money import (
    EXPIRED,
    INVALID,
    NEW,
    PROCESSING,
    SETTLED,
    Received,
    amount_of,
    has_money,
    paid_out_minor,
    read_received,
    refund_fact,
    refund_name,
    state_of,
    taken_minor,
)
from portal.payments.providers.calling import CONNECT_SECONDS, READ_SECONDS, Caller, NoAnswer
from portal.payments.providers.payloads import Fields
from portal.payments.providers.signing import usable_secrets

log = structlog.get_logger(__name__)

# The exchange rate is fixed while an invoice is open, so it is not open for as long as a card page would be.
SHORTEST, LONGEST = timedelta(minutes=5), timedelta(minutes=60)
_LONGEST_LINK = 5_000
_LONGEST_DESCRIPTION = 250
_PAGE, _MOST_PAGES = 100, 10
# A payout is dated when the buyer claims it, and paid when somebody approves it.
_CLAIMED_WITHIN = timedelta(days=30)
_LANGUAGES = {"en": "en", "es": "es-ES", "pl": "pl-PL"}
_SENTENCES = {
    "resource_missing": _l("BTCPay does not know this payment."),
    "not_configured": _l("BTCPay cannot take payments for us right now. Choose another way to pay."),
    "refused": _l("BTCPay does not take this payment. Choose another way to pay."),
    "already_completed": _l("The buyer has already paid."),
    "refund_too_large": _l("This is more than is left to refund of this payment."),
    "currency_mismatch": _l("A refund is in the currency of its payment."),
    "not_refundable": _l("BTCPay cannot refund this payment. Refund it by hand."),
}


class BTCPayProvider:
    """Takes payments on the store's own BTCPay Server. Safe to share between threads."""

    name = "btcpay"
    title = "BTCPay"
    capabilities = Capabilities(refund=True, partial_refund=True, fetch=True, methods=("crypto",))

    def __init__(
        self,
        *,
        url: str,
        api_key: str,
        store_id: str,
        webhook_secrets: Sequence[str],
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """`url` is the server's address, `webhook_secrets` are all believed. Raises ValueError for blanks."""
        if not (url.strip() and api_key.strip() and store_id.strip()):
            raise ValueError("the BTCPay address, API key or store is blank")
        self._secrets = usable_secrets(webhook_secrets)
        self._store_id = store_id
        self._store = f"api/v1/stores/{_segment(store_id)}"
        self._now = now
        headers = {"Authorization": f"token {api_key}"}
        self._caller = Caller(url.rstrip("/") + "/", headers=headers, timeout=timeout)

    def start(self, request: StartRequest) -> StartResult:
        """Make an invoice, or find the one an earlier call made. Raises ProviderUnavailable or ProviderRejected.

        There are no idempotency keys at BTCPay, so each try has an order id of its own and is looked for first.
        """
        order_id = f"{request.session_id}-{request.attempt}"
        if request.amount.amount_minor <= 0:
            raise ValueError("nothing to pay: BTCPay would take any payment for such an invoice")
        invoice = self._find(order_id)
        if invoice is None:
            answer = self._call("start", "POST", f"{self._store}/invoices", body=self._invoice_of(request, order_id))
            invoice = _fields("start", answer)
        with _read("start"):
            if amount_of(invoice) != request.amount:
                raise _rejected("idempotency_conflict", "start: the try was made with another amount")
            return StartResult(
                reference=invoice.text("id"),
                redirect_url=invoice.text("checkoutLink", longest=_LONGEST_LINK),
                expires_at=invoice.optional_time("expirationTime"),
            )

    def parse_webhook(
        self,
        headers: Mapping[str, str],
        body: bytes,
        *,
        at: datetime,  # noqa: ARG002  # the contract's; BTCPay signs no time
    ) -> ParsedWebhook:
        """Verify and read a delivery. Raises InvalidSignature or InvalidPayload."""
        verify(headers, body, self._secrets)
        return parse_event(body, store_id=self._store_id)

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Ask how an invoice stands and what it took. Raises ProviderUnavailable or ProviderRejected."""
        return self._state("fetch", self._invoice("fetch", attempt_reference))

    def refund(self, request: RefundRequest) -> RefundResult:
        """Open a pull payment, which the buyer claims and the store pays out: pending until that has happened.

        Asking again tells how it stands. Raises ProviderUnavailable or ProviderRejected.
        """
        invoice = self._invoice("refund", request.payment_reference)
        with _read("refund"):
            invoice_id, price = invoice.text("id"), amount_of(invoice)
            mine = [one for one in self._pull_payments() if one.text("name").startswith(f"Refund {invoice_id}")]
            name = refund_name(invoice_id, request.idempotency_key)
            made = next((one for one in mine if one.text("name") == name), None)
            if made is not None:
                if request.amount not in (None, amount_of(made)):
                    raise _rejected("idempotency_conflict", "refund: the key was used for another amount")
                return RefundResult(made.text("id"), self._refund_status(made))
            if request.amount is not None and request.amount.currency != price.currency:
                raise _rejected("currency_mismatch", "refund")
            given = sum(
                amount_of(one).amount_minor
                for one in mine
                if one.text("currency") == price.currency and not one.optional_flag("archived")
            )
            left = taken_minor(invoice, self._received("refund", invoice_id)) - given
        wanted = request.amount.amount_minor if request.amount is not None else left
        if not 0 < wanted <= left:
            raise _rejected("refund_too_large", f"refund: {left} is left")
        body = {
            "name": name,
            "description": request.reason[:_LONGEST_DESCRIPTION],
            "refundVariant": "Custom",
            "customAmount": _major(Money(wanted, price.currency)),
            "customCurrency": price.currency,
        }
        path = f"{self._store}/invoices/{_segment(invoice_id)}/refund"
        made = _fields("refund", self._call("refund", "POST", path, body=body))
        with _read("refund"):
            return RefundResult(made.text("id"), self._refund_status(made))

    def expire(self, attempt_reference: str) -> None:
        """Mark an unpaid invoice invalid, so that nothing settles it any more. One with money on its way is left.

        Raises ProviderUnavailable, or ProviderRejected when the buyer was faster.
        """
        invoice = self._invoice("expire", attempt_reference)
        with _read("expire"):
            invoice_id, status = invoice.text("id"), invoice.text("status")
        if status == NEW:
            path = f"{self._store}/invoices/{_segment(invoice_id)}/status"
            try:
                self._call("expire", "POST", path, body={"status": INVALID})
            except ProviderRejected:
                with _read("expire"):
                    status = self._invoice("expire", attempt_reference).text("status")
                if status not in (PROCESSING, SETTLED, EXPIRED, INVALID):
                    raise
        if status in (PROCESSING, SETTLED):
            raise _rejected("already_completed", f"expire: {status}")

    def recover_events(self, since: datetime) -> Iterator[RecoveredEvent]:
        """What invoices took since then, oldest first, late and short money too: no scheduled check asks about those.
        Then what became of refunds.

        Raises ProviderUnavailable or ProviderRejected.
        """
        invoices: list[Fields] = []
        params = {"startDate": int(since.timestamp()), "take": _PAGE, "includeArchived": "true"}
        for page in range(_MOST_PAGES):
            path = f"{self._store}/invoices"
            found = _list("recover", self._call("recover", "GET", path, params={**params, "skip": page * _PAGE}))
            invoices += found
            if len(found) < _PAGE:
                break
        else:
            log.warning("btcpay.too_many_invoices", taken=len(invoices))
        for invoice in reversed(invoices):  # BTCPay lists the newest first.
            with _read("recover"):
                if not has_money(invoice):
                    continue
                reference = invoice.text("id")
            state = self._state("recover", invoice)
            if state.event is not None and state.event.session_id is not None:
                yield RecoveredEvent(f"asked: {state.raw_status}".encode(), state.as_told(reference))
        yield from self._recover_refunds(since)

    def _state(self, action: str, invoice: Fields) -> FetchResult:
        with _read(action):
            received = self._received(action, invoice.text("id")) if has_money(invoice) else Received()
            return state_of(invoice, received)

    def _invoice(self, action: str, reference: str) -> Fields:
        return _fields(action, self._call(action, "GET", f"{self._store}/invoices/{_segment(reference)}"))

    def _find(self, order_id: str) -> Fields | None:
        """The oldest invoice of a try: two calls at once may have made two."""
        params = {"orderId": order_id, "includeArchived": "true"}
        found = _list("start", self._call("start", "GET", f"{self._store}/invoices", params=params))
        with _read("start"):
            mine = [
                one
                for one in found
                if (marks := one.optional_fields("metadata")) and marks.optional_text("orderId") == order_id
            ]
            return min(mine, key=lambda one: (one.whole("createdTime"), one.text("id")), default=None)

    def _received(self, action: str, invoice_id: str) -> Received:
        path = f"{self._store}/invoices/{_segment(invoice_id)}/payment-methods"
        return read_received(_list(action, self._call(action, "GET", path)))

    def _pull_payments(self) -> list[Fields]:
        path = f"{self._store}/pull-payments"
        return _list("refund", self._call("refund", "GET", path, params={"includeArchived": "true"}))

    def _refund_status(self, refund: Fields) -> RefundStatus:
        """Succeeded once all of it was paid out, failed once the store has withdrawn it."""
        path = f"api/v1/pull-payments/{_segment(refund.text('id'))}/payouts"
        payouts = _list("refund", self._call("refund", "GET", path))
        fact = refund_fact(refund, paid_out_minor(payouts, refund))
        if fact is None:
            return "pending"
        return "succeeded" if fact.outcome is Outcome.REFUNDED else "failed"

    def _recover_refunds(self, since: datetime) -> Iterator[RecoveredEvent]:
        """Refunds that were paid out or withdrawn; no webhook says of which payment."""
        refunds = self._pull_payments()
        if not refunds:
            return
        payouts = _list("recover", self._call("recover", "GET", f"{self._store}/payouts"))
        with _read("recover"):
            lately = {one.optional_text("pullPaymentId") for one in payouts if _is_after(one, since - _CLAIMED_WITHIN)}
            found = [
                (refund.text("id"), refund_fact(refund, paid_out_minor(payouts, refund)))
                for refund in refunds
                if refund.text("id") in lately or refund.optional_flag("archived")
            ]
        for refund_id, fact in found:
            if fact is not None:
                parsed = ParsedWebhook(
                    f"refund:{refund_id}:{fact.outcome.value}", f"poll.{fact.outcome.value}", (fact,)
                )
                yield RecoveredEvent(f"asked: {fact.detail}".encode(), parsed)

    def _invoice_of(self, request: StartRequest, order_id: str) -> dict[str, Any]:
        open_for = min(max(request.expires_at - self._now(), SHORTEST), LONGEST)
        return {
            "amount": _major(request.amount),
            "currency": request.amount.currency,
            "metadata": {
                "orderId": order_id,
                SESSION_KEY: request.session_id,
                ATTEMPT_KEY: str(request.attempt),
                "itemDesc": request.description[:_LONGEST_DESCRIPTION],
                **({"buyerEmail": request.customer_email} if request.customer_email else {}),
            },
            "checkout": {
                "expirationMinutes": int(open_for.total_seconds() // 60),
                # Nothing less than the price settles an invoice, whatever the store's own setting is.
                "paymentTolerance": 0,
                "redirectURL": request.success_url,
                "redirectAutomatically": True,
                **({"defaultLanguage": _LANGUAGES[request.locale]} if request.locale in _LANGUAGES else {}),
            },
        }

    def _call(self, action: str, method: str, path: str, *, params: Any = None, body: Any = None) -> Any:
        """The value of a successful answer. Raises ProviderUnavailable or ProviderRejected."""
        try:
            answer = self._caller.call(method, path, params=params or {}, body=body)
        except NoAnswer as error:
            log.warning("btcpay.no_answer", action=action, error=str(error))
            raise ProviderUnavailable(detail=f"{action}: {error}") from error
        if answer.is_success:
            return answer.value
        code = answer.value.get("code") if isinstance(answer.value, dict) else None
        detail = f"{action}: HTTP {answer.status} {str(code or '')[:60]}".strip()
        log.warning("btcpay.refused", action=action, error=detail, message=str(answer.value)[:300])
        if answer.status == 404 and code == "invoice-not-found":
            raise _rejected("resource_missing", detail)
        if answer.status in (400, 422) and method == "POST":
            reason = "not_refundable" if code == "non-refundable" else "refused"
            raise _rejected(reason, detail)
        if action == "start" and answer.status in (401, 403, 404):
            # Nothing was opened. For an invoice that exists, a wrong key decides nothing: somebody may have paid it.
            raise _rejected("not_configured", detail)
        raise ProviderUnavailable(detail=detail)


@contextmanager
def _read(action: str) -> Iterator[None]:
    """Around the reading of an answer: another shape than the documented one says nothing about what happened."""
    try:
        yield
    except (InvalidPayload, ValueError, ArithmeticError) as error:
        log.warning("btcpay.garbled_answer", action=action, error=repr(error)[:200])
        raise ProviderUnavailable(detail=f"{action}: garbled answer") from error


def _fields(action: str, value: Any) -> Fields:
    if not isinstance(value, dict):
        raise ProviderUnavailable(detail=f"{action}: the answer is not an object")
    return Fields(value)


def _list(action: str, value: Any) -> list[Fields]:
    if not isinstance(value, list):
        raise ProviderUnavailable(detail=f"{action}: the answer is not a list")
    return [_fields(action, one) for one in value]


def _rejected(reason: str, detail: str) -> ProviderRejected:
    return ProviderRejected(_SENTENCES.get(reason), reason=reason, detail=detail)


def _is_after(payout: Fields, instant: datetime) -> bool:
    date = payout.optional_time("date")
    return date is None or date >= instant


def _segment(text: str) -> str:
    """Any text as one part of an address's path, dots included."""
    return quote(text, safe="").replace(".", "%2E")


def _major(amount: Money) -> str:
    return format(amount.to_decimal(), "f")
