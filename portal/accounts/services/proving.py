"""What a mailed link does: it proves the address, and lets its owner choose a password.

An account that nobody has proven may have been opened by a stranger with somebody else's address. When the owner of
the address comes with a link, everything that stranger could have left behind goes: password, sessions, second
factor, telephone, addresses. Only then does the account get what was bought under the address.
"""

from datetime import datetime

from sqlalchemy import delete

from portal.accounts import hooks
from portal.accounts.hashing import Checked
from portal.accounts.models import Address, RecoveryCode, TokenPurpose, User
from portal.accounts.services import sessions, signing_in, tokens
from portal.accounts.services.locking import lock_user
from portal.accounts.services.signing_in import NeedsCode, Refused, SignedIn
from portal.accounts.services.throttling import Origin
from portal.core import audit, mail
from portal.core.db import db

_LONGEST_NAME = 120


def link_owner(token: str, purpose: TokenPurpose, *, at: datetime) -> User:
    """Whose link this is; looking does not use it up (mail scanners look). Raises LinkDead."""
    return tokens.get_token(token, purpose, at=at).user


def verify_address(token: str, *, at: datetime) -> User:
    """Prove the address for somebody who is signed in to its account. Raises LinkDead."""
    user = tokens.use_token(token, TokenPurpose.VERIFY_EMAIL, at=at)
    _prove(user, at=at)
    return user


def verify_and_sign_in(
    token: str, attempt: signing_in.Attempt, checked: Checked, *, origin: Origin, at: datetime
) -> SignedIn | NeedsCode | Refused:
    """Prove the address for somebody who has the link and knows the password, and sign them in.

    The link alone is not enough: it would let a stranger who registered this address keep the password they chose.
    Raises LinkDead.
    """
    result = signing_in.finish_sign_in(attempt, checked, origin=origin, at=at)
    if not isinstance(result, Refused):
        verify_address(token, at=at)
    return result


def reset_password(token: str, password_hash: str, *, origin: Origin, at: datetime) -> SignedIn | NeedsCode:
    """Give a forgetful owner their account back: a new password, no other session, the address proven.

    Raises LinkDead.
    """
    user = lock_user(tokens.use_token(token, TokenPurpose.RESET_PASSWORD, at=at))
    _take_password(user, password_hash, at=at)
    audit.record("password.reset", actor=user.email, subject=f"users:{user.id}")
    mail.send("password_changed", to=user.email, locale=user.locale, user_id=user.id, at=at.isoformat())
    return _sign_in(user, origin=origin, at=at)


def set_up_account(token: str, *, name: str, password_hash: str, origin: Origin, at: datetime) -> SignedIn | NeedsCode:
    """Make an account its buyer's: name, password, the address proven, signed in. Raises LinkDead."""
    user = lock_user(tokens.use_token(token, TokenPurpose.SET_UP_ACCOUNT, at=at))
    user.name = name[:_LONGEST_NAME]
    _take_password(user, password_hash, at=at)
    audit.record("account.set_up", actor=user.email, subject=f"users:{user.id}")
    return _sign_in(user, origin=origin, at=at)


def _take_password(user: User, password_hash: str, *, at: datetime) -> None:
    if not user.is_verified:
        _forget_what_a_stranger_left(user)
    user.password_hash = password_hash
    sessions.drop_sessions(user)
    tokens.end_tokens(user, at=at)
    _prove(user, at=at)


def _forget_what_a_stranger_left(user: User) -> None:
    user.phone = ""
    user.totp_secret_sealed = None
    user.totp_confirmed_at = None
    user.totp_last_step = None
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    db.session.execute(delete(Address).where(Address.user_id == user.id))


def _prove(user: User, *, at: datetime) -> None:
    if user.is_verified:
        return
    user.email_verified_at = at
    audit.record("account.verified", actor=user.email, subject=f"users:{user.id}")
    mail.send("welcome", to=user.email, locale=user.locale, key=f"welcome:{user.id}", user_id=user.id)
    hooks.verified(user, at=at)


def _sign_in(user: User, *, origin: Origin, at: datetime) -> SignedIn | NeedsCode:
    if user.has_second_factor:
        return NeedsCode(user)
    return signing_in.complete_sign_in(user, None, origin=origin, is_remembered=False, at=at)
