"""Standard Webhooks, the scheme that several senders share: HMAC-SHA256 in base64 over `<id>.<timestamp>.<body>`.

See https://www.standardwebhooks.com. Svix, from which it grew, calls the same headers `svix-id` and so on: `prefix`.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256

from portal.payments.providers.base import InvalidSignature, SignatureProblem
from portal.payments.providers.signing import any_matches, check_time, read_header

SECRET_PREFIX = "whsec_"  # noqa: S105  # what every secret begins with
_SHORTEST_KEY = 16
# The id is signed together with what follows it, so it must not be able to hold a dot.
_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TIME = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]{43}=")


def key_of(secret: str) -> bytes:
    """The key inside a `whsec_` secret. Raises ValueError when it is not one, or too short to protect anything."""
    encoded = secret.strip().removeprefix(SECRET_PREFIX)
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a webhook secret is not whsec_ followed by base64") from None
    if len(key) < _SHORTEST_KEY:
        raise ValueError("a webhook secret is too short")
    return key


def secret_from(key: bytes) -> str:
    """A key as the secret that people copy."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def sign(webhook_id: str, body: bytes, key: bytes, *, at: datetime, prefix: str = "webhook") -> dict[str, str]:
    """The headers of one delivery; a retry is signed anew, with its own time."""
    timestamp = str(int(at.timestamp()))
    return {
        f"{prefix}-id": webhook_id,
        f"{prefix}-timestamp": timestamp,
        f"{prefix}-signature": _signature(webhook_id, timestamp, body, key),
    }


def verify(
    headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], *, at: datetime, prefix: str = "webhook"
) -> str:
    """Check a delivery over its raw bytes and return its id. Raises InvalidSignature."""
    webhook_id = read_header(headers, f"{prefix}-id")
    timestamp = read_header(headers, f"{prefix}-timestamp")
    given = [part for part in read_header(headers, f"{prefix}-signature").split(" ") if _SIGNATURE.fullmatch(part)]
    if not _ID.fullmatch(webhook_id) or not _TIME.fullmatch(timestamp):
        raise InvalidSignature(SignatureProblem.MALFORMED_HEADER)
    if not any_matches(given, [_signature(webhook_id, timestamp, body, key) for key in keys]):
        raise InvalidSignature(SignatureProblem.NO_MATCH)
    check_time(int(timestamp), at)
    return webhook_id


def _signature(webhook_id: str, timestamp: str, body: bytes, key: bytes) -> str:
    message = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, message, sha256).digest()).decode()
