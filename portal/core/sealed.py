"""Secrets at rest and tokens in links: random tokens with their hashes, sealed values, signed references."""

import base64
import hashlib
import secrets

from cryptography.fernet import Fernet, InvalidToken
from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer


def new_token() -> str:
    """32 random bytes for a link or a cookie; only its hash is stored."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token. A plain hash is enough: 256 random bits cannot be guessed from it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _fernet(purpose: str) -> Fernet:
    key = hashlib.sha256(f"{purpose}:{current_app.config['SECRET_KEY']}".encode()).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(text: str, *, purpose: str) -> str:
    """Encrypt a value the server must read back, such as a second factor's secret."""
    return _fernet(purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, *, purpose: str) -> str:
    """Decrypt what `seal` made. Raises ValueError when the secret key has changed."""
    try:
        return _fernet(purpose).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise ValueError("this value was sealed with another key") from None


def sign(value: int | str, *, purpose: str) -> str:
    """A reference that cannot be made up, for links that work without logging in."""
    return URLSafeSerializer(current_app.config["SECRET_KEY"], salt=purpose).dumps(value)


def read_signed(signed: str, *, purpose: str) -> int | str | None:
    """The value of a reference that `sign` made, or None."""
    try:
        value: int | str = URLSafeSerializer(current_app.config["SECRET_KEY"], salt=purpose).loads(signed)
    except BadSignature:
        return None
    return value
