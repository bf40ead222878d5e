"""EasyPost's words for parcels, and its webhooks: who signed them and what they say.

Everything that is not about a tracker is ignored on purpose. See https://docs.easypost.com/docs/trackers and
https://docs.easypost.com/guides/webhooks-guide.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_DOWN, Decimal
from email.utils import parsedate_to_datetime
from typing import Any

import structlog

from portal.payments.providers.base import (
    InvalidPayload,
    InvalidSignature,
    NormalisedEvent,
    Outcome,
    ParsedWebhook,
    SignatureProblem,
)
from portal.payments.providers.payloads import Fields, parse_object
from portal.payments.providers.signing import any_matches, check_time, read_header
from portal.production.shipping.carriers.base import Customs, ParcelState, Scan, Track

log = structlog.get_logger(__name__)

SIGNATURE_HEADER = "X-Hmac-Signature"
TIMED_SIGNATURE_HEADER, TIME_HEADER, PATH_HEADER = "X-Hmac-Signature-V2", "X-Timestamp", "X-Path"
_PREFIX = "hmac-sha256-hex="
_TRACKER_EVENTS = frozenset({"tracker.created", "tracker.updated"})
_LONGEST_MESSAGE, _LONGEST_PLACE, _LONGEST_URL, _LONGEST_TEXT = 255, 120, 2048, 2_000
_MOST_SCANS = 500
GRAMS_PER_OUNCE = Decimal("28.349523125")
_THOUSANDTH = Decimal("0.001")

STATES: Mapping[str, ParcelState] = {
    "unknown": ParcelState.UNKNOWN,
    "pre_transit": ParcelState.ANNOUNCED,
    "in_transit": ParcelState.MOVING,
    "out_for_delivery": ParcelState.OUT_FOR_DELIVERY,
    "available_for_pickup": ParcelState.AT_PICKUP_POINT,
    "delivered": ParcelState.DELIVERED,
    "return_to_sender": ParcelState.RETURNED,
    "failure": ParcelState.FAILED,
    "cancelled": ParcelState.CALLED_OFF,
    "error": ParcelState.TROUBLE,
}


def verify(headers: Mapping[str, str], body: bytes, secrets: Iterable[str], *, at: datetime) -> None:
    """Check the signature over the raw bytes. Raises InvalidSignature.

    There are two: `X-Hmac-Signature` over the body, which the SDK checks, and since 2025 one that also covers time,
    method and path. Either proves the sender. The time is held to only where it is signed; what has none may be
    replayed, and then finds its event in the inbox already.
    """
    keys = [unicodedata.normalize("NFKD", secret).encode() for secret in secrets]
    timed = _optional_header(headers, TIMED_SIGNATURE_HEADER)
    if timed is not None:
        stamp = read_header(headers, TIME_HEADER)
        prefix = f"{stamp}POST{_optional_header(headers, PATH_HEADER) or ''}".encode()
        if any_matches([timed], [_signature(key, prefix + body) for key in keys]):
            check_time(_seconds(stamp), at)
            return
    given = _optional_header(headers, SIGNATURE_HEADER) if timed is not None else read_header(headers, SIGNATURE_HEADER)
    if given is None or not any_matches([given], [_signature(key, body) for key in keys]):
        raise InvalidSignature(SignatureProblem.NO_MATCH)


def _optional_header(headers: Mapping[str, str], name: str) -> str | None:
    try:
        return read_header(headers, name)
    except InvalidSignature as error:
        if error.reason is SignatureProblem.MISSING_HEADER:
            return None
        raise


def _signature(key: bytes, message: bytes) -> str:
    return _PREFIX + hmac.new(key, message, hashlib.sha256).hexdigest()


def _seconds(stamp: str) -> int:
    try:
        moment = parsedate_to_datetime(stamp)
    except (ValueError, TypeError, OverflowError):
        raise InvalidSignature(SignatureProblem.MALFORMED_HEADER) from None
    # "-0000" says UTC without claiming a place, and is read without a zone.
    return int((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp())


def parse_event(body: bytes) -> ParsedWebhook:
    """Say what a verified event means. Raises InvalidPayload."""
    event = Fields(parse_object(body))
    if event.text("object") != "Event":
        raise InvalidPayload("not an EasyPost event")
    delivery_key, kind = event.text("id"), event.text("description", longest=128)
    if kind not in _TRACKER_EVENTS:
        return ParsedWebhook(delivery_key, kind, ())
    return ParsedWebhook(delivery_key, kind, (fact_of(read_tracker(event.fields("result"))),))


def fact_of(track: Track) -> NormalisedEvent:
    """What the inbox is told about a tracker; whoever applies it reads the body again."""
    newest = max((scan.happened_at for scan in track.scans), default=None)
    return NormalisedEvent(
        outcome=Outcome.NEWS,
        subject_reference=track.reference,
        is_test=track.is_test,
        occurred_at=newest,
        detail=track.word,
    )


def read_track(body: bytes) -> Track | None:
    """The tracker in a kept delivery or answer; None when it is about something else. Raises InvalidPayload."""
    thing = Fields(parse_object(body))
    if thing.text("object") == "Tracker":
        return read_tracker(thing)
    if thing.optional_text("description") not in _TRACKER_EVENTS:
        return None
    return read_tracker(thing.fields("result"))


def read_tracker(tracker: Fields) -> Track:
    """A tracker as EasyPost writes it. Raises InvalidPayload."""
    if tracker.text("object") != "Tracker":
        raise InvalidPayload("not a tracker")
    word = tracker.optional_text("status", longest=64) or "unknown"
    state = STATES.get(word)
    if state is None:
        log.error("easypost.unknown_status", status=word, tracker=tracker.optional_text("id"))
    scans = [_scan(detail) for detail in tracker.items("tracking_details")[-_MOST_SCANS:]]
    told = {scan.state for scan in scans}
    changed_at = _instant(tracker, "updated_at") or _instant(tracker, "created_at")
    if state not in (None, ParcelState.UNKNOWN) and state not in told and changed_at is not None:
        # Some carriers change the state without a scan that says so.
        scans.append(Scan(f"status:{word}", state or ParcelState.UNKNOWN, "", "", changed_at))
    mode = tracker.optional_text("mode")
    return Track(
        reference=tracker.text("id"),
        state=state or ParcelState.UNKNOWN,
        word=word,
        scans=tuple(scans),
        is_understood=state is not None,
        is_test=None if mode is None else mode == "test",
        tracking_url=tracker.optional_text("public_url", longest=_LONGEST_URL),
        expected_at=_instant(tracker, "est_delivery_date"),
    )


def _scan(detail: Fields) -> Scan:
    word = detail.optional_text("status", longest=64) or "unknown"
    message = (detail.optional_text("message", longest=_LONGEST_TEXT) or "")[:_LONGEST_MESSAGE]
    happened_at = _instant(detail, "datetime")
    if happened_at is None:
        raise InvalidPayload("a tracking detail has no time")
    where = detail.optional_fields("tracking_location")
    parts = [where.optional_text(name) if where else None for name in ("city", "state", "country")]
    place = ", ".join(part for part in parts if part)[:_LONGEST_PLACE]
    told = f"{happened_at.isoformat()}|{word}|{message}|{place}"
    return Scan(
        key=hashlib.sha256(told.encode()).hexdigest(),
        state=STATES.get(word, ParcelState.UNKNOWN),
        message=message,
        place=place,
        happened_at=happened_at,
    )


def _instant(fields: Fields, name: str) -> datetime | None:
    text = fields.optional_text(name, longest=64)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidPayload(f"{name} is not a time") from None


def customs_info(customs: Customs) -> dict[str, Any]:
    """A declaration, see https://docs.easypost.com/docs/customs-infos: value and weight are of a whole line."""
    signed = {"customs_certify": True, "customs_signer": customs.signer} if customs.signer else {}
    return {
        "contents_type": "merchandise",
        "contents_explanation": "3D-printed parts",
        "restriction_type": "none",
        "non_delivery_option": "return",
        **signed,
        "customs_items": [
            {
                "description": item.description,
                "quantity": item.quantity,
                "value": float(item.value.to_decimal()),
                "currency": item.value.currency,
                # Rounded down: the things in a parcel must not weigh more than the parcel.
                "weight": float((Decimal(item.grams) / GRAMS_PER_OUNCE).quantize(_THOUSANDTH, rounding=ROUND_DOWN)),
                "hs_tariff_number": item.tariff_number,
                "origin_country": item.origin_country,
            }
            for item in customs.items
        ],
    }
