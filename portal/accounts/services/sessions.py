"""Signed-in browsers: begun at log-in, found at each request, ended by log-out, a password change or their age."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, bindparam, delete, select, update

from portal.accounts.errors import SessionEnded
from portal.accounts.models import LoginSession, User
from portal.core import audit, sealed
from portal.core.db import db
from portal.core.errors import NotFound

IDLE = timedelta(hours=24)
IDLE_STAFF = timedelta(minutes=30)
IDLE_REMEMBERED = timedelta(days=7)
# However busy it is, a session ends: ASVS 7.3.2.
LONGEST = timedelta(days=7)
LONGEST_STAFF = timedelta(hours=12)
_LONGEST_TOKEN = 128
_LONGEST_AGENT = 255


def open_session(
    user: User, *, is_remembered: bool, address: str | None, user_agent: str, at: datetime
) -> tuple[LoginSession, str]:
    """Begin a session for a browser; the token goes into its cookie and is not kept."""
    token = sealed.new_token()
    login_session = LoginSession(
        token_hash=sealed.token_hash(token),
        user_id=user.id,
        # Staff are never remembered: half an hour without a click ends their session whatever was ticked.
        is_remembered=is_remembered and not user.is_staff,
        ip_address=address,
        user_agent=user_agent[:_LONGEST_AGENT],
        created_at=at,
        authenticated_at=at,
        last_seen_at=at,
    )
    db.session.add(login_session)
    db.session.flush()
    return login_session, token


# Every page of everybody who is signed in asks this: built once.
_OF_TOKEN = select(LoginSession, User).join(User).where(LoginSession.token_hash == bindparam("token_hash"))


def find_session(token: str, *, at: datetime) -> tuple[LoginSession, User] | None:
    """The session of a cookie with its user, in one query; None when it ended, idled out, or the user is closed."""
    if not token or len(token) > _LONGEST_TOKEN:
        return None
    row = db.session.execute(_OF_TOKEN, {"token_hash": sealed.token_hash(token)}).first()
    if row is None:
        return None
    login_session, user = row
    if not user.is_active or not is_alive(login_session, user, at=at):
        return None
    return login_session, user


def is_alive(login_session: LoginSession, user: User, *, at: datetime) -> bool:
    """Whether the session is neither idle for too long nor too old."""
    if user.is_staff:
        idle, longest = IDLE_STAFF, LONGEST_STAFF
    else:
        idle, longest = IDLE_REMEMBERED if login_session.is_remembered else IDLE, LONGEST
    return at < login_session.last_seen_at + idle and at < login_session.created_at + longest


def renew_session(user: User, *, at: datetime) -> str:
    """Give this browser's session a new token after its user proved themselves again; the old cookie is dead.

    Raises SessionEnded.
    """
    token = sealed.new_token()
    renewed = db.session.execute(
        update(LoginSession)
        .where(LoginSession.id == current_id(user))
        .values(token_hash=sealed.token_hash(token), authenticated_at=at, last_seen_at=at)
        .returning(LoginSession.id)
    ).first()
    if renewed is None:
        raise SessionEnded
    return token


def current_id(user: User) -> int | None:
    """The id of the session this browser has, for a user who was loaded through one."""
    return user.login_session.id if user.login_session is not None else None


def end_session(user: User, session_id: int) -> None:
    """End one of the user's own sessions. Raises NotFound for another user's, and for one that is gone."""
    ended = db.session.execute(
        delete(LoginSession)
        .where(LoginSession.id == session_id, LoginSession.user_id == user.id)
        .returning(LoginSession.id)
    ).first()
    if ended is None:
        raise NotFound
    audit.record("session.ended", actor=user.email, subject=f"users:{user.id}", detail=f"session {session_id}")


def end_other_sessions(user: User) -> int:
    """Sign the user out everywhere else; returns how many sessions ended."""
    return _end_sessions(user, "session.others_ended", LoginSession.id != (current_id(user) or 0))


def end_all_sessions(user: User) -> int:
    """Sign the user out everywhere, here too; returns how many sessions ended."""
    return _end_sessions(user, "session.all_ended")


def drop_session(user: User) -> bool:
    """End this browser's session; False when it had ended already."""
    ended = delete(LoginSession).where(LoginSession.id == current_id(user)).returning(LoginSession.id)
    return db.session.execute(ended).first() is not None


def drop_sessions(user: User, *, keep: int | None = None) -> int:
    """End the user's sessions, all or all but one, as part of something that is audited itself."""
    statement = delete(LoginSession).where(LoginSession.user_id == user.id)
    if keep is not None:
        statement = statement.where(LoginSession.id != keep)
    return len(db.session.execute(statement.returning(LoginSession.id)).all())


def _end_sessions(user: User, event: str, *which: ColumnElement[bool]) -> int:
    statement = delete(LoginSession).where(LoginSession.user_id == user.id, *which)
    ended = len(db.session.execute(statement.returning(LoginSession.id)).all())
    audit.record(event, actor=user.email, subject=f"users:{user.id}", detail=f"{ended} sessions")
    return ended


def delete_dead_sessions(*, at: datetime) -> int:
    """Remove rows that no cookie can bring back to life."""
    dead = delete(LoginSession).where(LoginSession.last_seen_at < at - max(IDLE_REMEMBERED, LONGEST))
    return len(db.session.execute(dead.returning(LoginSession.id)).all())
