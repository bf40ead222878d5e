"""RQ entry points of domains."""

from portal.core import clock, queues
from portal.core.db import unit_of_work
from portal.sites.domains.services import checking


@queues.job
def watch_domains() -> None:
    """Have every domain looked at whose time has come."""
    with unit_of_work():
        checking.call_up(at=clock.now())
