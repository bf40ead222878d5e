"""The place of model files and quotes in the application."""

from datetime import timedelta

from flask import Flask

from portal import accounts
from portal.core import periodic
from portal.quotes import cli, inspecting, jobs, mails, visitor  # noqa: F401  # these register themselves
from portal.quotes.routes import (  # noqa: F401  # they fill the blueprint
    custody,
    deciding,
    editing,
    files,
    pages,
    revising,
    uploading,
)
from portal.quotes.routes.blueprint import bp


def init_app(app: Flask) -> None:
    """Attach the pages, the commands and the periodic work, and take over a visitor's draft at log-in."""
    app.register_blueprint(bp)
    app.cli.add_command(cli.measure)
    accounts.on_signed_in(visitor.take_over_draft)
    periodic.every(timedelta(minutes=5), "portal.quotes.jobs.find_unmeasured")
    periodic.every(timedelta(hours=1), "portal.quotes.jobs.announce_expiring")
    periodic.every(timedelta(days=1), "portal.quotes.jobs.tidy_up")
