"""Commands about the catalogue."""

import sys
from pathlib import Path

import click

from portal.catalogue import services
from portal.catalogue.errors import ImportRefused
from portal.core import clock
from portal.core.addresses import address_of
from portal.core.db import unit_of_work


@click.command("import-catalogue")
@click.argument("file", type=click.Path(path_type=Path))
def import_catalogue(file: Path) -> None:
    """Create and update packages from FILE (JSON); running it again changes nothing."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{file} cannot be read: {error.strerror}") from None
    try:
        with unit_of_work():
            result = services.import_catalogue(content, by="command:import-catalogue", at=clock.now())
    except ImportRefused as error:
        click.echo(f"{file}: nothing was imported, {len(error.problems)} to mend:", err=True)
        for problem in error.problems:
            click.echo(f"  {problem}", err=True)
        sys.exit(1)
    click.echo(
        f"{file}: {len(result.created)} created, {len(result.updated)} updated, {len(result.unchanged)} unchanged"
    )
    for word, slugs in (("created", result.created), ("updated", result.updated)):
        for slug in slugs:
            click.echo(f"  {word} {slug}: {address_of('catalogue.detail', slug=slug)}")
