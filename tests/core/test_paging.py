"""Lists by the last row seen: forwards, backwards, at both ends, and with cursors nobody made."""

import pytest
from flask import Flask
from sqlalchemy import Select, event, select

from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.paging import PAGE_SIZE, Page, paginate


def make(count: int) -> None:
    with unit_of_work():
        db.session.add_all([AuditEvent(event=f"e{n % 2}", actor="test", at=clock.now()) for n in range(count)])


def everything() -> Select[AuditEvent]:
    return select(AuditEvent)


def page(before: str | None = None, after: str | None = None, size: int = 3) -> Page[AuditEvent]:
    return paginate(everything(), AuditEvent.id, before=before, after=after, size=size)


def ids(found: Page[AuditEvent]) -> list[int]:
    return [row.id for row in found.rows]


def test_an_empty_list_has_one_page(app: Flask) -> None:
    assert page() == Page(rows=[], older=None, newer=None)


@pytest.mark.parametrize("count", [1, 3])
def test_a_list_that_fits_has_one_page(app: Flask, count: int) -> None:
    make(count)
    found = page()
    assert ids(found) == list(range(count, 0, -1))
    assert (found.older, found.newer) == (None, None)


@pytest.mark.parametrize("count", [4, 6, 7, 20])
def test_walking_to_the_end_and_back_sees_every_row_once(app: Flask, count: int) -> None:
    make(count)
    there, found = [page()], page()
    while found.older:
        found = page(before=found.older)
        there.append(found)
    assert [one for found in there for one in ids(found)] == list(range(count, 0, -1))
    assert there[-1].older is None
    back, found = [there[-1]], there[-1]
    while found.newer:
        found = page(after=found.newer)
        back.append(found)
    seen = [one for found in reversed(back) for one in ids(found)]
    assert seen == list(range(count, 0, -1))
    assert back[-1].newer is None


def test_rows_that_come_while_one_reads_shift_nothing(app: Flask) -> None:
    """What OFFSET gets wrong: a new row pushes the last one of this page on to the next."""
    make(6)
    first = page()
    make(2)
    assert ids(page(before=first.older)) == [3, 2, 1]
    assert ids(page(after=first.newer or str(first.rows[0].id))) == [8, 7]


def test_a_page_behind_the_last_row_is_empty_and_leads_nowhere(app: Flask) -> None:
    make(3)
    assert page(before="1").rows == []
    assert page(after="3").rows == []


@pytest.mark.parametrize(
    "cursor", ["", "-1", "1.5", "1e3", "abc", "1; DROP TABLE", "٣", "²", "9" * 19, "0x10", " 1", "1\x00", "+1", "None"]
)
def test_a_cursor_that_is_none_shows_the_first_page(app: Flask, cursor: str) -> None:
    make(5)
    assert ids(page(before=cursor)) == [5, 4, 3]
    assert ids(page(after=cursor)) == [5, 4, 3]


@pytest.mark.parametrize("cursor", ["0", "9" * 18])
def test_a_cursor_beyond_everything_is_harmless(app: Flask, cursor: str) -> None:
    make(5)
    assert ids(page(before=cursor)) in ([], [5, 4, 3])
    assert ids(page(after=cursor)) in ([], [3, 2, 1])


def test_filters_and_orders_of_the_statement_are_kept_or_replaced(app: Flask) -> None:
    make(9)
    odd = select(AuditEvent).where(AuditEvent.event == "e1").order_by(AuditEvent.at)
    found = paginate(odd, AuditEvent.id, size=3)
    assert ids(found) == [8, 6, 4]
    assert ids(paginate(odd, AuditEvent.id, before=found.older, size=3)) == [2]


def test_a_page_is_one_statement_that_neither_counts_nor_skips(app: Flask) -> None:
    make(30)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith("SELECT"):
            statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        found = paginate(everything(), AuditEvent.id, before="29")
    finally:
        event.remove(db.engine, "before_cursor_execute", note)
    assert len(found.rows) == PAGE_SIZE
    assert len(statements) == 1
    assert "count(" not in statements[0].lower()
    # For SQLite, SQLAlchemy always writes OFFSET, and binds nothing to it.
    assert ("offset" in statements[0].lower()) == (db.engine.dialect.name == "sqlite")
