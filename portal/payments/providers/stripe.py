"""Stripe: Checkout's hosted page for cards and BLIK, through the official SDK.

Webhooks are read in `stripe_events.py`, answers in `stripe_states.py`. The SDK is pinned because it fixes the API
version, and so the shapes we read; the webhook endpoint at Stripe must be made with the same version,
`stripe.api_version`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

import stripe
import structlog
from flask_babel import lazy_gettext as _l

from portal.core import clock
from portal.core.money import Money, digits
from portal.payments.providers.base import (
    PLACEHOLDER,
    Capabilities,
    FetchResult,
    InvalidPayload,
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
from portal.payments.providers.signing import usable_secrets
from portal.payments.providers.stripe_events import (
    ATTEMPT_KEY,
    EVENT_TYPES,
    REFUND_KEY,
    SESSION_KEY,
    parse_event,
    power_of_ten,
    stripe_digits,
    verify,
)
from portal.payments.providers.stripe_states import (
    ENDED,
    PAYMENTS,
    intent_state,
    invoice_state,
    session_state,
    subscription_state,
)

if TYPE_CHECKING:
    from stripe.params import RefundCreateParams
    from stripe.params.checkout import SessionCreateParams, SessionCreateParamsLineItemPriceData

log = structlog.get_logger(__name__)

# The SDK would otherwise report timings and the platform, under an id that it writes into the home folder.
stripe.enable_telemetry = False

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
# A buyer waits for these calls, so one more try is all there is; the idempotency key makes it safe.
RETRIES = 1
# Stripe closes a page between these two times after it was made, and after the longer one when no time is given.
SHORTEST, LONGEST = timedelta(minutes=30), timedelta(hours=24)
# Stripe has two opinions on whether UGX has decimals (0 and 2), a factor of a hundred: not offered.
UNSUPPORTED_CURRENCIES = frozenset({"UGX"})
_THREE_DIGITS = 3
_MOST_RECOVERED = 1_000
# Stripe keeps 50 entries of metadata (https://docs.stripe.com/api/metadata); two are ours.
_MOST_METADATA, _LONGEST_METADATA_KEY, _LONGEST_METADATA_VALUE = 48, 40, 500
_LONGEST_DESCRIPTION = 250
_LONGEST_URL = 5_000
_SERVER_ERROR = 500
# The portal's languages; Stripe speaks them all. Without one it goes by the browser.
_LOCALES = frozenset({"en", "es", "pl"})
_REFUND_REASONS = frozenset({"duplicate", "fraudulent", "requested_by_customer"})
_REFUND_STATUSES: Mapping[str | None, RefundStatus] = {
    "succeeded": "succeeded",
    "pending": "pending",
    "requires_action": "pending",
    "failed": "failed",
    "canceled": "failed",
}
# The refusals that a person can do something about. Stripe's own messages are written for developers.
_SENTENCES = {
    "amount_too_small": _l("This amount is too small to be paid by Stripe. Choose another way to pay."),
    "amount_too_large": _l("This amount is too large to be paid by Stripe. Choose another way to pay."),
    "email_invalid": _l("Stripe does not accept this e-mail address. Check it and try again."),
    "resource_missing": _l("Stripe does not know this payment."),
    "charge_already_refunded": _l("This payment has already been refunded in full."),
    "refund_too_large": _l("This is more than is left to refund of this payment."),
    "charge_disputed": _l("This payment is disputed, so it cannot be refunded."),
    "already_completed": _l("The buyer has already finished paying on Stripe's page."),
    "currency_not_supported": _l("Stripe does not take this amount in this currency. Choose another way to pay."),
    "not_configured": _l("Stripe cannot take payments for us right now. Choose another way to pay."),
}


class StripeProvider:
    """Takes payments on Stripe's own page. Safe to share between threads."""

    name = "stripe"
    title = "Stripe"
    # Which of these a buyer is offered is set in Stripe's dashboard, and depends on currency, amount and country.
    capabilities = Capabilities(refund=True, partial_refund=True, fetch=True, methods=("card", "blik"), recurring=True)

    def __init__(
        self,
        *,
        api_key: str,
        webhook_secrets: Sequence[str],
        api_base: str | None = None,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
        retries: int = RETRIES,
        now: Callable[[], datetime] = clock.now,
    ) -> None:
        """`webhook_secrets` are all in use, so that one can be rolled without a gap. Raises ValueError for blanks."""
        if not api_key.strip():
            raise ValueError("the Stripe secret key is blank")
        self._secrets = usable_secrets(webhook_secrets)
        self._now = now
        self._client = stripe.StripeClient(
            api_key,
            base_addresses={"api": api_base.rstrip("/")} if api_base else None,
            max_network_retries=retries,
            http_client=stripe.RequestsClient(timeout=timeout),
        )

    def start(self, request: StartRequest) -> StartResult:
        """Open a Checkout Session. Raises ProviderUnavailable or ProviderRejected.

        A closing time less than 30 minutes or more than 24 hours away is beyond Stripe: the page then stays open for
        24 hours unless the caller expires it. The result says until when.
        """
        untimed = self._session_params(request)
        timed: SessionCreateParams = {**untimed, "expires_at": int(request.expires_at.timestamp())}
        # A repeated call must send the same parameters under the same key, but whether Stripe takes the wanted closing
        # time depends on when it is asked. There are only these two ways to ask, and whichever came first is remembered
        # under the key: so the other one is refused as a conflict, and the remembered one gives the page again.
        is_in_reach = SHORTEST <= request.expires_at - self._now() <= LONGEST
        first, second = (timed, untimed) if is_in_reach else (untimed, timed)
        try:
            return self._open(first, request.idempotency_key)
        except ProviderRejected as refusal:
            if refusal.reason not in ("idempotency_conflict", "closing_time_refused"):
                raise
        return self._open(second, request.idempotency_key)

    def _open(self, params: "SessionCreateParams", idempotency_key: str) -> StartResult:
        with _translated("start"):
            session = _fields(self._client.v1.checkout.sessions.create(params, {"idempotency_key": idempotency_key}))
            return StartResult(
                reference=session.text("id"),
                redirect_url=session.text("url", longest=_LONGEST_URL),
                expires_at=session.optional_time("expires_at"),
            )

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify and read a delivery. Raises InvalidSignature or InvalidPayload."""
        verify(headers, body, self._secrets, at=at)
        return parse_event(body)

    def reread(self, body: bytes, *, delivery_key: str) -> ParsedWebhook:  # noqa: ARG002  # the body names itself
        """Read a delivery without asking who sent it. Raises InvalidPayload."""
        return parse_event(body)

    def sample_headers(self, body: bytes, *, delivery_key: str, at: datetime) -> Mapping[str, str]:  # noqa: ARG002  # nothing in them depends on the body
        """The header's shape: a time and a placeholder."""
        return {"Content-Type": "application/json", "Stripe-Signature": f"t={int(at.timestamp())},v1={PLACEHOLDER}"}

    def fetch(self, attempt_reference: str) -> FetchResult:
        """Ask how a Checkout Session stands, or a PaymentIntent, or an Invoice of a subscription.

        Raises ProviderUnavailable or ProviderRejected.
        """
        with _translated("fetch"):
            if attempt_reference.startswith("pi_"):
                intent = self._client.v1.payment_intents.retrieve(attempt_reference, {"expand": ["latest_charge"]})
                return intent_state(_fields(intent))
            if attempt_reference.startswith("in_"):
                invoice = self._client.v1.invoices.retrieve(attempt_reference, {"expand": list(PAYMENTS)})
                return invoice_state(_fields(invoice))
            return session_state(self._session(attempt_reference))

    def fetch_subscription(self, reference: str) -> FetchResult:
        """Ask how a subscription stands. Raises ProviderUnavailable or ProviderRejected."""
        expand = ["latest_invoice", *(f"latest_invoice.{name}" for name in PAYMENTS)]
        with _translated("fetch"):
            return subscription_state(_fields(self._client.v1.subscriptions.retrieve(reference, {"expand": expand})))

    def cancel_subscription(self, reference: str) -> None:
        """End a subscription now, without a credit for the rest of the month.

        Raises ProviderUnavailable or ProviderRejected.
        """
        try:
            with _translated("cancel"):
                self._client.v1.subscriptions.cancel(reference)
        except ProviderRejected as refusal:
            # One that was cancelled before is unknown to this call, and not to the other.
            if refusal.reason != "resource_missing" or self.fetch_subscription(reference).outcome is not ENDED:
                raise

    def refund(self, request: RefundRequest) -> RefundResult:
        """Refund a PaymentIntent, in whole or in part. Raises ProviderUnavailable or ProviderRejected."""
        params: RefundCreateParams = {"payment_intent": request.payment_reference}
        if request.amount is not None:
            params["amount"] = _to_stripe_amount(request.amount)
        metadata = {REFUND_KEY: request.idempotency_key}
        if request.reason in _REFUND_REASONS:
            params["reason"] = request.reason
        elif request.reason:
            metadata["reason"] = request.reason[:_LONGEST_METADATA_VALUE]
        # Comes back in the refund's webhooks, also when the answer to this call was lost.
        params["metadata"] = metadata
        with _translated("refund"):
            refund = _fields(self._client.v1.refunds.create(params, {"idempotency_key": request.idempotency_key}))
            # A status Stripe adds later is not an answer yet; its webhook will be.
            status = _REFUND_STATUSES.get(refund.optional_text("status"), "pending")
            return RefundResult(reference=refund.text("id"), status=status)

    def expire(self, attempt_reference: str) -> None:
        """Close the Checkout Session. Raises ProviderUnavailable, or ProviderRejected when it was completed."""
        try:
            with _translated("expire"):
                self._client.v1.checkout.sessions.expire(attempt_reference)
        except ProviderRejected:
            # Stripe refuses anything that is not open and gives no code for it, so ask which it is.
            with _translated("expire"):
                status = self._session(attempt_reference).optional_text("status")
            if status == "complete":
                raise _rejected("already_completed") from None
            if status != "expired":
                raise

    def recover_events(self, since: datetime) -> Iterator[RecoveredEvent]:
        """The events Stripe could not deliver, oldest first; it keeps them for 30 days.

        Raises ProviderUnavailable or ProviderRejected.
        """
        with _translated("recover"):
            listed = self._client.v1.events.list(
                {
                    "types": list(EVENT_TYPES),
                    "delivery_success": False,
                    "created": {"gte": int(since.timestamp())},
                    "limit": 100,
                }
            )
            found = [event.to_dict() for event in islice(listed.auto_paging_iter(), _MOST_RECOVERED)]
        if len(found) == _MOST_RECOVERED:
            log.warning("stripe.too_many_undelivered_events", taken=_MOST_RECOVERED)
        for values in reversed(found):  # Stripe lists the newest first.
            body = json.dumps(values).encode()
            try:
                yield RecoveredEvent(body, parse_event(body))
            except InvalidPayload as error:
                log.error("stripe.unreadable_event", id=values.get("id"), reason=error.reason)

    def _session(self, reference: str) -> Fields:
        return _fields(
            self._client.v1.checkout.sessions.retrieve(
                reference,
                {"expand": ["payment_intent.latest_charge", "invoice", *(f"invoice.{name}" for name in PAYMENTS)]},
            )
        )

    def _session_params(self, request: StartRequest) -> "SessionCreateParams":
        marks = {SESSION_KEY: request.session_id, ATTEMPT_KEY: str(request.attempt)}
        price: SessionCreateParamsLineItemPriceData = {
            "currency": request.amount.currency.lower(),
            "unit_amount": _to_stripe_amount(request.amount),
            "product_data": {"name": request.description[:_LONGEST_DESCRIPTION]},
        }
        params: SessionCreateParams = {
            "mode": "payment",
            "line_items": [{"price_data": price, "quantity": 1}],
            # Nobody is charged in another currency than the one on our page and our invoice.
            "adaptive_pricing": {"enabled": False},
            "success_url": request.success_url,
            "cancel_url": request.cancel_url,
            "client_reference_id": request.session_id,
            "metadata": {**_storable(request.metadata), **marks},
        }
        if request.every_months is None:
            params["payment_intent_data"] = {
                "description": request.description[:_LONGEST_DESCRIPTION],
                "metadata": marks,
            }
        else:
            params["mode"] = "subscription"
            price["recurring"] = {"interval": "month", "interval_count": request.every_months}
            # Comes back in each of the subscription's invoices.
            params["subscription_data"] = {"metadata": marks}
        if request.customer_email:
            params["customer_email"] = request.customer_email
        if request.locale in _LOCALES:
            params["locale"] = request.locale
        return params


