"""The work list's queue of changes that owners wait for."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, case, cast, or_, text
from sqlalchemy.types import String

from portal.accounts.models import User
from portal.admin.queries.work_rows import LIMIT, WorkKind, row
from portal.sites.changes.models import ChangeRequest, ChangeStatus, Drafter
from portal.sites.models import Site

# A deployment takes seconds, and an editor service minutes.
_LATE = timedelta(minutes=15)


def changes_to_make(at: datetime) -> Select[Any]:
    """Requests that staff have to draft, and those that should have gone on by themselves; the oldest first."""
    is_late = ChangeRequest.updated_at < at - _LATE
    return (
        row(
            WorkKind.CHANGE,
            id=ChangeRequest.id,
            name=Site.title,
            note=User.email,
            detail=case(
                (ChangeRequest.status == ChangeStatus.ACCEPTED, "not_online"),
                (ChangeRequest.drafter == Drafter.EDITOR, "editor_late"),
                else_=cast(ChangeRequest.trouble, String),
            ),
            since=ChangeRequest.updated_at,
        )
        .select_from(ChangeRequest)
        .join(Site, Site.id == ChangeRequest.site_id)
        .join(User, User.id == ChangeRequest.asked_by_id)
        # In the words of the partial index ix_site_changes_waiting.
        .where(
            text("site_changes.status IN ('received', 'drafting', 'accepted')"),
            Site.deleted_at.is_(None),
            or_(and_(ChangeRequest.drafter == Drafter.STAFF, ChangeRequest.status != ChangeStatus.ACCEPTED), is_late),
        )
        .order_by(ChangeRequest.updated_at, ChangeRequest.id)
        .limit(LIMIT)
    )
