"""Commands about prices."""

import sys
from pathlib import Path

import click

from portal.core import clock
from portal.core.db import unit_of_work
from portal.quotes.pricing import services
from portal.quotes.pricing.errors import InvalidPriceBook

_ACTOR = "command:import-price-book"


@click.command("import-price-book")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--note", default="", help="What changes; shown in the history.")
def import_price_book(file: Path, note: str) -> None:
    """Put the prices of FILE (JSON) into force; running it again changes nothing."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}") from None
    try:
        with unit_of_work():
            done = services.import_book(content, note=note or f"Imported {file.name}", by=_ACTOR, at=clock.now())
            number = done.version.number
    except InvalidPriceBook as error:
        click.echo(f"{file}: nothing was imported, {len(error.problems)} to mend:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(1)
    click.echo(f"{file}: version {number} is {'now' if done.is_new else 'already'} in force")
