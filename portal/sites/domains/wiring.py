"""The place of domains in the application."""

from datetime import timedelta

from portal.core import periodic
from portal.sites.domains import invariants, mails, routes  # noqa: F401  # these register themselves
from portal.sites.domains.services import applying, checking  # noqa: F401  # the outbox's handlers, too


def register() -> None:
    """Have domains watched; call it before the blueprint of sites is attached."""
    periodic.every(timedelta(minutes=1), "portal.sites.domains.jobs.watch_domains")
