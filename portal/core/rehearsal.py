"""Trying something out: the work runs in a transaction that is always rolled back, and every row it would have written
is told, column by column.

What waits for the commit (waking workers) is dropped with it. The differences are read from the statements themselves,
so that it makes no difference whether an object, a bulk statement or `state.transition()` wrote.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar, cast

import structlog
from flask_babel import lazy_gettext as _l
from sqlalchemy import Connection, Delete, Executable, Insert, Row, Table, Update, event, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from portal.core.audit import is_secret
from portal.core.db import WRITES, NestedUnitOfWork, db, is_postgresql
from portal.core.errors import Unavailable

T = TypeVar("T")

log = structlog.get_logger(__name__)

# Others wait for the rows a rehearsal has touched, so it gives up early. In the order of PostgreSQL's own settings.
_BOUNDS = {"lock_timeout": "500ms", "statement_timeout": "2s", "idle_in_transaction_session_timeout": "5s"}
_BUSY = {"40001", "40P01", "55P03", "57014"}
# A statement that touches more rows than this is told as far as that.
_MOST_ROWS = 200
_LONGEST_VALUE = 2_000
_rehearsing: ContextVar[bool] = ContextVar("rehearsing", default=False)


class Busy(Unavailable):
    """Somebody else holds what the rehearsal wants to look at."""

    default = _l("Somebody is working on this right now. Nothing was changed; try again in a moment.")


class CommitInRehearsal(RuntimeError):
    """Something wanted to keep what a rehearsal must not: a bug of the work that was rehearsed."""


@dataclass(frozen=True, slots=True)
class Value:
    """One column of a row that would be written; None before an insert and after a deletion."""

    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that would be written: `kind` is insert, update or delete."""

    table: str
    key: str
    kind: str
    values: tuple[Value, ...]

    def after(self, column: str) -> str | None:
        """What a column would hold, when it would change."""
        return next((one.after for one in self.values if one.column == column), None)


@dataclass(frozen=True, slots=True)
class Rehearsed(Generic[T]):
    """What would happen: the work's own answer, every row in the order of its first touch, or why it would fail."""

    result: T | None
    changes: tuple[RowChange, ...]
    error: Exception | None = None


def is_rehearsal() -> bool:
    """Whether what runs now will be rolled back."""
    return _rehearsing.get()


def rehearse(work: Callable[[], T]) -> Rehearsed[T]:
    """Run `work` as a unit of work would, tell what it would write, and roll it back, whatever happens.

    An exception of the work is part of the answer. Raises Busy when a row is held by somebody else for too long,
    NestedUnitOfWork inside a transaction. `work` must not talk to other servers: the rows it touches are locked.
    """
    with _rolled_back() as session:
        watch = _Watch()
        result: T | None = None
        error: Exception | None = None
        connection = session.connection()
        event.listen(connection, "before_execute", watch.note)
        try:
            result = work()
            session.flush()
        except Exception as problem:  # noqa: BLE001  # how it would fail is what staff want to know
            _stop_if_busy(problem)
            error = problem
        finally:
            event.remove(connection, "before_execute", watch.note)
        changes = () if error is not None else tuple(watch.differences(connection))
    return Rehearsed(result, changes, error)


@contextmanager
def _rolled_back() -> Iterator[Session]:
    session: Session = db.session()
    if session.info.get("in_unit"):
        raise NestedUnitOfWork
    session.rollback()
    options: dict[str, Any] = {WRITES: True}
    if is_postgresql():
        # One moment for all reads, so that rows which others commit meanwhile are not taken for ours.
        options["isolation_level"] = "REPEATABLE READ"
    session.info["in_unit"] = True
    session.info["after_commit"] = []
    token = _rehearsing.set(True)
    event.listen(session, "before_commit", _refuse_commit)
    try:
        with structlog.contextvars.bound_contextvars(rehearsal=True):
            session.connection(execution_options=options)
            if is_postgresql():
                for name, bound in _BOUNDS.items():
                    session.execute(text("SELECT set_config(:name, :bound, true)"), {"name": name, "bound": bound})
            yield session
    except DBAPIError as error:
        _stop_if_busy(error)
        raise
    finally:
        event.remove(session, "before_commit", _refuse_commit)
        _rehearsing.reset(token)
        session.info["in_unit"] = False
        session.info.pop("after_commit")
        session.rollback()


def _refuse_commit(session: Session) -> None:
    # The end of a savepoint is announced in the same way, and keeps nothing.
    if not session.in_nested_transaction():
        raise CommitInRehearsal


def _stop_if_busy(error: Exception) -> None:
    if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _BUSY:
        log.info("rehearsal_busy", state=getattr(error.orig, "sqlstate", None))
        raise Busy from error


Key = tuple[Any, ...]
Values = dict[str, Any]


