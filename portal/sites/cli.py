"""Commands about hosted sites."""

import sys
from pathlib import Path

import click
from flask.cli import with_appcontext

from portal.core import clock
from portal.core.db import unit_of_work
from portal.sites import layout, queries
from portal.sites.models import DEFAULT_TAX_RATE
from portal.sites.services.deploying import request_deployment
from portal.sites.services.importing import import_folder


@click.command("import-sites")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "--tax-rate",
    type=click.IntRange(0, 10_000),
    default=DEFAULT_TAX_RATE,
    show_default=True,
    help="Tax in the prices of new sites, in 1/100 of a percent.",
)
@with_appcontext
def import_sites(folder: Path, tax_rate: int) -> None:
    """Make a site of each folder in FOLDER, and deploy it; running it again changes only what changed."""
    found = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not found:
        raise click.ClickException(f"{folder} has no folders in it")
    results = [
        import_folder(path, tax_rate_basis_points=tax_rate, by="command:import-sites", at=clock.now()) for path in found
    ]
    for one in results:
        words = f"version {one.number}: {layout.site_url(one.slug)}" if one.number else str(one.problem)
        click.echo(f"{one.outcome:9} {one.slug}  {words}".rstrip(), err=one.outcome == "refused")
    if any(one.outcome == "refused" for one in results):
        sys.exit(1)


@click.command("deploy-sites")
@with_appcontext
def deploy_sites() -> None:
    """Have every site served again as it was: on a new site host, or after a backup was restored."""
    count = 0
    for site_id in queries.list_served_ids():
        with unit_of_work():
            site = queries.get_site_by_id(site_id)
            if site.current_version is not None and not site.is_deleted:
                request_deployment(site, site.current_version, by="command:deploy-sites", at=clock.now())
                count += 1
    click.echo(f"{count} sites are being deployed")
