"""A rehearsal tells every row that would be written, however it is written, and writes none."""

import threading
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import delete, insert, text, update

from portal.accounts.models import User
from portal.core import audit, clock, outbox
from portal.core.db import NestedUnitOfWork, db, hot_connection, unit_of_work
from portal.core.numbering import next_number
from portal.core.queues import connection
from portal.core.rehearsal import Busy, CommitInRehearsal, Rehearsed, RowChange, is_rehearsal, rehearse
from portal.core.state import transition
from portal.payments.models import SessionStatus
from tests import factories
from tests.admin import support
from tests.structure.world import everything

POSTGRESQL = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def _told(rehearsed: Rehearsed[object]) -> list[tuple[str, str]]:
    return [(one.table, one.kind) for one in rehearsed.changes]


def _only(rehearsed: Rehearsed[object]) -> RowChange:
    assert rehearsed.error is None
    [change] = rehearsed.changes
    return change


def test_an_object_that_is_added(app: Flask) -> None:
    change = _only(rehearse(lambda: audit.record("tried", actor="staff@example.com", after={"password": "x", "a": 1})))
    assert (change.table, change.kind) == ("audit_events", "insert")
    assert (change.after("event"), change.after("actor")) == ("tried", "staff@example.com")
    assert "[hidden]" in (change.after("after") or "")


def test_an_object_that_is_changed_tells_old_and_new(app: Flask, alice: User) -> None:
    def work() -> None:
        user = db.session.get_one(User, alice.id)
        user.name, user.password_hash = "Another", "a new hash"

    change = _only(rehearse(work))
    assert (change.table, change.kind, change.key) == ("users", "update", str(alice.id))
    values = {value.column: (value.before, value.after) for value in change.values}
    assert values == {"name": ("Alice Nowak", "Another"), "password_hash": ("[hidden]", "[hidden]")}


def test_a_bulk_change_and_a_bulk_deletion(app: Flask, alice: User, bob: User) -> None:
    found = rehearse(
        lambda: db.session.execute(update(User).where(User.name.like("%Nowak")).values(phone="1")) and None
    )
    assert [(one.key, one.after("phone")) for one in found.changes] == [(str(alice.id), "1")]
    found = rehearse(lambda: db.session.execute(delete(User).where(User.id.in_([alice.id, bob.id]))) and None)
    assert _told(found) == [("users", "delete"), ("users", "delete")]
    assert {value.before for value in found.changes[0].values} >= {"alice@example.com"}


def test_a_transition_an_effect_and_a_number(app: Flask) -> None:
    session = support.make_session()

    def work() -> str:
        at = clock.now()
        transition(session, SessionStatus.FAILED, by="staff", at=at)
        outbox.publish("payment_session.check_requested", session_id=session.id)
        return next_number("INV", year=2026, width=5)

    found = rehearse(work)
    assert found.result == "INV-2026-00001"
    assert sorted(_told(found)) == [
        ("number_sequences", "insert"), ("outbox_messages", "insert"), ("payment_sessions", "update"),
        ("status_changes", "insert"),
    ]  # fmt: skip
    with unit_of_work():
        assert next_number("INV", year=2026, width=5) == "INV-2026-00001"
    again = rehearse(lambda: next_number("INV", year=2026, width=5))
    assert again.result == "INV-2026-00002"
    assert [(one.kind, one.key, one.after("value")) for one in again.changes] == [("update", "INV-2026", "2")]


def test_a_row_that_is_added_and_changed_is_new_as_it_ends(app: Flask) -> None:
    def work() -> None:
        user_id = db.session.scalar(
            insert(User)
            .values(email="new@example.com", name="First", phone="", locale="en", role="customer", is_active=True,
                    created_at=clock.now())
            .returning(User.id)
        )  # fmt: skip
        db.session.execute(update(User).where(User.id == user_id).values(name="Second"))

    change = _only(rehearse(work))
    assert (change.kind, change.after("name")) == ("insert", "Second")


def test_what_is_written_back_as_it_was_is_no_change(app: Flask, alice: User) -> None:
    assert rehearse(lambda: db.session.execute(update(User).values(phone="")) and None).changes == ()


def test_nothing_stays(app: Flask, alice: User) -> None:
    before, keys = everything(), connection().keys("*")

    def work() -> None:
        assert is_rehearsal()
        db.session.get_one(User, alice.id).name = "Another"
        outbox.publish("payment_session.check_requested", session_id=1)
        next_number("INV", year=2026, width=5)

    assert rehearse(work).error is None
    assert not is_rehearsal()
    assert everything() == before
    assert connection().keys("*") == keys, "a worker was woken for work that does not exist"
    assert db.session.get_one(User, alice.id).name == "Alice Nowak"
    # And the session is as good as before.
    with unit_of_work():
        db.session.get_one(User, alice.id).name = "Really"
    assert everything() != before


