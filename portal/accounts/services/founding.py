"""The first administrator, made by whoever has the server: nobody else could let anyone in."""

from datetime import datetime

from portal.accounts.models import Role, User
from portal.accounts.services import sessions, tokens
from portal.accounts.services.locking import lock_user
from portal.accounts.services.paid_users import find_user, insert_user
from portal.core import audit, mail
from portal.core.settings import current


def make_admin(email: str, *, name: str, password_hash: str | None, by: str, at: datetime) -> User:
    """Make the account of an address an administrator's, opening it when there is none.

    With a password the address counts as proven: who types it here owns the server. Without one, a link is mailed.
    """
    insert_user(
        email, name=name, role=Role.ADMIN, locale=current().default_language, password_hash=password_hash, at=at
    )
    found = find_user(email)
    if found is None:
        raise LookupError(email)
    user = lock_user(found)
    before = {"role": user.role}
    user.role, user.is_active = Role.ADMIN, True
    sessions.drop_sessions(user)
    tokens.end_tokens(user, at=at)
    if password_hash is not None:
        user.password_hash = password_hash
        user.email_verified_at = user.email_verified_at or at
    else:
        template = "reset_password" if user.is_verified else "account_set_up"
        mail.send(template, to=user.email, locale=user.locale, user_id=user.id)
    audit.record(
        "role.changed",
        actor=by,
        subject=f"users:{user.id}",
        before=before,
        after={"role": Role.ADMIN, "is_active": True},
    )
    return user
