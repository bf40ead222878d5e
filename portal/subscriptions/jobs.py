"""RQ entry points of subscriptions."""

from functools import partial

import structlog

from portal.core import clock, queues
from portal.core.db import unit_of_work
from portal.subscriptions import queries
from portal.subscriptions.services import comparing, dunning

log = structlog.get_logger(__name__)


@queues.job
def keep_up() -> None:
    """Ask, remind and end, as time has made it due."""
    at, last = clock.now(), 0
    while ids := queries.ids_to_keep_up(at=at, after=last):
        _each(ids, partial(dunning.keep_up, at=at))
        last = ids[-1]


@queues.job
def compare_with_providers() -> None:
    """Have every provider asked how the subscriptions it charges for stand: a lost message is found so."""
    at, last = clock.now(), 0
    while ids := queries.ids_charged_by_providers(after=last):
        _each(ids, partial(comparing.compare, at=at))
        last = ids[-1]


def _each(ids: list[int], work: partial[None]) -> None:
    """Every subscription in a transaction of its own: one that cannot be done stops none of the others, and is tried
    again by the next run."""
    for subscription_id in ids:
        try:
            with unit_of_work():
                work(subscription_id)
        except Exception as error:  # whatever is wrong with one row, the next customer's mail must go out
            log.error("subscription_not_kept_up", subscription_id=subscription_id, exc_info=error)
