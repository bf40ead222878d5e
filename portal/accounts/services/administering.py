"""What staff do to other people's accounts. Every one of these ends in the audit log."""

from datetime import datetime

from sqlalchemy import select

from portal.accounts.errors import LastAdmin, OwnAccount
from portal.accounts.models import Role, User
from portal.accounts.services import second_factor, sessions, tokens
from portal.accounts.services.locking import lock_user
from portal.core import audit
from portal.core.db import db
from portal.core.errors import Forbidden


def set_role(user_id: int, role: Role, *, by: User) -> User:
    """Make somebody a customer, staff or administrator; they are signed out and come back with their new rights.

    Raises UserNotFound, Forbidden unless an administrator asks, OwnAccount, LastAdmin.
    """
    user = _others_account(user_id, by=by, admin_only=True)
    if user.role is role:
        return user
    if user.is_admin:
        _refuse_last_admin(user)
    before = user.role
    user.role = role
    _sign_out(user)
    audit.record(
        "role.changed", actor=by.email, subject=f"users:{user.id}", before={"role": before}, after={"role": role}
    )
    return user


def deactivate_user(user_id: int, *, by: User, reason: str, at: datetime) -> User:
    """Close an account: signed out everywhere at once, its open links dead, no way to log in.

    Raises UserNotFound, Forbidden, OwnAccount, LastAdmin.
    """
    user = _others_account(user_id, by=by)
    if not user.is_active:
        return user
    if user.is_admin:
        _refuse_last_admin(user)
    user.is_active = False
    _sign_out(user)
    tokens.end_tokens(user, at=at)
    audit.record("account.deactivated", actor=by.email, subject=f"users:{user.id}", detail=reason)
    return user


def reactivate_user(user_id: int, *, by: User, reason: str) -> User:
    """Open a closed account again. Raises UserNotFound, Forbidden, OwnAccount."""
    user = _others_account(user_id, by=by)
    if user.is_active:
        return user
    user.is_active = True
    audit.record("account.reactivated", actor=by.email, subject=f"users:{user.id}", detail=reason)
    return user


def sign_out_user(user_id: int, *, by: User) -> int:
    """Sign somebody out everywhere, for instance after a stolen phone; returns how many sessions ended.

    Raises UserNotFound, Forbidden, OwnAccount.
    """
    user = _others_account(user_id, by=by)
    ended = _sign_out(user)
    audit.record("session.all_ended", actor=by.email, subject=f"users:{user.id}", detail=f"{ended} sessions")
    return ended


def reset_second_factor(user_id: int, *, by: User, at: datetime) -> User:
    """Help somebody who lost phone and recovery codes; the owner is told by mail.

    Raises UserNotFound, Forbidden, OwnAccount.
    """
    user = _others_account(user_id, by=by)
    second_factor.turn_off(user, by=by, at=at)
    return user


def _others_account(user_id: int, *, by: User, admin_only: bool = False) -> User:
    if not by.is_staff or (admin_only and not by.is_admin):
        raise Forbidden
    user = lock_user(user_id)
    if user.id == by.id:
        raise OwnAccount
    # Staff look after customers; only an administrator looks after staff.
    if user.is_staff and not by.is_admin:
        raise Forbidden
    return user


def _refuse_last_admin(user: User) -> None:
    # The race: two administrators demote each other at the same moment. Both hold the other's row, and the database
    # lets one of them wait for the rows below until the first has committed, or ends the deadlock.
    others = db.session.scalars(
        select(User.id).where(User.role == Role.ADMIN, User.is_active.is_(True), User.id != user.id).with_for_update()
    ).all()
    if not others:
        raise LastAdmin


def _sign_out(user: User) -> int:
    return sessions.drop_sessions(user)
