"""EasyPost: many carriers behind one API, through the official SDK.

Webhooks and words are read in `easypost_words.py`. Its objects name their label once: a shipment that was bought cannot
be bought again, which is what makes a repeated `buy` safe (https://docs.easypost.com/docs/shipments).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import ROUND_UP, Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

import easypost
import httpx
import structlog
from easypost.errors import (
    ApiError,
    EasyPostError,
    ForbiddenError,
    HttpError,
    InternalServerError,
    JsonError,
    PaymentError,
    RateLimitError,
    RedirectError,
    ServiceUnavailableError,
    UnauthorizedError,
)
from easypost.errors import TimeoutError as EasyPostTimeout
from flask_babel import lazy_gettext as _l

from portal.core.money import Money, digits, is_currency
from portal.payments.providers.base import PLACEHOLDER, InvalidPayload, ParsedWebhook
from portal.payments.providers.payloads import Fields
from portal.payments.providers.signing import usable_secrets
from portal.production.shipping.carriers import easypost_words as words
from portal.production.shipping.carriers.base import (
    Address,
    CarrierRefused,
    CarrierUnavailable,
    Customs,
    Label,
    Offer,
    Parcel,
    Rate,
    RefundAnswer,
    Track,
)

log = structlog.get_logger(__name__)

# Buying waits for the carrier behind EasyPost, which takes its time.
CONNECT_SECONDS, READ_SECONDS = 3.0, 25.0
LARGEST_LABEL = 5 * 1024 * 1024
_MILLIMETRES_PER_INCH = Decimal("25.4")
_ONE_DECIMAL = Decimal("0.1")
_LONGEST_URL, _LONGEST_REMARK, _MOST_REMARKS, _MOST_RATES, _LONGEST_DAYS = 2048, 200, 5, 60, 365
_SERVER_ERROR = 500
# Where EasyPost keeps labels: its own hosts and its stores at Amazon. Nothing else is fetched, whatever an answer says.
_LABEL_HOST = re.compile(
    r"([a-z0-9-]+\.)*easypost\.com|easypost-files(-[a-z0-9]+)*\.s3([.-][a-z0-9-]+)*\.amazonaws\.com"
)
_BOUGHT_BEFORE = "SHIPMENT.POSTAGE.EXISTS"
_REFUNDS: Mapping[str, RefundAnswer] = {
    "submitted": RefundAnswer.SUBMITTED,
    "refunded": RefundAnswer.REFUNDED,
    "rejected": RefundAnswer.REJECTED,
    # The carrier bills by the first scan: a label that is never used costs nothing.
    "not_applicable": RefundAnswer.REFUNDED,
}
_SENTENCES = {
    "address": _l("The carrier does not accept an address of this parcel."),
    "not_configured": _l("Our account at the carrier does not let us do this. Check its key and its balance."),
    "not_paid": _l("Our account at the carrier has no money or no payment method."),
    "label_address": _l("The carrier's answer names a label that is not kept by the carrier."),
}


class EasyPostCarrier:
    """Prices, labels and tracking by EasyPost. Safe to share between threads."""

    name = "easypost"
    title = "EasyPost"

    def __init__(
        self,
        *,
        api_key: str,
        webhook_secrets: Sequence[str],
        api_base: str | None = None,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        """`webhook_secrets` are all in use, so that one can be rolled without a gap. Raises ValueError for blanks."""
        if not api_key.strip():
            raise ValueError("the EasyPost key is blank")
        self.is_test = not api_key.startswith("EZAK")
        self._secrets = usable_secrets(webhook_secrets)
        self._timeout = timeout
        # The SDK hands its time-out to requests, which takes the two numbers apart.
        options: dict[str, Any] = {"timeout": timeout}
        if api_base:
            options["api_base"] = api_base.rstrip("/")
        self._client = easypost.EasyPostClient(api_key, **options)
        # Our key goes to one server and no further.
        self._client._requests_session.max_redirects = 0  # noqa: SLF001  # the SDK has no setting for it
        self._own_host = urlsplit(api_base).netloc if api_base else None

    def offer(
        self, parcel: Parcel, origin: Address, destination: Address, *, reference: str, customs: Customs | None
    ) -> Offer:
        """Make a shipment at EasyPost, which comes with prices. Raises CarrierUnavailable or CarrierRefused."""
        with _translated("offer"):
            shipment = _fields(
                self._client.shipment.create(
                    reference=reference,
                    from_address=_address(origin),
                    to_address=_address(destination),
                    parcel=_parcel(parcel),
                    options={"label_format": "PDF"},
                    **({"customs_info": words.customs_info(customs)} if customs is not None else {}),
                )
            )
            rates = [rate for rate in map(_rate, shipment.items("rates")[:_MOST_RATES]) if rate is not None]
            return Offer(
                reference=shipment.text("id"),
                rates=tuple(sorted(rates, key=lambda rate: (rate.cost.currency, rate.cost.amount_minor))),
                remarks=_remarks(shipment),
            )

    def buy(self, reference: str, rate: str) -> Label:
        """Buy a shipment's label, once for ever. Raises CarrierUnavailable or CarrierRefused."""
        try:
            with _translated("buy"):
                shipment = _fields(self._client.shipment.buy(reference, rate={"id": rate}))
                label = _label(shipment)
        except CarrierRefused as refusal:
            if refusal.reason != _BOUGHT_BEFORE:
                raise
            label = self.find_label(reference)
        if label is None:
            # An answer without a label is not a no: the next look at the shipment tells.
            raise CarrierUnavailable(detail="buy: the answer has no label")
        return label

    def find_label(self, reference: str) -> Label | None:
        """Look whether a shipment was bought. Raises CarrierUnavailable or CarrierRefused."""
        with _translated("find_label"):
            return _label(_fields(self._client.shipment.retrieve(reference)))

    def fetch_label(self, url: str) -> bytes:
        """Download a label. Raises CarrierUnavailable or CarrierRefused."""
        if not self._is_theirs(url):
            raise CarrierRefused(_SENTENCES["label_address"], reason="label_address", detail=url[:200])
        connect, read = self._timeout
        taken = bytearray()
        try:
            with httpx.stream("GET", url, timeout=httpx.Timeout(read, connect=connect)) as response:
                if response.status_code != httpx.codes.OK:
                    raise CarrierUnavailable(detail=f"label: HTTP {response.status_code}")
                for chunk in response.iter_bytes():
                    taken += chunk
                    if len(taken) > LARGEST_LABEL:
                        raise CarrierUnavailable(detail="label: too large")
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise CarrierUnavailable(detail=f"label: {type(error).__name__}") from error
        if not taken.startswith(b"%PDF-"):
            raise CarrierUnavailable(detail="label: not a PDF")
        return bytes(taken)

    def refund(self, reference: str) -> RefundAnswer:
        """Ask for a label's money back. Raises CarrierUnavailable or CarrierRefused."""
        with _translated("refund"):
            answer = _refund(_fields(self._client.shipment.refund(reference)))
        if answer is None:
            raise CarrierUnavailable(detail="refund: the answer has no status")
        return answer

    def find_refund(self, reference: str) -> RefundAnswer | None:
        """Look how a refund stands. Raises CarrierUnavailable or CarrierRefused."""
        with _translated("find_refund"):
            return _refund(_fields(self._client.shipment.retrieve(reference)))

    def track(self, tracker_reference: str) -> tuple[Track, bytes]:
        """Ask for a tracker. Raises CarrierUnavailable or CarrierRefused."""
        with _translated("track"):
            values = self._client.tracker.retrieve(tracker_reference).to_dict()
            body = json.dumps(values).encode()
            track = words.read_track(body)
        if track is None:
            raise CarrierUnavailable(detail="track: the answer is no tracker")
        return track, body

    def parse_webhook(self, headers: Mapping[str, str], body: bytes, *, at: datetime) -> ParsedWebhook:
        """Verify and read a delivery. Raises InvalidSignature or InvalidPayload."""
        words.verify(headers, body, self._secrets, at=at)
        return words.parse_event(body)

    def reread(self, body: bytes, *, delivery_key: str) -> ParsedWebhook:  # noqa: ARG002  # the body names itself
        """Read a delivery without asking who sent it. Raises InvalidPayload."""
        return words.parse_event(body)

    def sample_headers(self, body: bytes, *, delivery_key: str, at: datetime) -> Mapping[str, str]:  # noqa: ARG002  # nothing in them depends on these
        """The header's shape with a placeholder."""
        return {"Content-Type": "application/json", words.SIGNATURE_HEADER: f"hmac-sha256-hex={PLACEHOLDER}"}

    def read_track(self, body: bytes) -> Track | None:
        """What a kept body says about a parcel. Raises InvalidPayload."""
        return words.read_track(body)

    def _is_theirs(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            host, netloc = parts.hostname or "", parts.netloc
        except ValueError:
            return False
        if parts.scheme == "https" and parts.username is None and _LABEL_HOST.fullmatch(host):
            return True
        # Where the settings name another API, its own host may keep the labels.
        return self._own_host is not None and netloc == self._own_host and parts.scheme in ("http", "https")


def _address(address: Address) -> dict[str, str]:
    values = {
        "name": address.name,
        "company": address.company,
        "street1": address.line1,
        "street2": address.line2,
        "city": address.city,
        "state": address.state,
        "zip": address.zip,
        "country": address.country,
        "phone": address.phone,
        "email": address.email,
    }
    return {name: text for name, text in values.items() if text}


def _parcel(parcel: Parcel) -> dict[str, float]:
    """In ounces and inches, rounded up to a tenth: whoever declares too little is charged extra."""
    return {
        "weight": _round_up(Decimal(parcel.grams) / words.GRAMS_PER_OUNCE),
        "length": _round_up(Decimal(parcel.length_mm) / _MILLIMETRES_PER_INCH),
        "width": _round_up(Decimal(parcel.width_mm) / _MILLIMETRES_PER_INCH),
        "height": _round_up(Decimal(parcel.height_mm) / _MILLIMETRES_PER_INCH),
    }


def _round_up(value: Decimal) -> float:
    return float(value.quantize(_ONE_DECIMAL, rounding=ROUND_UP))


def _rate(rate: Fields) -> Rate | None:
    cost = _cost(rate)
    if cost is None:
        return None
    days = rate.optional_whole("delivery_days")
    return Rate(
        reference=rate.text("id", longest=64),
        carrier=rate.text("carrier", longest=64),
        service=rate.text("service", longest=64),
        cost=cost,
        days=days if days is not None and 0 <= days <= _LONGEST_DAYS else None,
    )


def _cost(rate: Fields) -> Money | None:
    """A price, rounded up to the minor unit: some carriers quote fractions of a cent. None when it is no price."""
    text, currency = rate.optional_text("rate", longest=20), rate.optional_text("currency", longest=8) or ""
    if text is None or not is_currency(currency):
        return None
    try:
        minor = Decimal(text).scaleb(digits(currency)).to_integral_value(rounding=ROUND_UP)
        return Money(int(minor), currency) if minor >= 0 else None
    except (InvalidOperation, ValueError, OverflowError):
        return None


def _remarks(shipment: Fields) -> tuple[str, ...]:
    """Why carriers offer nothing: EasyPost puts their complaints beside the prices."""
    try:
        messages = shipment.items("messages")
    except InvalidPayload:
        return ()
    said = (
        ": ".join(filter(None, (one.optional_text("carrier"), one.optional_text("message", longest=2_000))))
        for one in messages[:_MOST_REMARKS]
    )
    return tuple(remark[:_LONGEST_REMARK] for remark in said if remark)


def _label(shipment: Fields) -> Label | None:
    postage = shipment.optional_fields("postage_label")
    number = shipment.optional_text("tracking_code", longest=64)
    if postage is None or not number:
        return None
    tracker, rate = shipment.optional_fields("tracker"), shipment.fields("selected_rate")
    url = postage.optional_text("label_pdf_url", longest=_LONGEST_URL)
    return Label(
        carrier=rate.text("carrier", longest=64),
        service=rate.text("service", longest=64),
        tracking_number=number,
        tracking_url=tracker.optional_text("public_url", longest=_LONGEST_URL) if tracker else None,
        tracker_reference=tracker.text("id", longest=64) if tracker else None,
        cost=_cost(rate),
        url=url or postage.text("label_url", longest=_LONGEST_URL),
    )


def _refund(shipment: Fields) -> RefundAnswer | None:
    return _REFUNDS.get(shipment.optional_text("refund_status", longest=32) or "")


def _fields(answer: Any) -> Fields:
    """The SDK's object as plain values."""
    values = answer.to_dict() if hasattr(answer, "to_dict") else None
    if not isinstance(values, dict):
        raise InvalidPayload("EasyPost's answer is not an object")
    return Fields(values)


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Everything EasyPost and its SDK can raise ends here, as CarrierUnavailable or CarrierRefused."""
    try:
        yield
    except EasyPostError as error:
        raise _translate(action, error) from error
    except (InvalidPayload, AttributeError, KeyError, TypeError, ValueError) as error:
        # Half an answer, or another shape than the pinned version's. What happened at EasyPost is unknown.
        log.warning("easypost.garbled_answer", action=action, error=repr(error)[:200])
        raise CarrierUnavailable(detail=f"{action}: garbled answer") from error


def _translate(action: str, error: EasyPostError) -> CarrierUnavailable | CarrierRefused:
    status = getattr(error, "http_status", None) or 0
    code = str(getattr(error, "code", None) or "")
    said = str(getattr(error, "message", error))[:300]
    detail = f"{action}: {type(error).__name__} {status} {code} {said}".strip()
    log.warning("easypost.refused", action=action, error=detail)
    if isinstance(error, UnauthorizedError | ForbiddenError):
        return CarrierRefused(_SENTENCES["not_configured"], reason="not_configured", said=said, detail=detail)
    if isinstance(error, PaymentError):
        return CarrierRefused(_SENTENCES["not_paid"], reason="not_paid", said=said, detail=detail)
    if isinstance(error, RateLimitError):
        return CarrierUnavailable(is_answered=True, said=said, detail=detail)
    silent = (EasyPostTimeout, HttpError, JsonError, InternalServerError, ServiceUnavailableError, RedirectError)
    if isinstance(error, silent) or not isinstance(error, ApiError) or status >= _SERVER_ERROR:
        return CarrierUnavailable(detail=detail)
    sentence = _SENTENCES["address"] if code.startswith("ADDRESS.") else None
    # Its messages are written for people who ship, and often name the field to mend.
    in_its_words = _l("The carrier refused this: %(reason)s", reason=said) if said else None
    return CarrierRefused(sentence or in_its_words, reason=code or None, said=said, detail=detail)
