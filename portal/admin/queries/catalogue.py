"""The packages in the shop's order, a page at a time."""

from typing import Any

from sqlalchemy import literal, tuple_

from portal.catalogue.models import Package
from portal.catalogue.wording import fold
from portal.core.db import db
from portal.core.paging import Page

PAGE_SIZE = 50
_LONGEST = 18


def packages_page(*, text: str, is_published: bool | None, before: str | None, after: str | None) -> Page[Package]:
    """A page of packages for staff. Its cursors are places in the shop's order, `position-id`: `older` leads on."""
    statement = db.select(Package)
    if is_published is not None:
        statement = statement.where(Package.is_published.is_(is_published))
    for word in fold(text).split()[:8]:
        statement = statement.where(Package.search_text.contains(word, autoescape=True))
    place: Any = tuple_(Package.position, Package.id)
    forwards, backwards = _cursor(before), _cursor(after)
    if backwards is not None:
        statement = statement.where(place < tuple_(*map(literal, backwards)))
        statement = statement.order_by(Package.position.desc(), Package.id.desc())
    else:
        if forwards is not None:
            statement = statement.where(place > tuple_(*map(literal, forwards)))
        statement = statement.order_by(Package.position, Package.id)
    rows = list(db.session.scalars(statement.limit(PAGE_SIZE + 1)))
    has_more, rows = len(rows) > PAGE_SIZE, rows[:PAGE_SIZE]
    if backwards is not None:
        rows.reverse()
    has_older = bool(rows) and (has_more or backwards is not None)
    has_newer = bool(rows) and (has_more if backwards is not None else forwards is not None)
    return Page(
        rows=rows,
        older=f"{rows[-1].position}-{rows[-1].id}" if has_older else None,
        newer=f"{rows[0].position}-{rows[0].id}" if has_newer else None,
    )


def _cursor(text: str | None) -> tuple[int, int] | None:
    parts = (text or "").split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= _LONGEST for part in parts):
        return None
    return int(parts[0]), int(parts[1])
