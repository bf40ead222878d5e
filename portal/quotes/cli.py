"""Commands about model files."""

import json
from pathlib import Path

import click

from portal.quotes.measuring import isolation


@click.command("measure")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--unit", type=click.Choice(["mm", "cm", "inch", "m"]), help="What STL and OBJ files are drawn in.")
def measure(files: tuple[Path, ...], unit: str | None) -> None:
    """Print one line of JSON for each of FILES, measured as an upload would be."""
    for file in files:
        click.echo(json.dumps({"file": file.name, **isolation.measure_isolated(file, unit=unit)}))
