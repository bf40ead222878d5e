"""Reads for the nightly check of the invariants, and who hears of it."""

from portal.accounts.models import STAFF_ROLES, User
from portal.core.db import db
from portal.core.invariants import InvariantRun

_MOST_STAFF = 50


def last_run() -> InvariantRun | None:
    """The latest nightly check."""
    run: InvariantRun | None = db.session.scalar(db.select(InvariantRun).order_by(InvariantRun.id.desc()).limit(1))
    return run


def get_run(run_id: int) -> InvariantRun:
    """One nightly check. Raises NoResultFound."""
    return db.session.get_one(InvariantRun, run_id)


def staff_to_tell() -> list[User]:
    """Those of the back office who can be written to."""
    statement = (
        db.select(User)
        .where(User.role.in_(STAFF_ROLES), User.is_active.is_(True), User.email_verified_at.is_not(None))
        .order_by(User.id)
        .limit(_MOST_STAFF)
    )
    return list(db.session.scalars(statement))
