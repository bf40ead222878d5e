"""When a delivery that did not arrive is tried again: growing gaps that end three days after the first try."""

import random
from datetime import datetime, timedelta

LONGEST = timedelta(days=3)
_GAPS = (
    timedelta(seconds=5),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=6),
    timedelta(hours=12),
    timedelta(hours=24),
)


def next_try(tries: int, *, first: datetime, at: datetime) -> datetime | None:
    """When to try again after `tries` failures, the first of them at `first`; None when three days are over.

    Up to a tenth is added by chance, so that what failed together does not come back together. The last try is made
    when the three days end.
    """
    ends = first + LONGEST
    if at >= ends:
        return None
    gap = _GAPS[min(tries, len(_GAPS)) - 1]
    return min(at + gap * random.uniform(1.0, 1.1), ends)  # noqa: S311  # jitter, not a secret
