"""API keys: made, replaced, revoked; known again by a hash."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import joinedload

from portal.core import audit, sealed
from portal.core.db import db
from portal.merchants.errors import KeyNotFound, KeyNotUsable, MerchantSuspended, SecretGone, TooManyKeys
from portal.merchants.models import ApiKey, Merchant, Scope

SECRET = re.compile(r"sk_(test|live)_[A-Za-z0-9_-]{43}")
ALL_SCOPES = tuple(scope.value for scope in Scope)
SEEN_EVERY = timedelta(minutes=1)
# A secret that nobody came to look at is destroyed; the key can be replaced.
SEALED_FOR = timedelta(days=7)
MOST_KEYS = 20
LONGEST_OVERLAP = timedelta(days=7)
_SEAL = "api-key"


def secret_hash(secret: str) -> str:
    """What is stored of a key. One plain SHA-256 is enough here: the secret is 32 random bytes, and nobody can try
    2^256 of them, however fast the hash; a slow one would only make each API call slow."""
    return sealed.token_hash(secret)


def new_secret(mode: str) -> str:
    """A secret that says at first sight what it is and whether real money hangs on it."""
    return f"sk_{mode}_{secrets.token_urlsafe(32)}"


def create_key(
    merchant: Merchant,
    *,
    mode: str,
    label: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    by: str,
    at: datetime,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is told to the caller and to nobody afterwards.

    Raises MerchantSuspended or TooManyKeys.
    """
    if not merchant.is_active:
        raise MerchantSuspended
    _lock_keys(merchant)
    if _count_working(merchant.id, at) >= MOST_KEYS:
        raise TooManyKeys
    secret = new_secret(mode)
    return add_key(merchant, secret, label=label, scopes=scopes, expires_at=expires_at, by=by, at=at), secret


def add_key(
    merchant: Merchant,
    secret: str,
    *,
    label: str,
    scopes: Sequence[str],
    expires_at: datetime | None,
    by: str,
    at: datetime,
    made_by_session_id: int | None = None,
) -> ApiKey:
    """Store a key of a secret. With `made_by_session_id` nobody is there to read it, so it is sealed for later."""
    key = ApiKey(
        merchant_id=merchant.id,
        mode=secret.split("_")[1],
        secret_hash=secret_hash(secret),
        prefix=secret[:8],
        last_four=secret[-4:],
        label=label,
        scopes=list(scopes),
        sealed_secret=sealed.seal(secret, purpose=_SEAL) if made_by_session_id is not None else None,
        made_by_session_id=made_by_session_id,
        created_by=by,
        created_at=at,
        expires_at=expires_at,
    )
    db.session.add(key)
    db.session.flush()
    after = {"merchant": merchant.id, "mode": key.mode, "label": label, "scopes": list(scopes), "shown": key.shown}
    audit.record("API_KEY_CREATED", actor=by, subject=f"api_keys:{key.id}", after=after)
    return key


def rotate_key(merchant: Merchant, key_id: int, *, overlap: timedelta, by: str, at: datetime) -> tuple[ApiKey, str]:
    """A new key with the rights of an old one, which goes on working for `overlap` (seven days at most).

    Raises KeyNotFound (also a stranger's), KeyNotUsable when it is over or was replaced before, MerchantSuspended.
    """
    if not merchant.is_active:
        raise MerchantSuspended
    old = _locked_key(merchant, key_id)
    if old.replaced_by_id is not None or old.state_at(at) != "active":
        raise KeyNotUsable
    secret = new_secret(old.mode)
    key = add_key(merchant, secret, label=old.label, scopes=old.scopes, expires_at=_as_long_as(old, at), by=by, at=at)
    ends_at = at + min(overlap, LONGEST_OVERLAP)
    old.replaced_by_id = key.id
    old.expires_at = min(old.expires_at, ends_at) if old.expires_at is not None else ends_at
    old.sealed_secret = None
    audit.record(
        "API_KEY_ROTATED", actor=by, subject=f"api_keys:{old.id}",
        after={"replaced_by": key.id, "expires_at": old.expires_at.isoformat()},
    )  # fmt: skip
    return key, secret


def _as_long_as(old: ApiKey, at: datetime) -> datetime | None:
    """A key that was made for ninety days is replaced by one for ninety days."""
    return None if old.expires_at is None else at + (old.expires_at - old.created_at)


def revoke_key(merchant: Merchant, key_id: int, *, by: str, at: datetime) -> None:
    """End a key now; ending it again changes nothing. Raises KeyNotFound."""
    key = _locked_key(merchant, key_id)
    if key.revoked_at is not None:
        return
    key.revoked_at = at
    key.sealed_secret = None
    audit.record("API_KEY_REVOKED", actor=by, subject=f"api_keys:{key.id}", after={"shown": key.shown})


def reveal_secret(merchant: Merchant, key_id: int, *, by: str, at: datetime) -> str:
    """The secret of a key that was made while nobody was there: told once, to whoever comes first.

    Raises KeyNotFound, or SecretGone when it was told before.
    """
    key = _locked_key(merchant, key_id)
    if key.sealed_secret is None or key.state_at(at) != "active" or key.created_at + SEALED_FOR <= at:
        raise SecretGone
    try:
        secret = sealed.unseal(key.sealed_secret, purpose=_SEAL)
    except ValueError:
        # The portal's own secret was changed since; the key works, and can be replaced.
        raise SecretGone from None
    key.sealed_secret = None
    audit.record("API_KEY_SHOWN", actor=by, subject=f"api_keys:{key.id}", after={"shown": key.shown})
    return secret


def forget_sealed(*, at: datetime) -> None:
    """Destroy the sealed secrets that nobody came for."""
    db.session.execute(
        update(ApiKey)
        .where(ApiKey.sealed_secret.is_not(None), ApiKey.created_at <= at - SEALED_FOR)
        .values(sealed_secret=None)
        .execution_options(synchronize_session=False)
    )


def find_key(secret: str) -> ApiKey | None:
    """The key of a secret, with its merchant, whatever its state."""
    if not SECRET.fullmatch(secret):
        return None
    key: ApiKey | None = db.session.scalar(
        select(ApiKey).where(ApiKey.secret_hash == secret_hash(secret)).options(joinedload(ApiKey.merchant))
    )
    return key


def note_use(key_id: int, *, at: datetime) -> None:
    """Write when a key was last used, at most once a minute; a row that somebody else holds is left alone."""
    free = (
        select(ApiKey.id)
        .where(ApiKey.id == key_id, or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at <= at - SEEN_EVERY))
        .with_for_update(skip_locked=True)
    )
    db.session.execute(
        update(ApiKey)
        .where(ApiKey.id.in_(free.scalar_subquery()))
        .values(last_used_at=at)
        .execution_options(synchronize_session=False)
    )


def _lock_keys(merchant: Merchant) -> None:
    """Two windows that count at the same moment would both find room for one more."""
    db.session.execute(select(Merchant.id).where(Merchant.id == merchant.id).with_for_update())


def _count_working(merchant_id: int, at: datetime) -> int:
    count = db.session.scalar(
        select(func.count(ApiKey.id)).where(
            ApiKey.merchant_id == merchant_id,
            ApiKey.revoked_at.is_(None),
            or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > at),
        )
    )
    return int(count or 0)


def _locked_key(merchant: Merchant, key_id: int) -> ApiKey:
    key: ApiKey | None = db.session.scalar(
        select(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.merchant_id == merchant.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if key is None:
        raise KeyNotFound
    return key
