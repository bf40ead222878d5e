"""RQ entry points of the money core."""

from portal.core import clock, queues
from portal.payments.services import checking, draining


@queues.job
def drain_inbox(queue: str) -> None:
    """Apply the webhooks that wait."""
    queues.awake(queue, queues.DRAIN_INBOX)
    draining.drain_inbox()


@queues.job
def check_open_sessions() -> None:
    """Ask the providers about open sessions whose time for a look has come."""
    checking.request_due_checks(at=clock.now())


@queues.job
def recover_events() -> None:
    """Fetch events whose webhooks did not arrive."""
    checking.recover_events(at=clock.now())
