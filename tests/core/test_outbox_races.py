"""Many drainers, dead drainers, slow drainers, no Redis: every effect is carried out, and by one worker at a time."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer
from sqlalchemy import insert, select, update

from portal.core import clock, outbox, periodic, queues
from portal.core.db import db, unit_of_work
from portal.core.outbox import MessageStatus, OutboxMessage
from portal.core.queues import QueueName
from tests.crowd import all_at_once
from tests.servers.redis import RedisServer, running

_seen: list[int] = []
_lock = threading.Lock()
_slow = 0.0


@outbox.handles("test.raced", queue=QueueName.FILES)
def _note(number: int) -> None:
    time.sleep(_slow)
    with _lock:
        _seen.append(number)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    global _slow
    _seen.clear()
    yield
    _slow = 0.0


def publish_many(count: int) -> None:
    """Straight into the table: publishing them one by one would be another test."""
    at = clock.now()
    rows = [
        {"topic": "test.raced", "queue": "files", "payload": {"number": number}, "status": MessageStatus.PENDING,
         "attempts": 0, "available_at": at, "created_at": at}
        for number in range(count)
    ]  # fmt: skip
    with unit_of_work():
        db.session.execute(insert(OutboxMessage), rows)


def drain_all() -> int:
    total = 0
    while done := outbox.drain("files"):
        total += done
    return total


def counts() -> Counter[str]:
    with db.engine.connect() as connection:
        return Counter(str(status.value) for status in connection.scalars(select(OutboxMessage.status)))


@pytest.mark.slow_fault
@pytest.mark.timeout(300)
def test_two_drainers_at_once_do_each_of_five_thousand_once(app: Flask) -> None:
    publish_many(5_000)
    done = all_at_once(app, [drain_all, drain_all])
    assert sum(done) == 5_000
    assert min(done) > 0, "one of them did everything: nothing raced"
    assert sorted(_seen) == list(range(5_000))
    assert counts() == {"done": 5_000}


def test_four_drainers_at_once_do_each_once(app: Flask) -> None:
    publish_many(200)
    all_at_once(app, [drain_all] * 4)
    assert sorted(_seen) == list(range(200))


def test_control_a_claim_that_reads_and_then_writes_does_some_twice(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_many(10)

    def careless(queue: str) -> list[outbox._Claim]:
        now = clock.now()
        with db.engine.connect() as connection:
            found = connection.execute(
                select(OutboxMessage.id, OutboxMessage.topic, OutboxMessage.payload, OutboxMessage.attempts + 1)
                .where(OutboxMessage.status == MessageStatus.PENDING, OutboxMessage.available_at <= now)
                .limit(20)
            ).all()
        time.sleep(0.3)
        with unit_of_work():
            db.session.execute(
                update(OutboxMessage)
                .where(OutboxMessage.id.in_([row.id for row in found]))
                .values(attempts=1, available_at=now + timedelta(seconds=45))
            )
        return [outbox._Claim(*row, cause=None, claimed_at=now) for row in found]

    monkeypatch.setattr(outbox, "_claim", careless)
    all_at_once(app, [drain_all, drain_all])
    assert max(Counter(_seen).values()) == 2


def test_a_lease_lasts_as_long_as_its_topic_says(app: Flask) -> None:
    publish_many(1)
    claimed = outbox._claim("files")
    assert [claim.payload for claim in claimed] == [{"number": 0}]
    assert outbox._claim("files") == []
    lease = outbox.subscriptions()["test.raced"].lease
    with clock.shifted(lease - timedelta(seconds=1)):
        assert outbox._claim("files") == []
    with clock.shifted(lease + timedelta(seconds=1)):
        assert [claim.attempts for claim in outbox._claim("files")] == [2]


def test_what_another_worker_has_taken_over_is_left_to_it(app: Flask) -> None:
    """A slow batch outlives its lease: the messages behind in it were claimed again, and are done by that worker."""
    publish_many(2)
    ours = outbox._claim("files")
    with clock.shifted(timedelta(minutes=5)):
        theirs = outbox._claim("files")
        assert [claim.id for claim in theirs] == [claim.id for claim in ours]
        assert not any(outbox._is_still_ours(claim) for claim in ours)
        assert all(outbox._is_still_ours(claim) for claim in theirs)


def test_a_batch_behind_a_slow_message_gets_fresh_leases(app: Flask) -> None:
    publish_many(1)
    claim = outbox._claim("files")[0]
    with clock.shifted(timedelta(seconds=40)):
        assert outbox._is_still_ours(claim)
    with clock.shifted(timedelta(seconds=60)):
        assert outbox._claim("files") == []


def test_what_is_for_later_waits(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.raced", available_at=clock.now() + timedelta(hours=1), number=1)
    assert drain_all() == 0
    assert not outbox.has_due("files", at=clock.now())
    assert outbox.has_due("files", at=clock.now() + timedelta(hours=2))
    with clock.shifted(timedelta(hours=1, seconds=1)):
        assert drain_all() == 1


def test_waits_grow_up_to_six_hours(app: Flask) -> None:
    waits = [outbox.backoff(attempt).total_seconds() for attempt in range(1, outbox.MAX_ATTEMPTS + 1)]
    assert 4.5 <= waits[0] <= 5.5
    assert all(later > earlier for earlier, later in itertools.pairwise(waits[:7]))
    assert max(waits) <= 6 * 3600 * 1.1
    # Together they last longer than a weekend nobody looks.
    assert sum(waits) > 24 * 3600


def test_an_effect_that_only_a_newer_version_knows_waits_for_it(app: Flask) -> None:
    publish_many(1)
    known = outbox._subscriptions.pop("test.raced")
    try:
        assert drain_all() == 1
        message = db.session.scalars(select(OutboxMessage)).one()
        assert message.status is MessageStatus.PENDING
        assert message.last_error == "UnknownTopic: test.raced"
    finally:
        outbox._subscriptions["test.raced"] = known
    with clock.shifted(timedelta(minutes=1)):
        assert drain_all() == 1
    assert _seen == [0]


def test_two_handlers_for_one_topic_are_refused() -> None:
    with pytest.raises(ValueError, match="two handlers"):

        @outbox.handles("test.raced")
        def _other(number: int) -> None:
            """Never called."""


# --- Redis is the alarm clock, never the ledger ---


def jobs(queue: str = "files") -> list[Any]:
    """What RQ has been told to do."""
    return Queue(queue, connection=queues.connection(), serializer=JSONSerializer).get_jobs()


def work_off(queue: str = "files") -> None:
    """What worker.py does with the jobs of a queue, in this process."""
    connection = queues.connection()
    rq_queue = Queue(queue, connection=connection, serializer=JSONSerializer)
    SimpleWorker([rq_queue], connection=connection, serializer=JSONSerializer).work(burst=True, logging_level="ERROR")


def test_a_thousand_publications_make_one_wake_up_job(app: Flask) -> None:
    for number in range(20):
        with unit_of_work():
            for _ in range(5):
                outbox.publish("test.raced", number=number)
    assert len(jobs()) == 1
    work_off()
    assert len(_seen) == 100
    assert jobs() == []
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    assert len(jobs()) == 1, "after its job began, a queue is woken anew"


def test_wake_ups_that_follow_closely_are_gathered_and_none_is_forgotten(app: Flask) -> None:
    queues.connection().config_resetstat()
    for _ in range(500):
        queues.wake_often("files")
    assert queues.connection().info("commandstats")["cmdstat_set"]["calls"] < 250
    assert len(jobs()) == 1, "the first goes out at once"
    # A worker looks before the last of them has committed, so there has to be another wake-up.
    work_off()
    queues.wake_often("files")
    app.extensions["gathered_wake_ups"].wait()
    assert len(jobs()) == 1


def test_a_gathered_wake_up_without_redis_hurts_nobody(app: Flask, own_redis: RedisServer) -> None:
    own_redis.kill()
    for _ in range(3):
        queues.wake_often("files")
    app.extensions["gathered_wake_ups"].wait()
    own_redis.start()
    queues.wake_often("files")
    app.extensions["gathered_wake_ups"].wait()
    assert len(jobs()) == 1


def test_nothing_is_enqueued_for_what_was_rolled_back(app: Flask) -> None:
    with pytest.raises(ValueError), unit_of_work():
        outbox.publish("test.raced", number=1)
        raise ValueError
    assert jobs() == []


def test_a_flushed_redis_loses_nothing(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    queues.connection().flushall()
    assert jobs() == []
    periodic.sweep()
    assert len(jobs()) == 1
    work_off()
    assert _seen == [1]
    periodic.sweep()
    assert jobs() == [], "nothing waits, so nobody is woken"


@pytest.fixture
def own_redis(app: Flask) -> Iterator[RedisServer]:
    """A Redis of this test's own, to be killed."""
    with running() as server:
        before = app.extensions["redis"]
        app.extensions["redis"] = server.client()
        yield server
        app.extensions["redis"].close()
        app.extensions["redis"] = before


