"""BTCPay Server's webhooks: who signed them, and what each means for us.

No time is signed, so an old delivery can be sent again by whoever recorded it; therefore a message is at most a hint,
and what it says about money is read from the server. See https://docs.btcpayserver.org/API/Greenfield/v1/.
"""

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256

from portal.payments.providers.base import (
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    ParsedWebhook,
    SignatureProblem,
)
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.signing import any_matches, read_header

SIGNATURE_HEADER = "BTCPay-Sig"
# Our payment session's uuid and the attempt's number, in the metadata of every invoice we make.
SESSION_KEY = "sessionId"
ATTEMPT_KEY = "attempt"
_LONGEST_SESSION_ID = 64
_ATTEMPT = re.compile(r"[0-9]{1,6}")
_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")


def sign(body: bytes, secret: str) -> str:
    """The header's value for a body."""
    return "sha256=" + hmac.new(secret.encode(), body, sha256).hexdigest()


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> None:
    """Check the signature over the raw bytes. Raises InvalidSignature."""
    given = read_header(headers, SIGNATURE_HEADER).strip()
    if not _SIGNATURE.fullmatch(given):
        raise InvalidSignature(SignatureProblem.MALFORMED_HEADER)
    if not any_matches([given], [sign(body, secret) for secret in secrets]):
        raise InvalidSignature(SignatureProblem.NO_MATCH)


def parse_event(body: bytes, *, store_id: str) -> ParsedWebhook:
    """What a verified delivery means. Raises InvalidPayload.

    A repeated delivery has an id of its own and names the first one, which is the event's key.
    """
    event = Fields(parse_object(body))
    event_type = event.text("type")
    delivery = event.optional_text("originalDeliveryId") or event.text("deliveryId")
    if event.optional_text("storeId") not in (None, store_id):
        fact = NormalisedEvent(Outcome.IGNORED, detail="about another store")
    else:
        fact = _MEANINGS.get(event_type, _unused)(event)
    return ParsedWebhook(delivery_key=delivery, event_type=event_type, events=(fact,))


def names_of(invoice: Fields) -> tuple[str | None, int | None]:
    """Our session and attempt, as the metadata of an invoice has them; None for what we did not write."""
    metadata = invoice.optional_fields("metadata")
    if metadata is None:
        return None, None
    session_id = metadata.optional_text(SESSION_KEY)
    attempt = metadata.optional_text(ATTEMPT_KEY)
    return (
        session_id if session_id and len(session_id) <= _LONGEST_SESSION_ID else None,
        int(attempt) if attempt and _ATTEMPT.fullmatch(attempt) else None,
    )


def _about_invoice(event: Fields, outcome: Outcome) -> NormalisedEvent:
    session_id, attempt = names_of(event)
    return NormalisedEvent(
        outcome=outcome,
        session_id=session_id,
        attempt_reference=event.text("invoiceId"),
        attempt=attempt,
        detail=event.text("type"),
    )


def _hint(event: Fields) -> NormalisedEvent:
    return _about_invoice(event, Outcome.HINT)


def _pending(event: Fields) -> NormalisedEvent:
    # Money for an invoice that is over will never make it "processing": only asking tells what came.
    is_late = event.optional_flag("afterExpiration")
    return _about_invoice(event, Outcome.HINT if is_late else Outcome.PENDING)


def _unused(event: Fields) -> NormalisedEvent:
    # PayoutUpdated too: it names neither the payment nor how much of the refund is done, so refunds are asked about.
    return NormalisedEvent(Outcome.IGNORED, detail=f"{event.text('type')} is not used")


_MEANINGS: Mapping[str, Callable[[Fields], NormalisedEvent]] = {
    "InvoiceReceivedPayment": _pending,
    "InvoiceProcessing": _pending,
    "InvoicePaymentSettled": _hint,
    "InvoiceSettled": _hint,
    "InvoiceExpired": _hint,
    "InvoiceInvalid": _hint,
    "InvoiceExpiredPaidPartial": _hint,
    "InvoicePaidAfterExpiration": _hint,
}
# What the webhook in the store's settings must send.
EVENT_TYPES = tuple(_MEANINGS)
