"""PayU's notifications: who signed them, and what they mean for us.

The signature is a plain hash of the body followed by the "second key", by default MD5, and nothing in it says when it
was made. So a notification about an order is never believed: it is a hint to ask for the order itself, and whatever
PayU then says about it is read by `order_fact`. See https://developers.payu.com/europe/docs/webhooks/.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import md5, sha256, sha384, sha512

import structlog

from portal.core.money import Money, digits
from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    ParsedWebhook,
    SignatureProblem,
)
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.signing import any_matches, read_header

log = structlog.get_logger(__name__)

# PayU sends both, with the same value.
SIGNATURE_HEADERS = ("OpenPayu-Signature", "X-OpenPayU-Signature")
# PayU writes amounts in hundredths, whatever the currency.
_PAYU_DIGITS = 2
ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_AMOUNT = re.compile(r"[0-9]{1,15}")
_FIELD_NAME = re.compile(r"[a-z]{1,32}")
_LONGEST_STATUS = 32
_LONGEST_EXTERNAL_ID = 1_024
# Our payment session's uuid, with the attempt's number from the second on. Whatever else shares the point of sale
# names its orders differently.
_OUR_ORDER = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:-([1-9][0-9]{0,5}))?")


def _md5(data: bytes) -> str:
    # PayU's choice; it is why nothing a notification says is believed.
    return md5(data, usedforsecurity=False).hexdigest()


_HASHES: Mapping[str, Callable[[bytes], str]] = {
    "MD5": _md5,
    "SHA": lambda data: sha256(data).hexdigest(),
    "SHA-256": lambda data: sha256(data).hexdigest(),
    "SHA256": lambda data: sha256(data).hexdigest(),
    "SHA-384": lambda data: sha384(data).hexdigest(),
    "SHA384": lambda data: sha384(data).hexdigest(),
    "SHA-512": lambda data: sha512(data).hexdigest(),
    "SHA512": lambda data: sha512(data).hexdigest(),
}
# How an order stands. Anything that is not here is new to us: it is pending, and the log says so.
_ORDER_OUTCOMES = {
    "NEW": Outcome.PENDING,
    "PENDING": Outcome.PENDING,
    "WAITING_FOR_CONFIRMATION": Outcome.PENDING,
    "COMPLETED": Outcome.PAID,
    "CANCELED": Outcome.FAILED,
}
_REFUND_OUTCOMES = {
    "PENDING": Outcome.IGNORED,
    "FINALIZED": Outcome.REFUNDED,
    "CANCELED": Outcome.REFUND_FAILED,
}
_REFUND_FACTS = {Outcome.REFUNDED: "succeeded", Outcome.REFUND_FAILED: "failed"}


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> None:
    """Check the signature over the raw bytes. Raises InvalidSignature."""
    given = _header_fields(_signature_header(headers))
    signature, algorithm = given.get("signature", ""), given.get("algorithm", "")
    digest = _HASHES.get(algorithm.upper())
    if digest is None:
        raise InvalidSignature(SignatureProblem.MALFORMED_HEADER)
    if not any_matches([signature], [digest(body + secret.encode()) for secret in secrets]):
        raise InvalidSignature(SignatureProblem.NO_MATCH)


def _signature_header(headers: Mapping[str, str]) -> str:
    try:
        return read_header(headers, SIGNATURE_HEADERS[0])
    except InvalidSignature as error:
        if error.reason is not SignatureProblem.MISSING_HEADER:
            raise
    return read_header(headers, SIGNATURE_HEADERS[1])


def _header_fields(header: str) -> dict[str, str]:
    """`sender=checkout;signature=…;algorithm=MD5;content=DOCUMENT`, in any order; no field twice."""
    fields: dict[str, str] = {}
    for part in header.split(";"):
        if not part.strip():
            continue
        name, _, value = part.partition("=")
        name = name.strip().lower()
        if not _FIELD_NAME.fullmatch(name) or name in fields:
            raise InvalidSignature(SignatureProblem.MALFORMED_HEADER)
        fields[name] = value.strip()
    return fields


def external_order_id(session_id: str, attempt: int) -> str:
    """What PayU knows an attempt by: it takes each name once, and so no attempt gets two orders."""
    return session_id if attempt == 1 else f"{session_id}-{attempt}"


def parse_notification(body: bytes, *, pos_id: str, is_test: bool) -> ParsedWebhook:
    """Say what a verified notification is about. Raises InvalidPayload."""
    values = parse_object(body)
    notification = Fields(values)
    refund = notification.optional_fields("refund")
    if refund is not None:
        return _refund(notification, refund, is_test=is_test)
    order = notification.optional_fields("order")
    if order is not None:
        return _order(order, pos_id=pos_id, is_test=is_test)
    if not any(isinstance(value, dict) for value in values.values()):
        raise InvalidPayload("not a PayU notification")
    # Payouts, tokens and whatever comes next: kept, and of no consequence.
    kind = next(name for name, value in values.items() if isinstance(value, dict))
    return ParsedWebhook(f"{kind[:64]}:{sha256(body).hexdigest()}", f"{kind[:64]}", ())


def _order(order: Fields, *, pos_id: str, is_test: bool) -> ParsedWebhook:
    order_id = read_order_id(order)
    status = order.text("status", longest=_LONGEST_STATUS)
    session_id, attempt = _our_session(order)
    outcome, detail = Outcome.HINT, status
    other = order.optional_text("merchantPosId")
    if other is not None and other != pos_id:
        outcome, detail = Outcome.IGNORED, f"of another point of sale, {other[:20]}"
    hint = NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        attempt_reference=order_id,
        is_test=is_test,
        detail=detail,
        attempt=attempt,
    )
    return ParsedWebhook(f"{order_id}:{status}", f"order.{status}", (hint,))


def _refund(notification: Fields, refund: Fields, *, is_test: bool) -> ParsedWebhook:
    """A refund, made by us or in PayU's panel."""
    refund_id = refund.text("refundId", longest=64)
    status = refund.text("status", longest=_LONGEST_STATUS)
    outcome = _REFUND_OUTCOMES.get(status)
    if outcome is None:
        log.warning("payu.unknown_refund_status", status=status, refund=refund_id)
        outcome = Outcome.IGNORED
    session_id, attempt = _our_session(notification)
    amount = read_amount(refund, "amount")
    fact_name = _REFUND_FACTS.get(outcome)
    fact = NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        payment_reference=read_order_id(notification),
        business_key=f"payu:{refund_id}:{fact_name}" if fact_name else None,
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        is_test=is_test,
        occurred_at=_time(refund, "statusDateTime"),
        detail=refund.optional_text("reasonDescription", longest=4_000) or status,
        attempt=attempt,
    )
    return ParsedWebhook(f"{refund_id}:{status}", f"refund.{status}", (fact,))


