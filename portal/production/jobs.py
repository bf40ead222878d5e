"""RQ entry points of production."""

from portal.core import clock, queues
from portal.core.db import unit_of_work
from portal.production.services.completing import complete_next


@queues.job
def complete_delivered() -> None:
    """Close the orders that were delivered some time ago and that nobody complained about, each by itself."""
    while True:
        with unit_of_work():
            is_one_more = complete_next(at=clock.now())
        if not is_one_more:
            return
