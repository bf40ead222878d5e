"""Time-based one-time codes (RFC 6238: SHA-1, six digits, 30 seconds) and recovery codes. Nothing here is stored."""

import hashlib
import hmac
import re
import secrets
from datetime import datetime

import pyotp
import segno

STEP_SECONDS = 30
# A phone's clock may be this many steps off, either way.
_TOLERANCE = 1
_DIGITS = re.compile(r"\d{6}")
_SEPARATORS = re.compile(r"[\s-]+")
# Without letters and digits that look alike on paper.
_RECOVERY_ALPHABET = "ABCDEFGHJKMNPQRSTVWXYZ23456789"
_RECOVERY_LENGTH = 12
_RECOVERY_GROUP = 4
RECOVERY_CODES = 10


def new_secret() -> str:
    """160 random bits in the letters an authenticator app takes."""
    return pyotp.random_base32(32)


def provisioning_address(secret: str, *, account: str, issuer: str) -> str:
    """The otpauth:// address behind the QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def qr_data_uri(address: str) -> str:
    """The address as a picture that fits a strict content policy."""
    return segno.make(address, error="m").svg_data_uri(scale=5, border=2, dark="#111113", light="#ffffff")


def matching_step(secret: str, code: str, *, at: datetime, last_step: int | None) -> int | None:
    """The 30-second step this code belongs to, if it is near now and later than the last one used; else None."""
    code = _SEPARATORS.sub("", code)
    if not _DIGITS.fullmatch(code) or not code.isascii():
        return None
    now_step = int(at.timestamp()) // STEP_SECONDS
    generator = pyotp.TOTP(secret)
    matching = None
    for step in range(now_step - _TOLERANCE, now_step + _TOLERANCE + 1):
        is_equal = hmac.compare_digest(generator.at(step * STEP_SECONDS), code)
        if is_equal and (last_step is None or step > last_step):
            matching = step
    return matching


def spaced(secret: str) -> str:
    """The secret in groups of four, to be typed by hand."""
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def new_recovery_codes() -> list[str]:
    """Ten codes of nearly 60 random bits, written in groups."""
    return [
        "-".join(
            "".join(secrets.choice(_RECOVERY_ALPHABET) for _ in range(_RECOVERY_GROUP))
            for _ in range(_RECOVERY_LENGTH // _RECOVERY_GROUP)
        )
        for _ in range(RECOVERY_CODES)
    ]


def recovery_hash(code: str, *, user_id: int, secret_key: str) -> str:
    """What is stored of a recovery code: keyed, because 60 bits alone could be searched through."""
    plain = _SEPARATORS.sub("", code).upper()
    key = f"recovery-code:{user_id}:{secret_key}".encode()
    return hmac.new(key, plain.encode("utf-8", "replace"), hashlib.sha256).hexdigest()
