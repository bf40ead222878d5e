"""Keyset paging: pages of a list by the last row seen, never by OFFSET, so page 10,000 costs what page 1 costs."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Select
from sqlalchemy.orm import InstrumentedAttribute

from portal.core.db import db

T = TypeVar("T")

PAGE_SIZE = 25


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page, newest first; `older` and `newer` are the cursors of the neighbouring pages, if there are any."""

    rows: list[T]
    older: str | None
    newer: str | None


def paginate(
    statement: Select[T],
    column: InstrumentedAttribute[int] | ColumnElement[int],
    *,
    before: str | None = None,
    after: str | None = None,
    size: int = PAGE_SIZE,
) -> Page[T]:
    """One page of a statement in falling order of a unique integer column, such as the id.

    `before` and `after` are cursors from the address bar: anything that is not a whole number counts as none.
    """
    older_than, newer_than = cursor(before), cursor(after)
    if newer_than is not None:
        newer = statement.where(column > newer_than).order_by(None).order_by(column.asc()).limit(size + 1)
        rows = list(db.session.scalars(newer).unique())
        has_newer, rows = len(rows) > size, rows[:size][::-1]
        has_older = True
    else:
        if older_than is not None:
            statement = statement.where(column < older_than)
        older = statement.order_by(None).order_by(column.desc()).limit(size + 1)
        # Unique: a statement may load its rows' children in the same query, and then names a row once a child.
        rows = list(db.session.scalars(older).unique())
        has_older, rows = len(rows) > size, rows[:size]
        has_newer = older_than is not None
    key = column.key or "id"
    return Page(
        rows=rows,
        older=str(_value(rows[-1], key)) if rows and has_older else None,
        newer=str(_value(rows[0], key)) if rows and has_newer else None,
    )


def _value(row: Any, key: str) -> int:
    return int(getattr(row, key))


def cursor(text: str | None) -> int | None:
    """A cursor from the address bar, or None for what is no whole number."""
    if not text or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)
