"""The second factor: switched on with a first code, asked for at log-in, replaced by recovery codes when lost."""

import hashlib
from datetime import datetime

from sqlalchemy import delete, func, select, update

from portal.accounts import totp
from portal.accounts.errors import SecondStepExpired, WrongCode
from portal.accounts.models import RecoveryCode, SignIn, SignInOutcome, User
from portal.accounts.services import sessions, signing_in, throttling
from portal.accounts.services.locking import lock_user
from portal.accounts.services.signing_in import Refused, SignedIn
from portal.accounts.services.throttling import Origin
from portal.core import audit, mail, sealed, settings
from portal.core.db import db
from portal.core.errors import Conflict

_PURPOSE = "totp"


def pending_proof(user: User) -> str:
    """Ties a half-finished log-in to the password it was begun with."""
    return hashlib.sha256(f"second-step:{user.id}:{user.password_hash}".encode()).hexdigest()


def pending_user(user_id: int, proof: str) -> User:
    """The user of a half-finished log-in. Raises SecondStepExpired when their password or standing has changed."""
    user = db.session.get(User, user_id, populate_existing=True)
    if user is None or not user.is_active or not user.has_second_factor or pending_proof(user) != proof:
        raise SecondStepExpired
    return user


def try_code(user: User, code: str, *, origin: Origin, is_remembered: bool, at: datetime) -> SignedIn | Refused:
    """Finish a log-in with a code of the app or a recovery code. A wrong one is counted, not raised."""
    reserved = throttling.reserve_try(user.email, user, origin, outcome=SignInOutcome.WRONG_CODE, at=at)
    if reserved.refusal is not None:
        audit.record("sign_in.throttled", actor="anonymous", subject=_subject(user))
        return Refused(reserved.refusal)
    if not _accept(user, code, at=at):
        audit.record("sign_in.wrong_code", actor="anonymous", subject=_subject(user))
        return Refused(WrongCode())
    row = db.session.get_one(SignIn, reserved.id)
    return signing_in.complete_sign_in(user, row, origin=origin, is_remembered=is_remembered, at=at)


def turn_on(user: User, secret: str, code: str, *, at: datetime) -> list[str]:
    """Switch the second factor on with a first code of the app, end all other sessions, and give the recovery codes.

    Raises Conflict when it is on, WrongCode.
    """
    lock_user(user)
    if user.has_second_factor:
        raise Conflict
    step = totp.matching_step(secret, code, at=at, last_step=None)
    if step is None:
        raise WrongCode(field="code")
    user.totp_secret_sealed = sealed.seal(secret, purpose=_PURPOSE)
    user.totp_confirmed_at = at
    user.totp_last_step = step
    sessions.drop_sessions(user, keep=sessions.current_id(user))
    _announce("second_factor.turned_on", user, by=user, at=at)
    return _replace_recovery_codes(user)


def turn_off(user: User, *, by: User, at: datetime) -> None:
    """Switch the second factor off, forget its codes and end all other sessions; off already: nothing happens."""
    lock_user(user)
    if not user.has_second_factor:
        return
    user.totp_secret_sealed = None
    user.totp_confirmed_at = None
    user.totp_last_step = None
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    sessions.drop_sessions(user, keep=sessions.current_id(user) if by.id == user.id else None)
    _announce("second_factor.turned_off", user, by=by, at=at)


def make_recovery_codes(user: User, *, at: datetime) -> list[str]:
    """Ten new recovery codes; the earlier ones are dead. Raises Conflict without a second factor."""
    lock_user(user)
    if not user.has_second_factor:
        raise Conflict
    _announce("recovery_codes.replaced", user, by=user, at=at)
    return _replace_recovery_codes(user)


def recovery_codes_left(user: User) -> int:
    """How many recovery codes were not used yet."""
    statement = select(func.count(RecoveryCode.id)).where(
        RecoveryCode.user_id == user.id, RecoveryCode.used_at.is_(None)
    )
    return db.session.scalar(statement) or 0


def _accept(user: User, code: str, *, at: datetime) -> bool:
    return _accept_app_code(user, code, at=at) or _accept_recovery_code(user, code, at=at)


def _accept_app_code(user: User, code: str, *, at: datetime) -> bool:
    if user.totp_secret_sealed is None:
        return False
    secret = sealed.unseal(user.totp_secret_sealed, purpose=_PURPOSE)
    step = totp.matching_step(secret, code, at=at, last_step=user.totp_last_step)
    if step is None:
        return False
    # The race: one code sent twice at once. The row moves to its step once.
    moved = db.session.execute(
        update(User)
        .where(User.id == user.id, func.coalesce(User.totp_last_step, -1) < step)
        .values(totp_last_step=step)
        .returning(User.id)
    ).first()
    return moved is not None


def _accept_recovery_code(user: User, code: str, *, at: datetime) -> bool:
    used = db.session.execute(
        update(RecoveryCode)
        .where(
            RecoveryCode.user_id == user.id,
            RecoveryCode.code_hash == _hash(user, code),
            RecoveryCode.used_at.is_(None),
        )
        .values(used_at=at)
        .returning(RecoveryCode.id)
    ).first()
    if used is None:
        return False
    audit.record("recovery_code.used", actor=user.email, subject=_subject(user))
    mail.send("recovery_code_used", to=user.email, locale=user.locale, user_id=user.id)
    return True


def _replace_recovery_codes(user: User) -> list[str]:
    codes = totp.new_recovery_codes()
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user.id))
    db.session.add_all([RecoveryCode(user_id=user.id, code_hash=_hash(user, code)) for code in codes])
    return codes


def _hash(user: User, code: str) -> str:
    return totp.recovery_hash(code, user_id=user.id, secret_key=settings.current().secret_key)


def _announce(event: str, user: User, *, by: User, at: datetime) -> None:
    audit.record(event, actor=by.email, subject=_subject(user))
    mail.send("security_changed", to=user.email, locale=user.locale, user_id=user.id, change=event, at=at.isoformat())


def _subject(user: User) -> str:
    return f"users:{user.id}"
