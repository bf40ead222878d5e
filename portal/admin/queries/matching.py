"""Comparing what somebody typed with a column, the same on both databases."""

from typing import Any

from sqlalchemy import ColumnElement, literal, or_
from sqlalchemy.orm import InstrumentedAttribute

from portal.core.db import db, is_postgresql

_ESCAPE = "\\"
_MOST_WORDS = 5
_UUID_LENGTH = 36


def is_named(column: InstrumentedAttribute[Any], typed: str, *among: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the column is what was typed; only when nothing is, whether it begins with it.

    Asking first is what makes a whole number or address cheap: PostgreSQL's ordinary indexes find equals, and no
    beginnings unless the database sorts by bytes.
    """
    is_whole = db.session.scalar(db.select(literal(1)).where(column == typed, *among).limit(1))
    return column == typed if is_whole else starts_with(column, typed)


def is_id(column: InstrumentedAttribute[Any], typed: str) -> ColumnElement[bool]:
    """Whether the column is the uuid that was typed, or begins with the part of one that pages show."""
    public_id = typed.lower()
    return column == public_id if len(public_id) == _UUID_LENGTH else starts_with(column, public_id)


def starts_with(column: InstrumentedAttribute[Any], typed: str) -> ColumnElement[bool]:
    """Whether the column begins with what was typed, letter for letter."""
    return column.startswith(typed, autoescape=True, escape=_ESCAPE)


def has_words(column: InstrumentedAttribute[Any], typed: str) -> ColumnElement[bool]:
    """Whether every word that was typed stands somewhere in the column, in capitals or not."""
    found: ColumnElement[bool] | None = None
    for word in typed.split()[:_MOST_WORDS]:
        one = or_(*(column.icontains(each, autoescape=True, escape=_ESCAPE) for each in _spellings(word)))
        found = one if found is None else found & one
    if found is None:
        raise ValueError("nothing was typed")
    return found


def _spellings(word: str) -> list[str]:
    """SQLite knows capitals of ASCII only, so "łukasz" is also looked for as "Łukasz" and "ŁUKASZ"."""
    return [word] if is_postgresql() else sorted({word, word.lower(), word.title(), word.upper()})
