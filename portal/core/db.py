"""The database: declarative base, column types and the unit of work, the only place that commits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from flask import Flask, current_app, g
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, DateTime, Dialect, Engine, Enum, Executable, Integer, MetaData, create_engine, event
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, ORMExecuteState, Session, UOWTransaction
from sqlalchemy.types import TypeDecorator

WRITES = "portal_writes"
_LOCK_TIMEOUT_MS = 3_000
_STATEMENT_TIMEOUT_MS = 10_000
_HOT_POOL = {"pool_size": 4, "max_overflow": 8, "pool_pre_ping": False, "isolation_level": "AUTOCOMMIT"}


class Base(DeclarativeBase):
    """Every table's parent; constraint names follow one convention so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


# 64 bits everywhere on PostgreSQL; SQLite's INTEGER has them anyway, and numbers rows only under that very name.
Base.registry.update_type_annotation_map({int: BigInteger().with_variant(Integer(), "sqlite")})

db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


class UTCDateTime(TypeDecorator[datetime]):
    """An aware UTC instant on both databases; SQLite forgets zones, so a naive value is refused on the way in."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime reached the database")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def status_column(enum: type[StrEnum], name: str) -> Enum:
    """A column type that stores a StrEnum by value, as text with a check, alike on both databases."""
    return Enum(
        enum,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


class NestedUnitOfWork(RuntimeError):
    """A unit of work was opened inside another: the inner one would commit the outer one's half."""


class WriteOutsideUnitOfWork(RuntimeError):
    """Something was written where no unit of work was open: it would be lost, or committed with somebody else's."""


@contextmanager
def unit_of_work() -> Iterator[Session]:
    """One transaction: commits at the end, rolls back on any exception, then runs what waits for the commit.

    Reads before it end their own transaction first, so that SQLite can take its write lock at BEGIN and never has to
    upgrade a read (which it answers with "database is locked" at once, whatever the time-out).
    """
    session: Session = db.session()
    if session.info.get("in_unit"):
        raise NestedUnitOfWork
    if session.new or session.dirty or session.deleted:
        raise WriteOutsideUnitOfWork(str(list(session.new) + list(session.dirty) + list(session.deleted)))
    if session.in_transaction():
        session.commit()
    session.info["in_unit"] = True
    session.info["after_commit"] = []
    try:
        session.connection(execution_options={WRITES: True})
        yield session
        session.commit()
        g.has_committed = True
    except BaseException:
        session.rollback()
        raise
    finally:
        session.info["in_unit"] = False
        callbacks: list[Callable[[], None]] = session.info.pop("after_commit")
    for callback in callbacks:
        callback()


@event.listens_for(db.session, "before_flush")
def _refuse_stray_flush(session: Session, _context: UOWTransaction, _instances: Sequence[object] | None) -> None:
    if not session.info.get("in_unit"):
        raise WriteOutsideUnitOfWork(str([*session.new, *session.dirty, *session.deleted]))


@event.listens_for(db.session, "do_orm_execute")
def _refuse_stray_statement(state: ORMExecuteState) -> None:
    if not state.is_select and not state.session.info.get("in_unit") and _writes(state):
        raise WriteOutsideUnitOfWork(str(state.statement))


def _writes(state: ORMExecuteState) -> bool:
    return state.is_insert or state.is_update or state.is_delete


def in_unit_of_work() -> bool:
    """Whether a transaction of ours is open, where a network call would hold its locks."""
    return bool(db.session().info.get("in_unit"))


def stop_reading() -> None:
    """Give the connection back before something slow, such as another server. Raises NestedUnitOfWork inside a unit.

    What was read is read anew when it is needed again.
    """
    if in_unit_of_work():
        raise NestedUnitOfWork("a transaction is open, and would stay open while another server thinks")
    db.session.rollback()


def after_commit(callback: Callable[[], None]) -> None:
    """Run `callback` once the current unit of work has committed; it must not raise and may be lost in a crash."""
    callbacks: list[Callable[[], None]] = db.session().info["after_commit"]
    if callback not in callbacks:
        callbacks.append(callback)


@contextmanager
def hot_connection() -> Iterator[Connection]:
    """A plain connection for the one statement that must be cheap; what it does is committed when the block ends.

    On PostgreSQL each statement commits by itself, which saves two round trips, and a dead connection is not looked for
    beforehand: whoever uses this repeats its statement once when `connection_invalidated` says so. Raises
    NestedUnitOfWork inside a unit of work or a rehearsal: its statement would stay, whatever becomes of them.
    """
    if db.session.registry.has() and db.session().info.get("in_unit"):
        raise NestedUnitOfWork
    engine: Engine = current_app.extensions["hot_engine"]
    with engine.connect() as connection:
        yield connection.execution_options(**{WRITES: True})
        connection.commit()
        g.has_committed = True


def read_alone(statement: Executable) -> Sequence[Any]:
    """The one row of a statement that needs no transaction around it, such as "has anything changed".

    On PostgreSQL it skips the begin, the roll-back and the look for a dead connection, which is replaced once.
    """
    engine: Engine = current_app.extensions["hot_engine"]
    try:
        with engine.connect() as connection:
            return connection.execute(statement).one()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    with engine.connect() as connection:
        return connection.execute(statement).one()


def is_postgresql() -> bool:
    """Whether the application's database is PostgreSQL (else it is SQLite)."""
    return db.engine.dialect.name == "postgresql"


def engine_options(url: str) -> dict[str, Any]:
    """Pool and connection settings for a database URL: every wait is bounded, dead connections are replaced."""
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": 15, "check_same_thread": False}}
    return {
        "pool_pre_ping": True,
        "pool_size": 8,
        "max_overflow": 8,
        "pool_timeout": 2,
        "connect_args": {
            "connect_timeout": 2,
            "options": (
                f"-c lock_timeout={_LOCK_TIMEOUT_MS} -c statement_timeout={_STATEMENT_TIMEOUT_MS} -c timezone=UTC"
            ),
        },
    }


def init_app(app: Flask) -> None:
    """Attach the database to the application."""
    db.init_app(app)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            _prepare_sqlite(db.engine)
            app.extensions["hot_engine"] = db.engine
        else:
            options = {**engine_options(str(app.config["DATABASE_URL"])), **_HOT_POOL}
            app.extensions["hot_engine"] = create_engine(app.config["DATABASE_URL"], **options)


def dispose(app: Flask) -> None:
    """Close every pooled connection of an application, as a process does that is about to end."""
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
        app.extensions["hot_engine"].dispose()


def meet(app: Flask) -> None:
    """Learn what the database is and can do, for processes that are forked from here: each would ask anew with its
    first connection. None stays open; a database that is away is met later."""
    with app.app_context(), suppress(DBAPIError):
        for engine in {db.engine, app.extensions["hot_engine"]}:
            engine.connect().close()
    dispose(app)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling is switched off: `on_begin` below opens them.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=15000")
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL: an answered webhook is a promise that survives a power cut.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
