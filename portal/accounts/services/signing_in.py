"""Signing in, in two short transactions with the slow work between them:

    with unit_of_work():
        attempt = services.begin_sign_in(email, origin=..., at=...)
    checked = hashing.check_password(password, attempt.stored_hash, ...)
    with unit_of_work():
        result = services.finish_sign_in(attempt, checked, ...)

Nothing is raised for a wrong password or code: what was written about the try must be committed.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select, text

from portal.accounts import hooks
from portal.accounts.email_addresses import lookup_form
from portal.accounts.errors import AccountClosed, TooManyTries, WrongCredentials
from portal.accounts.hashing import Checked
from portal.accounts.models import LoginSession, SignIn, SignInOutcome, User
from portal.accounts.services import sessions, throttling
from portal.accounts.services.throttling import Origin
from portal.core import audit
from portal.core.db import db
from portal.core.errors import PortalError


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was written down, with what is needed to look at the password outside the transaction."""

    id: int | None
    user_id: int | None
    stored_hash: str | None
    with_imported: bool
    refusal: TooManyTries | None


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The try ended in a session; its token goes into the cookie."""

    user: User
    login_session: LoginSession
    token: str


@dataclass(frozen=True, slots=True)
class NeedsCode:
    """The password is right, and the second factor is still to come."""

    user: User


@dataclass(frozen=True, slots=True)
class Refused:
    """The try failed, for the reason given."""

    error: PortalError


def begin_sign_in(email: str, *, origin: Origin, at: datetime) -> Attempt:
    """Write down a try to sign in with an address, known or not, and say what to check the password against."""
    address = lookup_form(email)
    user = db.session.scalar(select(User).where(User.email == address))
    return _begin(address, user, origin=origin, at=at)


def begin_confirmation(user: User, *, origin: Origin, at: datetime) -> Attempt:
    """The same for a signed-in user who gives the password again: a stolen session must not be a way to guess it."""
    return _begin(user.email, user, origin=origin, at=at)


def _begin(address: str, user: User | None, *, origin: Origin, at: datetime) -> Attempt:
    reserved = throttling.reserve_try(address, user, origin, outcome=SignInOutcome.WRONG_PASSWORD, at=at)
    if reserved.refusal is not None:
        audit.record("sign_in.throttled", actor="anonymous", subject=_subject(user))
    return Attempt(
        id=reserved.id,
        user_id=user.id if user else None,
        stored_hash=user.password_hash if user else None,
        with_imported=_imported_hashes_exist(),
        refusal=reserved.refusal,
    )


def finish_sign_in(
    attempt: Attempt, checked: Checked, *, origin: Origin, is_remembered: bool = False, at: datetime
) -> SignedIn | NeedsCode | Refused:
    """Sign the user in, ask for the second step, or leave the try as failed. Tells `on_signed_in` hooks."""
    user = confirmed_user(attempt, checked)
    if user is None:
        audit.record("sign_in.failed", actor="anonymous", subject=_subject(find_user_by_id(attempt.user_id)))
        return Refused(WrongCredentials())
    row = _row_of(attempt)
    if not user.is_active:
        row.outcome = SignInOutcome.INACTIVE
        audit.record("sign_in.closed_account", actor=user.email, subject=_subject(user))
        return Refused(AccountClosed())
    if user.has_second_factor:
        # Neither a failure nor a sign-in: the second step writes its own line.
        db.session.delete(row)
        return NeedsCode(user)
    return complete_sign_in(user, row, origin=origin, is_remembered=is_remembered, at=at)


def confirmed_user(attempt: Attempt, checked: Checked) -> User | None:
    """The attempt's user when the password was right and still is theirs; stores the stronger hash if there is one."""
    if not checked.is_right or attempt.user_id is None:
        return None
    user = db.session.get(User, attempt.user_id, populate_existing=True)
    # While it was looked at, another request may have changed it; then the one we checked counts for nothing.
    if user is None or user.password_hash != attempt.stored_hash:
        return None
    if checked.fresh_hash is not None:
        user.password_hash = checked.fresh_hash
    return user


def forget_attempt(attempt: Attempt) -> None:
    """Take back the line of a try that is no sign-in of its own: it turned out right, or nobody looked at it."""
    db.session.delete(_row_of(attempt))


def complete_sign_in(user: User, row: SignIn | None, *, origin: Origin, is_remembered: bool, at: datetime) -> SignedIn:
    """Begin the session of a user who has proven who they are, and tell everybody."""
    if row is None:
        row = throttling.write_try(user, origin, SignInOutcome.SUCCESS, at=at)
    row.outcome = SignInOutcome.SUCCESS
    login_session, token = sessions.open_session(
        user, is_remembered=is_remembered, address=origin.address, user_agent=origin.user_agent, at=at
    )
    user.last_login_at = at
    audit.record("sign_in.succeeded", actor=user.email, subject=_subject(user))
    hooks.signed_in(user, at=at)
    return SignedIn(user, login_session, token)


def sign_out(user: User) -> None:
    """End the session this browser has; a second click finds it ended and changes nothing."""
    if sessions.drop_session(user):
        audit.record("sign_in.ended", actor=user.email, subject=_subject(user))


def find_user_by_id(user_id: int | None) -> User | None:
    """The user of an id, or None."""
    return None if user_id is None else db.session.get(User, user_id)


def _row_of(attempt: Attempt) -> SignIn:
    return db.session.get_one(SignIn, attempt.id)


def _subject(user: User | None) -> str | None:
    return f"users:{user.id}" if user else None


def _imported_hashes_exist() -> bool:
    # In the words of the partial index ix_users_imported, or PostgreSQL would not use it.
    imported = exists().select_from(User).where(text("substr(password_hash, 1, 2) = '$2'"))
    return bool(db.session.scalar(select(imported)))
