"""What the money core does again and again."""

from datetime import timedelta

from portal.core import clock, periodic, queues
from portal.core.db import stop_reading
from portal.core.queues import QueueName
from portal.payments import invariants, sales_invariants  # noqa: F401  # they register themselves
from portal.payments.services import draining


def register() -> None:
    """Put the money core's work on the list."""
    periodic.every(timedelta(seconds=30), "portal.payments.jobs.check_open_sessions")
    periodic.every(timedelta(minutes=10), "portal.payments.jobs.recover_events", queue=QueueName.WEBHOOKS)
    periodic.every(timedelta(hours=6), "portal.payments.jobs.look_after_refunds")
    periodic.sweeps(sweep_inbox)


def sweep_inbox() -> None:
    """Match what came too early, and wake the inbox when something waits in it."""
    at = clock.now()
    draining.rematch_unmatched(at=at)
    if draining.has_due(at=at):
        queues.wake_again(QueueName.INBOX, queues.DRAIN_INBOX)
    stop_reading()
