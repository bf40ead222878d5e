"""RQ entry points of the money core."""

from portal.core import clock, queues
from portal.payments.services import checking, draining, refund_desk


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


@queues.job
def look_after_refunds() -> None:
    """Hand refunds to a person whose end a provider has not told for long."""
    refund_desk.flag_overdue(at=clock.now())
