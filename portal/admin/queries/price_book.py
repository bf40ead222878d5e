"""The versions of the price book, a page at a time."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import defer

from portal.accounts.models import User
from portal.core.db import db
from portal.core.paging import Page, paginate
from portal.quotes.pricing.models import PriceBookVersion


def versions_page(*, before: str | None, after: str | None) -> Page[PriceBookVersion]:
    """A page of versions, the newest number first, without the books themselves."""
    statement = select(PriceBookVersion).options(defer(PriceBookVersion.content))
    return paginate(statement, PriceBookVersion.number, before=before, after=after)


def find_version(number: int | None) -> PriceBookVersion | None:
    """The version of a number."""
    if number is None:
        return None
    return db.session.scalars(select(PriceBookVersion).where(PriceBookVersion.number == number)).one_or_none()


def list_people(versions: Sequence[PriceBookVersion]) -> dict[int, str]:
    """Who began each of these versions: e-mail addresses by account."""
    ids = {one.created_by_id for one in versions if one.created_by_id is not None}
    return {row.id: row.email for row in db.session.execute(select(User.id, User.email).where(User.id.in_(ids)))}