def test_without_redis_effects_are_kept_and_the_sweep_resumes(app: Flask, own_redis: RedisServer) -> None:
    own_redis.kill()
    started = time.monotonic()
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    assert time.monotonic() - started < 3, "a request must not wait for Redis"
    assert counts() == {"pending": 1}
    assert not queues.wake("files")
    with pytest.raises(Exception, match=r"Connection|refused"):
        periodic.tick()
    own_redis.start()
    periodic.sweep()
    work_off()
    assert _seen == [1]


def lose_jobs() -> None:
    """Do what becomes of a wake-up whose worker was killed before it began: it is in no queue, and its flag stays."""
    redis = queues.connection()
    redis.delete(Queue("files", connection=redis, serializer=JSONSerializer).key)


def test_a_wake_up_that_was_lost_is_given_again_by_the_next_sweep(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    lose_jobs()
    queues.wake("files")
    assert jobs() == [], "whoever has seen no work wait trusts the flag"
    periodic.sweep()
    assert len(jobs()) == 1
    periodic.sweep()
    assert len(jobs()) == 1, "that one is still to come"


def test_where_other_jobs_wait_a_lost_wake_up_silences_its_queue_for_seconds_only(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    lose_jobs()
    queues.wake("files", "another.job")
    periodic.sweep()
    assert len(jobs()) == 1
    flag = queues._flag("files", queues.DRAIN_OUTBOX)
    redis = queues.connection()
    assert 0 < redis.ttl(flag) <= 20
    redis.delete(flag)
    periodic.sweep()
    assert len(jobs()) == 2


def test_a_job_that_dies_after_waking_leaves_the_rest_to_the_sweep(app: Flask) -> None:
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    redis = queues.connection()
    job = jobs()[0]
    queues.awake("files")
    job.delete()
    periodic.sweep()
    assert len(jobs()) == 1
    assert redis.ping()


def test_very_many_effects_hand_over_to_a_fresh_job(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job is limited in time; what it does not manage is another job's."""
    monkeypatch.setattr("portal.core.jobs._PER_RUN", 40)
    publish_many(100)
    periodic.sweep()
    work_off()
    assert sorted(_seen) == list(range(100))


# --- periodic work ---


def test_two_tickers_enqueue_a_periodic_job_once_a_slot(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = periodic.Periodic("portal.core.jobs.forget_done_effects", timedelta(minutes=10), QueueName.FILES)
    monkeypatch.setattr(periodic, "_jobs", [entry])
    at = clock.now()
    # To the middle of a slot, so that the test does not end in the next one.
    middle = timedelta(seconds=300 - at.timestamp() % 600)
    with clock.shifted(middle):
        all_at_once(app, [periodic.tick] * 8)
        assert len(jobs()) == 1
        periodic.tick()
        assert len(jobs()) == 1
    with clock.shifted(middle + timedelta(minutes=10)):
        periodic.tick()
    assert len(jobs()) == 2


def test_the_ticker_outlives_what_is_away_and_stops_when_told(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def away() -> None:
        calls.append("sweep")
        raise {1: ConnectionErrorOfRedis, 2: DatabaseAway}[len(calls)]("away")

    from redis.exceptions import ConnectionError as ConnectionErrorOfRedis
    from sqlalchemy.exc import SQLAlchemyError as DatabaseAway

    monkeypatch.setattr(periodic, "sweep", away)
    periodic.run_until(lambda within: len(calls) == 2)
    assert calls == ["sweep", "sweep"]


def test_a_sweep_of_one_domain_that_fails_does_not_stop_the_others(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[str] = []

    def broken() -> None:
        raise ValueError("a bug in one domain")

    monkeypatch.setattr(periodic, "_sweeps", [broken, lambda: woken.append("second")])
    with unit_of_work():
        outbox.publish("test.raced", number=1)
    queues.connection().flushall()
    periodic.sweep()
    assert woken == ["second"]
    assert len(jobs()) == 1
