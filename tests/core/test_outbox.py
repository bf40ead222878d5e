"""Effects are carried out after the commit, at least once, and never lost."""

from datetime import timedelta

import pytest
from flask import Flask

from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.outbox import MessageStatus, OutboxMessage

_seen: list[int] = []


@outbox.handles("test.happened")
def _note(number: int) -> None:
    if number < 0:
        raise ValueError("a handler that never works")
    _seen.append(number)


@pytest.fixture(autouse=True)
def _forget() -> None:
    _seen.clear()


def test_an_effect_is_carried_out_once(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.happened", number=1)
    assert outbox.drain("default") == 1
    assert outbox.drain("default") == 0
    assert _seen == [1]


def test_a_rolled_back_effect_never_happens(app: Flask) -> None:
    with pytest.raises(RuntimeError), unit_of_work():
        outbox.publish("test.happened", number=1)
        raise RuntimeError
    assert outbox.drain("default") == 0


def test_a_key_makes_an_effect_exist_once(app: Flask) -> None:
    for _ in range(2):
        with unit_of_work():
            outbox.publish("test.happened", key="order:1:paid", number=1)
    outbox.drain("default")
    assert _seen == [1]


def test_a_failing_effect_waits_and_the_others_go_on(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.happened", number=-1)
        outbox.publish("test.happened", number=2)
    outbox.drain("default")
    assert _seen == [2]
    failed = db.session.scalars(db.select(OutboxMessage).where(OutboxMessage.status == MessageStatus.PENDING)).one()
    assert failed.attempts == 1
    assert failed.available_at > clock.now()
    assert failed.last_error == "ValueError: a handler that never works"


def test_an_effect_that_never_works_ends_in_a_visible_state_and_can_run_again(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.happened", number=-1)
    for attempt in range(outbox.MAX_ATTEMPTS):
        with clock.shifted(timedelta(days=attempt)):
            outbox.drain("default")
    message = db.session.scalars(db.select(OutboxMessage)).one()
    assert message.status is MessageStatus.FAILED
    with unit_of_work():
        assert outbox.run_again(message.id, at=clock.now())
    with unit_of_work():
        assert not outbox.run_again(message.id, at=clock.now())


def test_a_worker_that_dies_costs_the_lease_and_nothing_else(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.happened", number=1)
    outbox._claim("default")  # claimed, and the worker is gone
    assert outbox.drain("default") == 0
    with clock.shifted(timedelta(seconds=46)):
        assert outbox.drain("default") == 1
    assert _seen == [1]


@outbox.handles("test.dawdled")
def _dawdle(number: int) -> None:
    """Takes 40 seconds; in the middle of the second one, another worker looks for work."""
    _seen.append(number)
    if _seen.count(number) > 1:
        return
    clock._offset += timedelta(seconds=20)
    if number == 2:
        outbox.drain("default")
    clock._offset += timedelta(seconds=20)


def test_a_slow_batch_is_not_done_by_two_workers(app: Flask) -> None:
    """Mails to a slow server: the lease of the last ones ends while the first are sent."""
    with unit_of_work():
        for number in (1, 2, 3):
            outbox.publish("test.dawdled", number=number)
    with clock.shifted(timedelta(0)):
        outbox.drain("default")
    assert sorted(_seen) == [1, 2, 3]
    assert set(db.session.scalars(db.select(OutboxMessage.status))) == {MessageStatus.DONE}


def test_a_worker_that_lost_its_message_does_not_undo_what_the_next_one_did(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.happened", number=1)
    [lost] = outbox._claim("default")
    with clock.shifted(timedelta(seconds=46)):
        outbox.drain("default")
    outbox._put_back(lost, None, RuntimeError("too slow"))
    assert db.session.scalars(db.select(OutboxMessage.status)).all() == [MessageStatus.DONE]
