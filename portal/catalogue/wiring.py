"""The catalogue's place in the application."""

from flask import Flask

from portal.catalogue import cli, routes
from portal.catalogue.caching import kept_card
from portal.catalogue.icons import package_icon


def init_app(app: Flask) -> None:
    """Attach pages and commands."""
    app.register_blueprint(routes.bp)
    app.cli.add_command(cli.import_catalogue)
    app.add_template_global(package_icon)
    app.add_template_global(kept_card)