def _to_stripe_amount(amount: Money) -> int:
    """The amount as Stripe counts it. Raises ProviderRejected when Stripe cannot take it exactly."""
    if amount.amount_minor <= 0:
        raise ValueError("nothing to pay: Stripe would complete such a session without any payment")
    ours, theirs = digits(amount.currency), stripe_digits(amount.currency)
    minor, rest = divmod(amount.amount_minor * power_of_ten(theirs - ours), power_of_ten(ours - theirs))
    # In currencies of three decimal places the last must be zero.
    is_inexact = rest or (theirs == _THREE_DIGITS and minor % 10)
    if is_inexact or amount.currency in UNSUPPORTED_CURRENCIES:
        raise _rejected("currency_not_supported")
    return minor


def _storable(metadata: Mapping[str, str]) -> dict[str, str]:
    """What Stripe can keep of a merchant's metadata, there for people reading its dashboard; we never read it back."""
    kept = {
        key: value[:_LONGEST_METADATA_VALUE]
        for key, value in metadata.items()
        if 0 < len(key) <= _LONGEST_METADATA_KEY and not set(key) & set("[]") and value
    }
    return dict(islice(kept.items(), _MOST_METADATA))


def _fields(answer: Any) -> Fields:
    """The SDK's object as plain values: a StripeObject is no mapping, and what is no object at all has no to_dict()."""
    if not isinstance(answer, stripe.StripeObject):
        raise InvalidPayload("Stripe's answer is not an object")
    return Fields(answer.to_dict())