def order_fact(order: Fields, *, is_test: bool) -> tuple[str, Outcome, NormalisedEvent | None]:
    """What PayU's API says about an order: its status, what that means, and the fact if there is one.

    Raises InvalidPayload. The time of the payment is missing, because PayU does not tell it here.
    """
    order_id = read_order_id(order)
    status = order.text("status", longest=_LONGEST_STATUS)
    outcome = _ORDER_OUTCOMES.get(status)
    if outcome is None:
        log.error("payu.unknown_order_status", status=status, order=order_id)
        outcome = Outcome.PENDING
    elif status == "WAITING_FOR_CONFIRMATION":
        log.error("payu.auto_receive_is_off", order=order_id)
    if status == "NEW":
        return status, outcome, None
    session_id, attempt = _our_session(order)
    amount = read_amount(order, "totalAmount")
    fact = NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        attempt_reference=order_id,
        payment_reference=order_id if outcome is Outcome.PAID else None,
        business_key=f"payu:{order_id}:{outcome}",
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        is_test=is_test,
        detail=status,
        attempt=attempt,
    )
    return status, outcome, fact


def read_order_id(thing: Fields) -> str:
    """PayU's id of an order, which we put into addresses. Raises InvalidPayload."""
    order_id = thing.text("orderId", longest=64)
    if not ORDER_ID.fullmatch(order_id):
        raise InvalidPayload("orderId is not an order's id")
    return order_id


def read_amount(thing: Fields, key: str) -> Money:
    """An amount in hundredths with its currency, in our minor units. Raises InvalidPayload."""
    currency = thing.text("currencyCode", longest=3).upper()
    try:
        text = thing.text(key)
    except InvalidPayload:
        text = str(thing.whole(key))
    if not _AMOUNT.fullmatch(text):
        raise InvalidPayload(f"{key} is not an amount")
    minor, rest = _scaled(int(text), digits(currency) - _PAYU_DIGITS)
    if rest:
        # Cutting it off could make a wrong amount look right.
        raise InvalidPayload(f"{key} is not an amount in {currency}")
    try:
        return Money(minor, currency)
    except ValueError:
        raise InvalidPayload("currencyCode is not a currency") from None


def payu_amount(amount: Money) -> str | None:
    """The amount as PayU writes it; None when it cannot be written exactly."""
    hundredths, rest = _scaled(amount.amount_minor, _PAYU_DIGITS - digits(amount.currency))
    return None if rest else str(hundredths)


def _scaled(number: int, exponent: int) -> tuple[int, int]:
    """The number times ten to the exponent, and what is left over by a negative one."""
    if exponent >= 0:
        return int(number * 10**exponent), 0
    return divmod(number, int(10**-exponent))


def _our_session(thing: Fields) -> tuple[str | None, int | None]:
    """Our payment session and its attempt, from the name that we gave the order."""
    external = thing.optional_text("extOrderId", longest=_LONGEST_EXTERNAL_ID)
    found = _OUR_ORDER.fullmatch(external) if external else None
    if found is None:
        return None, None
    return found[1], int(found[2] or 1)


def _time(thing: Fields, key: str) -> datetime | None:
    """An instant in ISO 8601 with its offset; None when it is absent or unreadable, for it decides nothing."""
    text = thing.optional_text(key)
    try:
        at = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
