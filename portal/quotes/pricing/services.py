"""Keeping the price book: drafts, publishing, import. Each function takes who acts and when.

A version that was published never changes again: quotes name it, and "recalculate" must find what it found then.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select, text

from portal.core import audit
from portal.core.db import db, is_postgresql
from portal.core.errors import Invalid
from portal.quotes.pricing.book import PriceBook, read_book, write_book
from portal.quotes.pricing.comparing import differences
from portal.quotes.pricing.errors import (
    InvalidPriceBook,
    NoPriceBook,
    PriceBookChanged,
    PriceBookNotFound,
    PriceBookOvertaken,
    PriceBookPublished,
)
from portal.quotes.pricing.models import PriceBookVersion
from portal.quotes.pricing.schema import Content, Problem

MAX_BYTES = 1024 * 1024
_LONGEST_NOTE = 500
# The transaction-level lock that all writers of the price book take: any number, but the same one.
_LOCK_NUMBER = 7_261_002


@dataclass(frozen=True, slots=True)
class Import:
    """What came of importing a file: the version that holds its prices, and whether it is a new one."""

    version: PriceBookVersion
    is_new: bool


def find_current(at: datetime) -> PriceBookVersion | None:
    """The version in force at a time: the one published last before it."""
    return db.session.scalar(
        select(PriceBookVersion)
        .where(PriceBookVersion.published_at.is_not(None), PriceBookVersion.published_at <= at)
        .order_by(PriceBookVersion.published_at.desc(), PriceBookVersion.id.desc())
        .limit(1)
    )


def current_book(at: datetime) -> tuple[PriceBookVersion, PriceBook]:
    """The version in force and what it says. Raises NoPriceBook before the first was published."""
    version = find_current(at)
    if version is None:
        raise NoPriceBook
    return version, read_book(version.content)


def get_version(version_id: int) -> PriceBookVersion:
    """A version, published or not. Raises PriceBookNotFound."""
    version = db.session.get(PriceBookVersion, version_id)
    if version is None:
        raise PriceBookNotFound
    return version


def start_draft(*, by: str, by_id: int | None = None, at: datetime) -> PriceBookVersion:
    """Begin a new version with the prices that are in force. Raises NoPriceBook when there are none to begin with."""
    _lock()
    current = _newest_published()
    if current is None:
        raise NoPriceBook
    return _add_draft(current.content, current.number, by=by, by_id=by_id, at=at)


def import_draft(content: bytes, *, by: str, by_id: int | None = None, at: datetime) -> PriceBookVersion:
    """Begin a new version with the prices of a file. Raises InvalidPriceBook, naming every field that is wrong."""
    book = read_file(content)
    _lock()
    current = _newest_published()
    return _add_draft(write_book(book), current.number if current else None, by=by, by_id=by_id, at=at)


def save_draft(
    version_id: int, content: Content, *, by: str, at: datetime, seen_at: datetime | None = None
) -> PriceBookVersion:
    """Change what a draft says; saving the same again changes nothing.

    `seen_at` is the `updated_at` the editor's form was made from: somebody else's change since then is not
    overwritten. Raises InvalidPriceBook, PriceBookNotFound, PriceBookPublished or PriceBookChanged.
    """
    written = write_book(read_book(content))
    _lock()
    draft = _load_draft(version_id)
    if seen_at is not None and draft.updated_at != seen_at:
        raise PriceBookChanged
    if draft.content == written:
        return draft
    changes = differences(draft.content, written)
    draft.content = written
    draft.updated_at = at
    audit.record(
        "price_book.edited",
        actor=by,
        subject=_subject(draft),
        before={change.path: change.before for change in changes},
        after={change.path: change.after for change in changes},
    )
    return draft


def rebase_draft(version_id: int, *, by: str, at: datetime) -> PriceBookVersion:
    """Confirm that a draft shall replace the version that is in force now, published since the draft was begun.

    Its own prices stay as they are. Raises PriceBookNotFound or PriceBookPublished.
    """
    _lock()
    draft = _load_draft(version_id)
    current = _newest_published()
    number = current.number if current else None
    if draft.based_on != number:
        before, draft.based_on, draft.updated_at = draft.based_on, number, at
        audit.record(
            "price_book.rebased",
            actor=by,
            subject=_subject(draft),
            before={"based_on": before},
            after={"based_on": number},
        )
    return draft


def discard_draft(version_id: int, *, by: str) -> None:
    """Throw a draft away. Raises PriceBookNotFound or PriceBookPublished."""
    _lock()
    draft = _load_draft(version_id)
    audit.record("price_book.discarded", actor=by, subject=_subject(draft), before={"number": draft.number})
    db.session.delete(draft)


def put_in_force(
    version_id: int, *, note: str, by: str, at: datetime, seen_at: datetime | None = None
) -> PriceBookVersion:
    """Put a draft's prices into force. Drafts of quotes follow; whatever was submitted keeps its version.

    Raises PriceBookNotFound; PriceBookPublished when it is in force already; PriceBookChanged when it is no longer
    what the publisher saw; PriceBookOvertaken when another version was published since the draft was begun, whose
    changes it would undo unseen.
    """
    _check_note(note)
    # Two publishers: both would find the same version in force and each replace it, the second undoing the first.
    # The lock lets the second in only when the first has committed, and then it finds another version in force.
    _lock()
    draft = _load_draft(version_id)
    if seen_at is not None and draft.updated_at != seen_at:
        raise PriceBookChanged
    current = _newest_published()
    if draft.based_on != (current.number if current else None):
        raise PriceBookOvertaken
    read_book(draft.content)
    draft.note = note.strip()
    draft.published_at = draft.updated_at = _after(current, at)
    draft.published_by = by
    audit.record(
        "price_book.published",
        actor=by,
        subject=_subject(draft),
        before={"number": current.number if current else None},
        after={"number": draft.number},
        detail=draft.note,
    )
    return draft


def import_book(content: bytes, *, note: str, by: str, at: datetime) -> Import:
    """Put the prices of a file into force at once; when they are in force already, nothing changes.

    Raises InvalidPriceBook, naming every field that is wrong.
    """
    book = read_file(content)
    _lock()
    current = _newest_published()
    if current is not None and current.content == write_book(book):
        return Import(current, is_new=False)
    draft = _add_draft(write_book(book), current.number if current else None, by=by, by_id=None, at=at)
    return Import(put_in_force(draft.id, note=note, by=by, at=at), is_new=True)


def read_file(content: bytes) -> PriceBook:
    """The price book in a JSON file. Raises InvalidPriceBook."""
    if len(content) > MAX_BYTES:
        raise InvalidPriceBook([Problem("file", _l("is larger than 1 MB"))])
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InvalidPriceBook([Problem("file", _l("is not JSON: %(reason)s", reason=str(error)))]) from None
    return read_book(document)


def _check_note(note: str) -> None:
    if not 3 <= len(note.strip()) <= _LONGEST_NOTE or not note.isprintable():
        raise Invalid(_l("Say in one line of 3 to 500 characters what changes."), field="note")


def _lock() -> None:
    """Let one writer of the price book in at a time; SQLite does that for every unit of work."""
    if is_postgresql():
        db.session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})


def _newest_published() -> PriceBookVersion | None:
    return db.session.scalar(
        select(PriceBookVersion)
        .where(PriceBookVersion.published_at.is_not(None))
        .order_by(PriceBookVersion.published_at.desc(), PriceBookVersion.id.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    )


def _after(current: PriceBookVersion | None, at: datetime) -> datetime:
    """Now, but always after the version it replaces: clocks of two hosts may differ, and the last one is in force."""
    if current is None or current.published_at is None:
        return at
    return max(at, current.published_at + timedelta(microseconds=1))


def _load_draft(version_id: int) -> PriceBookVersion:
    draft = db.session.get(PriceBookVersion, version_id, populate_existing=True)
    if draft is None:
        raise PriceBookNotFound
    if draft.published_at is not None:
        raise PriceBookPublished
    return draft


def _add_draft(
    content: Mapping[str, Any], based_on: int | None, *, by: str, by_id: int | None, at: datetime
) -> PriceBookVersion:
    last = db.session.scalar(select(func.max(PriceBookVersion.number))) or 0
    draft = PriceBookVersion(
        number=last + 1,
        content=dict(content),
        based_on=based_on,
        note="",
        created_by_id=by_id,
        created_at=at,
        updated_at=at,
    )
    db.session.add(draft)
    db.session.flush()
    audit.record("price_book.drafted", actor=by, subject=_subject(draft), after={"number": draft.number})
    return draft


def _subject(version: PriceBookVersion) -> str:
    return f"price_book_versions:{version.id}"
