"""RQ entry points of the core."""

from portal.core import clock, outbox, queues
from portal.core.db import unit_of_work

_PER_RUN = 500


@queues.job
def drain_outbox(queue: str) -> None:
    """Carry out the due effects of a queue; hands over to a fresh job when there are very many."""
    queues.awake(queue)
    if outbox.drain(queue, limit=_PER_RUN) >= _PER_RUN:
        queues.wake(queue)


@queues.job
def forget_done_effects() -> None:
    """Keep the outbox small: what was carried out long ago is nobody's business any more."""
    with unit_of_work():
        outbox.forget_done(at=clock.now())