@pytest.mark.parametrize("trouble", [KeyError("x"), RuntimeError("it broke")])
def test_an_exception_is_the_answer_and_nothing_stays(app: Flask, alice: User, trouble: Exception) -> None:
    before = everything()

    def work() -> None:
        db.session.get_one(User, alice.id).name = "Another"
        db.session.flush()
        raise trouble

    found = rehearse(work)
    assert (found.error, found.changes) == (trouble, ())
    assert everything() == before


def test_a_unit_of_work_inside_is_refused(app: Flask) -> None:
    def work() -> None:
        with unit_of_work():
            audit.record("stays", actor="x")

    before = everything()
    assert isinstance(rehearse(work).error, NestedUnitOfWork)
    assert everything() == before
    with unit_of_work(), pytest.raises(NestedUnitOfWork):
        rehearse(lambda: None)


def test_savepoints_work_as_ever(app: Flask, alice: User) -> None:
    def work() -> None:
        with db.session.begin_nested():
            db.session.get_one(User, alice.id).name = "Another"
        with pytest.raises(KeyError), db.session.begin_nested():
            db.session.get_one(User, alice.id).phone = "1"
            db.session.flush()
            raise KeyError

    before = everything()
    change = _only(rehearse(work))
    assert [value.column for value in change.values] == ["name"]
    assert everything() == before


def test_nothing_inside_can_commit(app: Flask, alice: User) -> None:
    def commits() -> None:
        db.session.get_one(User, alice.id).name = "Another"
        db.session.commit()

    def goes_around() -> None:
        with hot_connection() as connection:
            connection.execute(update(User).values(phone="1"))

    before = everything()
    assert isinstance(rehearse(commits).error, CommitInRehearsal)
    assert isinstance(rehearse(goes_around).error, NestedUnitOfWork)
    assert everything() == before
    # Afterwards both are as they were.
    with hot_connection() as connection:
        connection.execute(update(User).values(phone="1"))
    assert everything() != before


@POSTGRESQL
def test_others_rows_are_not_taken_for_ours(app: Flask) -> None:
    """Somebody commits rows while we rehearse: theirs have ids between ours."""

    def work() -> None:
        audit.record("ours", actor="a")
        db.session.flush()
        _in_thread(app, lambda: factories.make_user(email="theirs@example.com") and _record("theirs"))
        audit.record("ours", actor="b")

    found = rehearse(work)
    assert [one.after("event") for one in found.changes] == ["ours", "ours"]


@POSTGRESQL
def test_a_row_that_somebody_holds_is_not_waited_for(app: Flask, alice: User) -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with unit_of_work():
            db.session.get_one(User, alice.id, with_for_update=True)
            held.set()
            done.wait(20)

    thread = threading.Thread(target=_in_context, args=(app, hold))
    thread.start()
    try:
        assert held.wait(20)
        with pytest.raises(Busy):
            rehearse(lambda: db.session.execute(update(User).values(phone="1")) and None)
    finally:
        done.set()
        thread.join()
    assert len(rehearse(lambda: db.session.execute(update(User).values(phone="1")) and None).changes) == 1


def _record(event: str) -> None:
    with unit_of_work():
        audit.record(event, actor="x")


def _in_thread(app: Flask, work: Callable[[], object]) -> None:
    thread = threading.Thread(target=_in_context, args=(app, work))
    thread.start()
    thread.join()


def _in_context(app: Flask, work: Callable[[], object]) -> None:
    with app.app_context():
        try:
            work()
        finally:
            db.session.remove()


@POSTGRESQL
def test_the_connection_goes_back_as_it_was(app: Flask) -> None:
    """Its short patience and its one moment end with it: the pool hands the connection to the next request."""

    def settings() -> list[object]:
        names = ("transaction_isolation", "lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
        return [db.session.scalar(text(f"SHOW {name}")) for name in names]

    # The connection that the migrations ran on has a patience of its own.
    db.session.remove()
    db.engine.dispose()
    usual = settings()
    db.session.rollback()
    inside = rehearse(settings).result
    assert inside == ["repeatable read", "500ms", "2s", "5s"]
    assert settings() == usual
    assert usual[0] == "read committed"
