"""RQ entry points for merchants."""

from portal.core import clock, queues
from portal.core.db import unit_of_work
from portal.merchants.services import keys, repeating


@queues.job
def tidy_up() -> None:
    """Delete answers that nobody may ask for again, and sealed secrets that nobody came for."""
    at = clock.now()
    with unit_of_work():
        keys.forget_sealed(at=at)
    while True:
        with unit_of_work():
            forgotten = repeating.forget_old(at=at)
        if not forgotten:
            return