def _rejected(reason: str | None, *, detail: str | None = None) -> ProviderRejected:
    return ProviderRejected(_SENTENCES.get(reason or ""), reason=reason, detail=detail)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Everything Stripe and its SDK can raise ends here, as ProviderUnavailable or ProviderRejected."""
    try:
        yield
    except stripe.StripeError as error:
        raise _translate(action, error) from error
    except (InvalidPayload, AttributeError, KeyError, TypeError, ValueError) as error:
        # Half an answer, a proxy's page, another shape than the pinned version's: the SDK trips over some of these
        # itself. What happened at Stripe is unknown.
        log.warning("stripe.garbled_answer", action=action, error=repr(error)[:200])
        raise ProviderUnavailable(detail=f"{action}: garbled answer") from error


def _translate(action: str, error: stripe.StripeError) -> ProviderUnavailable | ProviderRejected:
    code = error.error.code if error.error is not None and "code" in error.error else error.code
    parameter = getattr(error, "param", None)
    detail = f"{action}: {type(error).__name__} {error.http_status} {code} {parameter} {error.request_id}"
    log.warning("stripe.refused", action=action, error=detail, message=(error.user_message or "")[:300])
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return _rejected("not_configured", detail=detail)
    if isinstance(error, stripe.IdempotencyError):
        return ProviderRejected(reason="idempotency_conflict", detail=detail)
    if isinstance(error, stripe.InvalidRequestError | stripe.CardError):
        # Two refusals that Stripe gives no code.
        named = {"refund amount": "refund_too_large", "start expires_at": "closing_time_refused"}
        return _rejected(named.get(f"{action} {parameter}", code), detail=detail)
    is_answered = error.error is not None and (error.http_status or 0) >= _SERVER_ERROR
    return ProviderUnavailable(is_answered=is_answered, detail=detail)
