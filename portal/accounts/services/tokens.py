"""Mailed links: made when the mail is sent, stored as a hash, good once, dead when what they stand for has changed."""

import hashlib
import hmac
from datetime import datetime, timedelta

from sqlalchemy import select, update

from portal.accounts.errors import LinkDead
from portal.accounts.models import TokenPurpose, User, UserToken
from portal.core import sealed
from portal.core.db import db

LIFETIMES = {
    TokenPurpose.VERIFY_EMAIL: timedelta(hours=24),
    TokenPurpose.RESET_PASSWORD: timedelta(hours=1),
    TokenPurpose.SET_UP_ACCOUNT: timedelta(hours=1),
}
_LONGEST_TOKEN = 128


def issue_token(user: User, purpose: TokenPurpose, *, at: datetime) -> str:
    """A fresh link's token. Earlier ones stay good until they end or one is used: mails overtake each other."""
    token = sealed.new_token()
    db.session.add(
        UserToken(
            token_hash=sealed.token_hash(token),
            user_id=user.id,
            purpose=purpose,
            binding=_binding(user, purpose),
            created_at=at,
            expires_at=at + LIFETIMES[purpose],
        )
    )
    db.session.flush()
    return token


def get_token(token: str, purpose: TokenPurpose, *, at: datetime) -> UserToken:
    """The link's row with its user, not yet used. Raises LinkDead: used, too old, of another kind, or made up."""
    if len(token) > _LONGEST_TOKEN:
        raise LinkDead
    row = db.session.scalar(select(UserToken).where(UserToken.token_hash == sealed.token_hash(token)))
    if row is None or row.purpose is not purpose or row.used_at is not None or row.expires_at <= at:
        raise LinkDead
    if not row.user.is_active or not hmac.compare_digest(row.binding, _binding(row.user, purpose)):
        raise LinkDead
    return row


def use_token(token: str, purpose: TokenPurpose, *, at: datetime) -> User:
    """Spend the link and give its user. Raises LinkDead, also for the slower of two that came together."""
    row = get_token(token, purpose, at=at)
    result = db.session.execute(
        update(UserToken)
        .where(UserToken.id == row.id, UserToken.used_at.is_(None))
        .values(used_at=at)
        .returning(UserToken.id)
    )
    if result.first() is None:
        raise LinkDead
    return row.user


def end_tokens(user: User, *, at: datetime, but: TokenPurpose | None = None) -> None:
    """Make the user's open links useless, all or all `but` one kind: their password or standing has changed."""
    statement = update(UserToken).where(UserToken.user_id == user.id, UserToken.used_at.is_(None))
    if but is not None:
        statement = statement.where(UserToken.purpose != but)
    db.session.execute(statement.values(used_at=at))


def _binding(user: User, purpose: TokenPurpose) -> str:
    """What must still be so when the link is used.

    A reset or verification link dies with the password it was made under. A set-up link does not: whoever registered
    a buyer's address first could kill it by changing "their" password. It dies when the address is proven.
    """
    state = user.email_verified_at if purpose is TokenPurpose.SET_UP_ACCOUNT else user.password_hash
    return hashlib.sha256(f"{purpose}\n{user.id}\n{user.email}\n{state or ''}".encode()).hexdigest()
