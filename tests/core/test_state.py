"""Every arrow of every state machine of the portal, each allowed one and each refused one, and the races for them."""

import time
from enum import StrEnum
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text, update

from portal import models  # noqa: F401  # every machine is known
from portal.core import audit
from portal.core.db import Base, db, unit_of_work
from portal.core.mail import MailMessage, MailStatus
from portal.core.state import InvalidTransition, StaleState, StatusChange, history, transition
from tests.core.made_up import AT, companions, row
from tests.crowd import all_at_once

Machine = tuple[type[Any], str]
MACHINES: list[Machine] = sorted(
    ((mapper.class_, column) for mapper in Base.registry.mappers for column in getattr(mapper.class_, "MACHINES", {})),
    key=lambda machine: (machine[0].__tablename__, machine[1]),
)
each_machine = pytest.mark.parametrize(
    ("model", "column"), MACHINES, ids=[f"{model.__tablename__}.{column}" for model, column in MACHINES]
)


def states(model: type[Any], column: str) -> list[StrEnum]:
    """Every state of a machine, those that its table does not mention too."""
    return list(model.__table__.c[column].type.enum_class)


def stored(found: Any, column: str) -> str:
    """The status as another connection sees it."""
    table = type(found).__table__
    with db.engine.connect() as connection:
        value: Any = connection.scalar(select(table.c[column]).where(table.c.id == found.id))
    return str(value.value)


def pairs() -> list[tuple[type[Any], str, StrEnum, StrEnum]]:
    """Every state with every state, of every machine."""
    return [
        (model, column, was, to)
        for model, column in MACHINES
        for was in states(model, column)
        for to in states(model, column)
    ]


def test_there_are_machines() -> None:
    names = {f"{model.__tablename__}.{column}" for model, column in MACHINES}
    assert {"payment_sessions.status", "orders.status", "orders.payment_status", "mail_messages.status"} <= names


@pytest.mark.parametrize(
    ("model", "column", "was", "to"),
    pairs(),
    ids=[f"{model.__tablename__}.{column}-{was}-{to}" for model, column, was, to in pairs()],
)
def test_every_pair_of_states(app: Flask, model: type[Any], column: str, was: StrEnum, to: StrEnum) -> None:
    """Allowed: moved once, with its history. Refused: an error, and nothing has changed."""
    allowed = to in model.MACHINES[column].get(was, ())
    with unit_of_work():
        found = row(model, **{column: was}, **companions(model, was))
    if allowed:
        with unit_of_work():
            values = companions(model, to)
            transition(found, to, by="test", at=AT, reason="why not", column=column, values=values)
    else:
        with pytest.raises(InvalidTransition) as refusal, unit_of_work():
            transition(found, to, by="test", at=AT, column=column)
        assert (refusal.value.status, refusal.value.was, refusal.value.to) == (409, was, to)
    assert stored(found, column) == (to if allowed else was)
    assert getattr(found, column) is (to if allowed else was)
    changes = [(one.column, one.was, one.became, one.actor, one.reason, one.at) for one in history(found)]
    assert changes == ([(column, was, to, "test", "why not", AT)] if allowed else [])


@each_machine
def test_every_table_names_states_of_its_own(model: type[Any], column: str) -> None:
    table = model.MACHINES[column]
    known = set(states(model, column))
    assert set(table) <= known
    assert {to for targets in table.values() for to in targets} <= known
    assert all(targets for targets in table.values()), "a final state has no entry"
    assert all(was not in targets for was, targets in table.items()), "an arrow leads back to where it begins"


@each_machine
def test_every_state_can_be_reached(model: type[Any], column: str) -> None:
    table = model.MACHINES[column]
    default = model.__table__.c[column].default
    reached = {default.arg if default is not None else states(model, column)[0]}
    while True:
        further = {to for was in reached for to in table.get(was, ())} - reached
        if not further:
            break
        reached |= further
    assert reached == set(states(model, column))


def make_mail() -> MailMessage:
    with unit_of_work():
        return row(MailMessage, status=MailStatus.QUEUED)


def test_other_columns_change_with_the_status_or_not_at_all(app: Flask) -> None:
    message = make_mail()
    with unit_of_work():
        transition(message, MailStatus.SENT, by="test", at=AT, values={"subject": "Hello", "sent_at": AT})
    db.session.refresh(message)
    assert (message.subject, message.sent_at) == ("Hello", AT)
    with pytest.raises(InvalidTransition), unit_of_work():
        transition(message, MailStatus.SENT, by="test", at=AT, values={"subject": "Again"})
    db.session.refresh(message)
    assert message.subject == "Hello"


def test_who_was_slower_is_told_and_changes_nothing(app: Flask) -> None:
    """Somebody else moves the row between our reading and our writing."""
    message = make_mail()
    with db.engine.begin() as other:
        other.execute(update(MailMessage.__table__).values(status=MailStatus.FAILED))
    with pytest.raises(StaleState) as refusal, unit_of_work():
        transition(message, MailStatus.SENT, by="slow", at=AT)
    assert refusal.value.status == 409
    assert stored(message, "status") == MailStatus.FAILED
    assert history(message) == []


def test_a_status_that_came_from_elsewhere_is_not_overwritten(app: Flask) -> None:
    """A row that was deleted meanwhile is stale too."""
    message = make_mail()
    with db.engine.begin() as other:
        other.execute(MailMessage.__table__.delete())
    with pytest.raises(StaleState), unit_of_work():
        transition(message, MailStatus.SENT, by="slow", at=AT)


def race(app: Flask, message_id: int, move: Any) -> list[Any]:
    """Twenty who have all read the row before any of them writes."""

    def one() -> str:
        message = db.session.get_one(MailMessage, message_id)
        db.session.commit()
        time.sleep(0.3)
        with unit_of_work():
            move(message)
        return "won"

    return all_at_once(app, [one] * 20)


def test_of_twenty_at_once_one_wins_and_the_others_are_told(app: Flask) -> None:
    message = make_mail()
    results = race(app, message.id, lambda row: transition(row, MailStatus.SENT, by="test", at=AT))
    assert results.count("won") == 1
    assert [type(result) for result in results if result != "won"] == [StaleState] * 19
    assert len(history(message)) == 1


def test_control_without_compare_and_set_all_twenty_believe_they_won(app: Flask) -> None:
    message = make_mail()

    def careless(row: MailMessage) -> None:
        db.session.execute(update(MailMessage).where(MailMessage.id == row.id).values(status=MailStatus.SENT))
        db.session.add(
            StatusChange(
                entity="mail_messages", entity_id=row.id, column="status", was="queued", became="sent",
                actor="test", at=AT,
            )
        )  # fmt: skip

    results = race(app, message.id, careless)
    assert results == ["won"] * 20
    assert len(history(message)) == 20


def test_history_names_what_caused_it(app: Flask) -> None:
    message = make_mail()
    with unit_of_work(), audit.caused_by("event:17"):
        transition(message, MailStatus.FAILED, by="event:17", at=AT)
    with unit_of_work():
        transition(message, MailStatus.QUEUED, by="staff@example.com", at=AT)
    assert [(one.actor, one.cause) for one in history(message)] == [
        ("event:17", "event:17"),
        ("staff@example.com", None),
    ]


def test_the_database_refuses_a_status_that_does_not_exist(app: Flask) -> None:
    make_mail()
    with pytest.raises(Exception, match="mail_status"), db.engine.begin() as connection:
        connection.execute(text("UPDATE mail_messages SET status = 'lost'"))