@dataclass
class _Touched:
    """What is known of a table before the work wrote to it: the last id, and the rows that were written to."""

    table: Table
    last_id: int | None
    before: dict[Key, Values] = field(default_factory=dict)
    is_inserted_to: bool = False
    # Every row was read before the first was written to, so one that is not among them is ours.
    is_known_whole: bool = False

    @property
    def has_ids(self) -> bool:
        keys = list(self.table.primary_key.columns)
        return len(keys) == 1 and keys[0].name == "id"

    def key_of(self, values: Mapping[str, Any]) -> Key:
        return tuple(values[column.name] for column in self.table.primary_key.columns)


class _Watch:
    """Listens to the statements of one connection and reads the rows they are about to change."""

    def __init__(self) -> None:
        self._tables: dict[str, _Touched] = {}

    def note(
        self,
        connection: Connection,
        statement: Executable,
        many: Sequence[Mapping[str, Any]],
        single: Mapping[str, Any],
        _options: Mapping[str, Any],
    ) -> None:
        if not isinstance(statement, Insert | Update | Delete) or not isinstance(statement.table, Table):
            return
        touched = self._touch(connection, statement.table)
        if isinstance(statement, Insert):
            touched.is_inserted_to = True
            return
        for parameters in many or [single]:
            wanted = select(touched.table).order_by(*touched.table.primary_key.columns).limit(_MOST_ROWS)
            if statement.whereclause is not None:
                wanted = wanted.where(statement.whereclause)
            for row in connection.execute(wanted, dict(parameters)):
                values = _values(touched.table, row)
                if not touched.is_known_whole:
                    touched.before.setdefault(touched.key_of(values), values)

    def _touch(self, connection: Connection, table: Table) -> _Touched:
        touched = self._tables.get(table.name)
        if touched is None:
            touched = self._tables[table.name] = _Touched(table, None)
            if touched.has_ids:
                touched.last_id = connection.execute(select(func.max(table.c.id))).scalar() or 0
            else:
                # Tables without ids are small: number series.
                for row in connection.execute(select(table).limit(_MOST_ROWS)):
                    values = _values(table, row)
                    touched.before[touched.key_of(values)] = values
                touched.is_known_whole = len(touched.before) < _MOST_ROWS
        return touched

    def differences(self, connection: Connection) -> Iterator[RowChange]:
        """Every row that differs from what it was, as text."""
        for touched in self._tables.values():
            for key, before in touched.before.items():
                is_new = touched.last_id is not None and touched.has_ids and key[0] > touched.last_id
                if not is_new:
                    yield from _difference(touched, key, before, _read(connection, touched.table, key))
            if touched.is_inserted_to:
                yield from _inserted(connection, touched)


def _inserted(connection: Connection, touched: _Touched) -> Iterator[RowChange]:
    table = touched.table
    wanted = select(table).limit(_MOST_ROWS)
    if touched.has_ids:
        wanted = wanted.where(table.c.id > touched.last_id).order_by(table.c.id)
    for row in connection.execute(wanted):
        values = _values(table, row)
        key = touched.key_of(values)
        if key not in touched.before or touched.has_ids:
            shown = tuple(
                Value(name, None, _shown(name, value)) for name, value in values.items() if value not in (None, "")
            )
            yield RowChange(table.name, _name_of(key), "insert", shown)


def _difference(touched: _Touched, key: Key, before: Values, after: Values | None) -> Iterator[RowChange]:
    name = touched.table.name
    if after is None:
        gone = tuple(Value(column, _shown(column, value), None) for column, value in before.items())
        yield RowChange(name, _name_of(key), "delete", gone)
        return
    changed = tuple(
        Value(column, _shown(column, value), _shown(column, after[column]))
        for column, value in before.items()
        if value != after[column]
    )
    if changed:
        yield RowChange(name, _name_of(key), "update", changed)


def _read(connection: Connection, table: Table, key: Key) -> Values | None:
    where = [column == value for column, value in zip(table.primary_key.columns, key, strict=True)]
    row = connection.execute(select(table).where(*where)).first()
    return None if row is None else _values(table, row)


def _values(table: Table, row: Row[Any]) -> Values:
    # By place: a mapped attribute may have another name than its column.
    return {column.name: value for column, value in zip(table.columns, row, strict=True)}


def _name_of(key: Key) -> str:
    return ", ".join(str(part) for part in key)


def _shown(column: str, value: Any) -> str | None:
    """A value as staff read it; secrets never are."""
    if value is None:
        return None
    if is_secret(column):
        return "[hidden]"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, dict | list):
        shown = json.dumps(value, ensure_ascii=False, default=str)
    else:
        shown = str(cast("object", getattr(value, "value", value)))
    return shown if len(shown) <= _LONGEST_VALUE else f"{shown[:_LONGEST_VALUE]} …"
