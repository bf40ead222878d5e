"""One way to hold a user's row, for changes that two requests at once would mix up."""

from portal.accounts.errors import UserNotFound
from portal.accounts.models import User
from portal.core.db import db


def lock_user(user: User | int) -> User:
    """The user as they are now, held until the transaction ends. Raises UserNotFound."""
    user_id = user if isinstance(user, int) else user.id
    locked = db.session.get(User, user_id, populate_existing=True, with_for_update=True)
    if locked is None:
        raise UserNotFound
    return locked
