"""What was carried out long ago is forgotten; what failed or waits is not."""

from datetime import timedelta

from flask import Flask

from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.core.jobs import forget_done_effects
from portal.core.outbox import MessageStatus, OutboxMessage


@outbox.handles("test.forgotten")
def _carry_out(number: int) -> None:
    """Nothing to do."""


def publish(key: str) -> bool:
    with unit_of_work():
        return outbox.publish("test.forgotten", key=key, number=1)


def test_done_effects_are_forgotten_after_their_time_and_not_before(app: Flask) -> None:
    assert publish("once")
    outbox.drain("default")
    forget_done_effects()
    assert not publish("once")
    with clock.shifted(outbox.REMEMBERED + timedelta(days=1)):
        forget_done_effects()
        assert publish("once")


def test_effects_that_failed_or_wait_are_kept(app: Flask) -> None:
    publish("waits")
    publish("failed")
    with unit_of_work():
        db.session.scalars(
            db.select(OutboxMessage).where(OutboxMessage.key == "failed")
        ).one().status = MessageStatus.FAILED
    with clock.shifted(timedelta(days=400)):
        forget_done_effects()
    assert len(db.session.scalars(db.select(OutboxMessage)).all()) == 2
