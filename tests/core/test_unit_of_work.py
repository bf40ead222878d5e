"""One transaction at a time, committed or rolled back whole, and nothing written beside it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import pytest
from flask import Flask
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from portal import create_app
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import (
    NestedUnitOfWork,
    UTCDateTime,
    WriteOutsideUnitOfWork,
    after_commit,
    db,
    dispose,
    hot_connection,
    in_unit_of_work,
    meet,
    unit_of_work,
)
from portal.core.numbering import NumberSequence
from tests.crowd import all_at_once


def make_event(event: str = "test.happened") -> AuditEvent:
    return AuditEvent(event=event, actor="test", at=clock.now())


def events() -> list[str]:
    """What is committed, as another connection sees it."""
    with db.engine.connect() as connection:
        return list(connection.scalars(select(AuditEvent.event).order_by(AuditEvent.id)))


def test_it_commits_at_the_end(app: Flask) -> None:
    with unit_of_work():
        db.session.add(make_event())
        db.session.flush()
        assert events() == []
    assert events() == ["test.happened"]


@pytest.mark.parametrize("trouble", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_exception_takes_everything_back(app: Flask, trouble: type[BaseException]) -> None:
    with pytest.raises(trouble), unit_of_work():
        db.session.add(make_event())
        db.session.flush()
        raise trouble
    assert events() == []
    with unit_of_work():
        db.session.add(make_event("after"))
    assert events() == ["after"]


def test_a_commit_that_fails_takes_everything_back(app: Flask) -> None:
    with pytest.raises(IntegrityError), unit_of_work():
        db.session.add(make_event())
        db.session.add_all([NumberSequence(series="X", value=1)])
        db.session.flush()
        db.session.execute(insert(NumberSequence).values(series="X", value=2))
    assert events() == []
    assert not in_unit_of_work()


def test_one_inside_another_is_refused_and_the_outer_one_goes_on(app: Flask) -> None:
    with unit_of_work():
        db.session.add(make_event("outer"))
        with pytest.raises(NestedUnitOfWork), unit_of_work():
            db.session.add(make_event("inner"))
    assert events() == ["outer"]


def test_objects_changed_before_it_are_refused(app: Flask) -> None:
    db.session.add(make_event())
    with pytest.raises(WriteOutsideUnitOfWork), unit_of_work():
        pass
    db.session.rollback()
    assert events() == []


@pytest.mark.parametrize(
    "write",
    [
        lambda: (db.session.add(make_event()), db.session.flush()),
        lambda: db.session.execute(insert(AuditEvent).values(event="x", actor="x", at=clock.now())),
        lambda: db.session.execute(update(NumberSequence).values(value=2)),
        lambda: db.session.execute(delete(NumberSequence)),
        lambda: (db.session.add(make_event()), db.session.scalars(select(AuditEvent)).all()),
    ],
    ids=["flush", "insert", "update", "delete", "autoflush"],
)
def test_a_write_without_it_is_refused_at_once(app: Flask, write: Callable[[], object]) -> None:
    """Else it would be lost with the request, or committed by the next unit of work that happens to follow."""
    with pytest.raises(WriteOutsideUnitOfWork):
        write()
    db.session.rollback()
    assert events() == []


def test_what_was_read_before_it_stays_readable(app: Flask) -> None:
    with unit_of_work():
        db.session.add(make_event())
    event = db.session.scalars(select(AuditEvent)).one()
    with unit_of_work():
        event.detail = "seen"
    assert event.detail == "seen"
    assert db.session.get_one(AuditEvent, event.id) is event


def test_callbacks_run_after_the_commit_once_each(app: Flask) -> None:
    seen: list[list[str]] = []

    def look() -> None:
        seen.append(events())

    with unit_of_work():
        after_commit(look)
        after_commit(look)
        db.session.add(make_event())
    assert seen == [["test.happened"]]


def test_callbacks_of_what_was_rolled_back_never_run(app: Flask) -> None:
    seen: list[int] = []
    with pytest.raises(ValueError), unit_of_work():
        after_commit(lambda: seen.append(1))
        raise ValueError
    with unit_of_work():
        pass
    assert seen == []


def test_it_knows_whether_it_is_open(app: Flask) -> None:
    assert not in_unit_of_work()
    with unit_of_work():
        assert in_unit_of_work()
    assert not in_unit_of_work()


def test_the_hot_connection_commits_and_rolls_back(app: Flask) -> None:
    with hot_connection() as connection:
        connection.execute(insert(AuditEvent).values(event="hot", actor="x", at=clock.now()))
    assert events() == ["hot"]


def test_a_naive_time_never_reaches_the_database(app: Flask) -> None:
    naive = clock.now().replace(tzinfo=None)
    with pytest.raises(Exception, match="naive"), unit_of_work():
        db.session.add(AuditEvent(event="x", actor="x", at=naive))
    with pytest.raises(ValueError, match="naive"):
        UTCDateTime().process_bind_param(naive, db.engine.dialect)
    with unit_of_work():
        db.session.add(AuditEvent(event="x", actor="x", at=clock.now()))
    assert db.session.scalars(select(AuditEvent.at)).one().utcoffset() is not None


WRITERS, EACH = 16, 5


def count_up(app: Flask) -> list[object]:
    """Every writer reads, thinks, and writes one more, several times; what went wrong, if anything."""

    def write() -> object:
        for _ in range(EACH):
            with unit_of_work():
                row = db.session.get_one(NumberSequence, "race", with_for_update=True, populate_existing=True)
                time.sleep(0.002)
                row.value += 1
        return None

    return [result for result in all_at_once(app, [write] * WRITERS) if result is not None]


def make_counter() -> None:
    with unit_of_work():
        db.session.add(NumberSequence(series="race", value=0))


def counter() -> int:
    with db.engine.connect() as connection:
        return int(connection.scalars(select(NumberSequence.value)).one())


def test_sixteen_writers_wait_for_each_other_and_nobody_is_told_that_it_is_locked(app: Flask) -> None:
    make_counter()
    assert count_up(app) == []
    assert counter() == WRITERS * EACH


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_control_without_begin_immediate_writers_are_told_that_it_is_locked(app: Flask) -> None:
    """A read that wants to become a write cannot wait: SQLite answers "database is locked" at once."""
    make_counter()

    def write_carelessly() -> None:
        with db.engine.begin() as connection:
            value = connection.scalars(select(NumberSequence.value)).one()
            time.sleep(0.05)
            connection.execute(update(NumberSequence).values(value=value + 1))

    problems = [result for result in all_at_once(app, [write_carelessly] * WRITERS) if result is not None]
    assert problems
    assert all(isinstance(problem, OperationalError) and "locked" in str(problem) for problem in problems)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_read_on_sqlite_does_not_wait_for_a_writer(app: Flask) -> None:
    make_counter()
    inside, done = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with app.app_context():
            with unit_of_work():
                db.session.execute(update(NumberSequence).values(value=7))
                inside.set()
                done.wait(10)
            db.session.remove()

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert inside.wait(10)
    started = time.monotonic()
    assert counter() == 0
    assert time.monotonic() - started < 1
    done.set()
    writer.join()
    assert counter() == 7


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_sqlite_keeps_what_it_has_promised(app: Flask) -> None:
    """An answered webhook survives a power cut, and references hold."""
    with db.engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15000}


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_postgresql_bounds_every_wait(app: Flask) -> None:
    with db.engine.connect() as connection:
        found = {
            name: connection.execute(text(f"SHOW {name}")).scalar()
            for name in ("lock_timeout", "statement_timeout", "TimeZone", "synchronous_commit")
        }
    assert found == {"lock_timeout": "3s", "statement_timeout": "10s", "TimeZone": "UTC", "synchronous_commit": "on"}


def test_who_forks_has_met_the_database_and_holds_no_connection(app: Flask) -> None:
    """What is forked afterwards finds the driver's questions answered."""
    fresh = create_app(app.config["SETTINGS"])
    with (
        fresh.app_context(),
        patch.object(db.engine.dialect, "initialize", wraps=db.engine.dialect.initialize) as asked,
    ):
        meet(fresh)
        asked.assert_called_once()
        assert db.engine.pool.checkedin() == db.engine.pool.checkedout() == 0
        with db.engine.connect() as connection:
            assert connection.scalar(text("SELECT 1")) == 1
        asked.assert_called_once()
    dispose(fresh)


def test_a_database_that_is_away_is_met_later(app: Flask) -> None:
    away = create_app(replace(app.config["SETTINGS"], database_url="postgresql+psycopg://nobody@127.0.0.1:9/none"))
    meet(away)
    with away.app_context(), pytest.raises(OperationalError):
        db.engine.connect()
