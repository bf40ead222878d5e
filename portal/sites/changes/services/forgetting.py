"""Letting go of the pictures that owners sent: once a request is over, they are kept for a while and then no more."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update

from portal.core.db import db
from portal.sites.changes.models import CHANGE_TRANSITIONS, ChangeRequest, ChangeStatus
from portal.sites.models import Site

KEPT = timedelta(days=90)
_OVER = tuple(status for status in ChangeStatus if status not in CHANGE_TRANSITIONS)


def pictures_to_forget(*, at: datetime, limit: int = 100) -> dict[int, str]:
    """The storage names of pictures that nobody needs any more, by their request's id.

    Over is what is live, declined or undone, and whatever was asked about a site that is gone for good.
    """
    is_over = or_(ChangeRequest.status.in_(_OVER), ChangeRequest.undone_at.is_not(None), Site.purged_at.is_not(None))
    statement = (
        select(ChangeRequest.id, ChangeRequest.picture_name)
        .join(ChangeRequest.site)
        .where(ChangeRequest.picture_name.is_not(None), is_over, ChangeRequest.updated_at <= at - KEPT)
        .order_by(ChangeRequest.id)
        .limit(limit)
    )
    return {row.id: row.picture_name for row in db.session.execute(statement)}


def forget_pictures(change_ids: Collection[int]) -> None:
    """Note that the pictures of these requests are gone. Call it after they were deleted: a crash in between deletes
    them once more, and no picture is left that nothing names."""
    db.session.execute(update(ChangeRequest).where(ChangeRequest.id.in_(change_ids)).values(picture_name=None))
