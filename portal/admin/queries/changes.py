"""Change requests for staff, a page at a time."""

from sqlalchemy import or_, select
from sqlalchemy.orm import contains_eager, joinedload

from portal.accounts.models import User
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.sites.changes.models import ChangeRequest, ChangeStatus
from portal.sites.models import Deployment, Site

_UNDECIDED = (ChangeStatus.RECEIVED, ChangeStatus.DRAFTING, ChangeStatus.ACCEPTED)


def changes_page(
    *, text: str, status: ChangeStatus | None, before: str | None, after: str | None
) -> Page[ChangeRequest]:
    """A page of requests, newest first, found by site or owner; without a status those that staff or we still owe."""
    statement = (
        select(ChangeRequest)
        .join(ChangeRequest.site)
        .where(Site.deleted_at.is_(None))
        .where(ChangeRequest.status == status if status is not None else ChangeRequest.status.in_(_UNDECIDED))
        .options(contains_eager(ChangeRequest.site), joinedload(ChangeRequest.asked_by))
    )
    if text:
        statement = statement.where(
            or_(
                Site.title.icontains(text, autoescape=True),
                Site.slug.contains(text.lower(), autoescape=True),
                ChangeRequest.asked_by.has(User.email == text.lower()),
            )
        )
    return paginate(statement, ChangeRequest.id, before=before, after=after)


def newest_deployment(change: ChangeRequest) -> Deployment | None:
    """The last try to bring an accepted change onto a host."""
    if change.version_id is None:
        return None
    statement = select(Deployment).where(Deployment.version_id == change.version_id).order_by(Deployment.id.desc())
    found: Deployment | None = db.session.scalars(statement.limit(1)).one_or_none()
    return found
