"""Working off the inbox by one wake-up job, beside one forked RQ job per event."""

import itertools
import time
from datetime import datetime
from typing import Any

from rq import Queue, Worker
from rq.serializers import JSONSerializer

from bench.harness import Bench, Report
from portal import payments
from portal.core import clock, queues
from portal.core.db import db, unit_of_work
from portal.payments import BillLine, BillOfSale
from portal.payments.models import EventStatus, PaymentSession, ProviderEvent
from portal.payments.providers.base import NormalisedEvent, Outcome
from portal.payments.services import draining
from portal.payments.services.facts import to_mapping
from portal.payments.services.settling import apply_event
from tests.payments import signed

_DRAINED = 1_500
_FORKED = 60
_numbers = itertools.count(1)


def _settled(session: PaymentSession, *, at: datetime) -> None:
    """Nothing is unlocked: the money core alone is measured."""


def _describe(session: PaymentSession) -> BillOfSale:
    return BillOfSale(f"B-{session.id}", None, {"name": "Bench"}, (BillLine("Bench", 1, session.amount_minor, 2300),))


payments.on_settled("test", _settled)
payments.describes("test", _describe)


def nothing() -> None:
    """A job without work: what forking one costs."""


def settle_one(event_id: int) -> None:
    """The same settlement as a job of its own, as one would write it without an inbox drainer."""
    at = clock.now()
    with unit_of_work():
        event = db.session.get_one(ProviderEvent, event_id, with_for_update=True)
        apply_event(event, at=at)


def store(outcome: Outcome, count: int) -> list[int]:
    """Pending events, each about a session of its own."""
    ids = []
    at = clock.now()
    for _ in range(count):
        session = signed.make_session()
        number = next(_numbers)
        fact = NormalisedEvent(
            outcome,
            session_id=session.public_id,
            attempt_reference=f"cs_{number}",
            payment_reference=f"pi_{number}",
            business_key=f"stripe:pi_{number}:{outcome.value}",
            amount_minor=session.amount_minor,
            currency=session.currency,
            is_test=True,
        )
        with unit_of_work():
            event = ProviderEvent(
                provider="stripe",
                delivery_key=f"evt_{number}",
                event_type="bench",
                source="webhook",
                body="{}",
                normalised=[to_mapping(fact)],
                session_public_id=session.public_id,
                status=EventStatus.PENDING,
                available_at=at,
                received_at=at,
            )
            db.session.add(event)
        ids.append(event.id)
    return ids


def drained(outcome: Outcome) -> float:
    """Seconds an event when one job drains many."""
    store(outcome, _DRAINED)
    started = time.perf_counter()
    count = draining.drain_inbox()
    seconds = time.perf_counter() - started
    assert count == _DRAINED, count
    return seconds / count


def forked(job: Any, arguments: list[tuple[Any, ...]]) -> float:
    """Seconds a job when RQ's worker forks for each."""
    connection = queues.connection()
    queue = Queue("bench", connection=connection, serializer=JSONSerializer)
    for one in arguments:
        queue.enqueue(job, *one)
    # A forked child must not share its parent's database connections.
    db.session.remove()
    db.engine.dispose()
    worker = Worker([queue], connection=connection, serializer=JSONSerializer)
    started = time.perf_counter()
    worker.work(burst=True, logging_level="ERROR")
    seconds = time.perf_counter() - started
    failed = queue.failed_job_registry.count
    assert failed == 0, f"{failed} jobs failed"
    return seconds / len(arguments)


def run(bench: Bench, report: Report) -> None:
    """Both handlers, both ways."""
    report.section("Draining the inbox, against one forked RQ job per event")
    with bench.app("drain"):
        light, real = drained(Outcome.PENDING), drained(Outcome.PAID)
        empty_jobs: list[tuple[Any, ...]] = [()] * _FORKED
        no_op = forked(nothing, empty_jobs)
        single = forked(settle_one, [(event_id,) for event_id in store(Outcome.PAID, _FORKED)])
    report.fact("light event, real settlement, drained", f"{light * 1000:.2f} ms, {real * 1000:.2f} ms")
    report.fact("no-op job, real settlement, forked", f"{no_op * 1000:.1f} ms, {single * 1000:.1f} ms")
    report.ratio("light events drained / forked no-op jobs", no_op / light, at_least=15)
    report.ratio("settlements drained / settlements as forked jobs", single / real, at_least=6)
