"""A request whose transaction lost to another one is begun again, so that nobody reads of a deadlock.

PostgreSQL ends one of two transactions that wait for each other, or that cannot both be right, and expects it to be
tried again (https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html). What the lost one wrote
is undone, so the view can simply run again, unless it had committed something before: then the rest of its work would
be done twice, and the answer is a 503 that says to try again.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import structlog
from flask import g, request
from sqlalchemy.exc import DBAPIError

from portal.core.db import stop_reading

log = structlog.get_logger(__name__)

R = TypeVar("R")
TRIES = 3
# Deadlock and serialization failure.
_LOST = {"40P01", "40001"}
# The winner needs a moment to finish; two losers should not come back at the same one.
_PAUSE_SECONDS = (0.01, 0.05)


def run(view: Callable[[], R]) -> R:
    """What the view returns, at the third try at the latest."""
    for tries_left in reversed(range(TRIES)):
        g.has_committed = False
        try:
            return view()
        except DBAPIError as error:
            if not tries_left or not _is_lost(error) or not _can_begin_again():
                raise
            log.info("transaction_lost", state=getattr(error.orig, "sqlstate", None), tries_left=tries_left)
            stop_reading()
            time.sleep(random.uniform(*_PAUSE_SECONDS))  # noqa: S311  # spreads, and keeps no secret
    raise AssertionError("the last try returns or raises")


def _is_lost(error: DBAPIError) -> bool:
    return getattr(error.orig, "sqlstate", None) in _LOST


def _can_begin_again() -> bool:
    """An uploaded file is read once, and is not there a second time."""
    return not g.has_committed and request.mimetype != "multipart/form-data"
