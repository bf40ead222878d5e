"""Lists as CSV: streamed, read by key in batches, and harmless in a spreadsheet."""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

from flask import Response, stream_with_context
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from portal.core.db import db, stop_reading
from portal.core.money import Money

R = TypeVar("R")

BATCH = 500
# A spreadsheet takes a cell that begins with one of these for a formula, and runs it. The apostrophe makes it text,
# and stands before text that begins with one itself, so that taking the first away always gives what was written.
# https://owasp.org/www-community/attacks/CSV_Injection
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def safe_cell(value: object) -> str:
    """A value as text that no spreadsheet runs."""
    text = "" if value is None else value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)
    return f"'{text}" if text.startswith(_DANGEROUS) else text


def plain_cell(text: str) -> str:
    """What `safe_cell` was given, as text: for whoever reads an export with a program."""
    return text.removeprefix("'")


def amount_cell(amount_minor: int, currency: str) -> str:
    """An amount in major units, with a point, whatever the reader's language: programs read it too."""
    return str(Money(amount_minor, currency).to_decimal())


def csv_lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a CSV file; the first begins with the mark by which spreadsheets know UTF-8."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow(header)
    for row in rows:
        writer.writerow([safe_cell(value) for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def all_rows(statement: Select[R], column: InstrumentedAttribute[int]) -> Iterator[R]:
    """Every row of a statement, newest first, in batches by key: memory and locks stay small however long it is."""
    last: int | None = None
    while True:
        batch = statement if last is None else statement.where(column < last)
        rows: list[Any] = list(db.session.scalars(batch.order_by(column.desc()).limit(BATCH)))
        yield from rows
        if len(rows) < BATCH:
            return
        last = int(getattr(rows[-1], column.key))
        # What was written out is not needed any more; without this the session would hold the whole table.
        stop_reading()
        db.session.expunge_all()


def csv_answer(name: str, header: Sequence[str], rows: Iterable[R], cells: Callable[[R], Sequence[object]]) -> Response:
    """A CSV file as the answer to a request, sent while it is made."""
    lines = csv_lines(header, (cells(row) for row in rows))
    return Response(
        stream_with_context(lines),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"},
    )
