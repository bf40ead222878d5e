"""What signed webhooks share: finding a header, and the window in which a signed time is believed."""

import hmac
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from portal.payments.providers.base import InvalidSignature, SignatureProblem

TOLERANCE = timedelta(seconds=300)
# Several signatures of a rotation take a few hundred characters; more is somebody playing.
MAX_HEADER = 4096


def read_header(headers: Mapping[str, str], name: str) -> str:
    """The header's text, whatever its case. Raises InvalidSignature when it is missing, too long or not ASCII."""
    value = headers.get(name)
    if value is None:
        wanted = name.lower()
        value = next((text for key, text in headers.items() if key.lower() == wanted), None)
    if value is None or not value.strip():
        raise InvalidSignature(SignatureProblem.MISSING_HEADER)
    if len(value) > MAX_HEADER or not value.isascii():
        raise InvalidSignature(SignatureProblem.MALFORMED_HEADER)
    return value


def check_time(signed_at: int, at: datetime) -> None:
    """Refuse a signed time more than 300 s from ours, either way; call it only when the signature is right.

    Raises InvalidSignature with the skew, which then says something true about somebody's clock.
    """
    age = timedelta(seconds=int(at.timestamp()) - signed_at)
    if age > TOLERANCE:
        raise InvalidSignature(SignatureProblem.TOO_OLD, skew=age)
    if age < -TOLERANCE:
        raise InvalidSignature(SignatureProblem.IN_FUTURE, skew=age)


def any_matches(given: Iterable[str], expected: Iterable[str]) -> bool:
    """Whether one of the given signatures is one of those expected; each comparison takes the same time."""
    wanted = [text.encode() for text in expected]
    found = False
    for text in given:
        candidate = text.encode()
        for right in wanted:
            found |= hmac.compare_digest(candidate, right)
    return found


def usable_secrets(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets in use, current first. Raises ValueError for none, or for a blank one: anyone could sign with it."""
    found = tuple(secrets)
    if not found or any(not secret.strip() for secret in found):
        raise ValueError("a webhook secret is missing or blank")
    return found
