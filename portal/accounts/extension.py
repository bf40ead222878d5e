"""Attaches accounts to the application."""

from flask import Flask

from portal.accounts import jobs, loader, mails  # noqa: F401  # mails registers what the templates are filled with
from portal.accounts.commands import create_admin
from portal.accounts.routes import bp


def init_app(app: Flask) -> None:
    """The loader of signed-in users, the pages, the mails, the worker's part and the operator's command."""
    loader.init_app(app)
    jobs.register_periodic()
    app.register_blueprint(bp)
    app.cli.add_command(create_admin)
