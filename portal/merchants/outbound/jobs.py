"""RQ entry points of webhooks to merchants."""

from portal.core import clock, queues
from portal.core.db import unit_of_work
from portal.merchants.outbound import delivering


@queues.job
def wake_forgotten() -> None:
    """Look for deliveries that nobody will send by themselves."""
    with unit_of_work():
        delivering.wake_forgotten(at=clock.now())
