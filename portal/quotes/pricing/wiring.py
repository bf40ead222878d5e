"""The price book's place in the application."""

from flask import Flask

from portal.quotes.pricing import cli


def init_app(app: Flask) -> None:
    """Attach the commands."""
    app.cli.add_command(cli.import_price_book)
