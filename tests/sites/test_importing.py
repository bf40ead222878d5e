"""`flask import-sites FOLDER`: each folder a site; again, only what changed."""

import shutil
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import select

from portal import demo
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.sites import cli, queries
from portal.sites.models import Deployment, Site, SiteVersion
from portal.sites.services import keeping
from tests.sites.support import BY, FILES, served


def fill(folder: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sites, and something that is none."""
    fill(tmp_path / "all" / "bakery", FILES)
    fill(tmp_path / "all" / "la-plumbing-pros", {"index.html": b"<title>LA Plumbing Pros</title>"})
    (tmp_path / "all" / "readme.txt").write_text("not a site")
    return tmp_path / "all"


def run(app: Flask, folder: Path, *options: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(cli.import_sites, [str(folder), *options])
    db.session.rollback()
    return result.exit_code, result.output


def test_every_folder_becomes_a_site_and_is_deployed(app: Flask, folder: Path) -> None:
    code, output = run(app, folder)
    assert code == 0, output
    assert "created   bakery  version 1: http://sites.localhost:8001/bakery/" in output
    outbox.drain("deploy")
    assert served("bakery") == FILES["index.html"]
    site = queries.get_public_site("la-plumbing-pros")
    assert site.title == "LA Plumbing Pros"
    assert site.current_version is not None
    assert site.current_version.author == "command:import-sites"


def test_new_sites_get_the_tax_rate_that_is_told(app: Flask, folder: Path) -> None:
    assert run(app, folder)[0] == 0
    fill(folder / "cafe", FILES)
    assert run(app, folder, "--tax-rate", "800")[0] == 0
    rates = {site.slug: site.tax_rate_basis_points for site in db.session.scalars(select(Site))}
    assert rates == {"bakery": 2_300, "la-plumbing-pros": 2_300, "cafe": 800}
    assert run(app, folder, "--tax-rate", "10001")[0] == 2


def test_again_nothing_changes(app: Flask, folder: Path) -> None:
    run(app, folder)
    code, output = run(app, folder)
    assert code == 0
    assert output.count("unchanged") == 2
    assert len(db.session.scalars(select(SiteVersion)).all()) == 2
    assert len(db.session.scalars(select(Deployment)).all()) == 2


def test_a_changed_file_makes_one_new_version_of_that_site(app: Flask, folder: Path) -> None:
    run(app, folder)
    (folder / "bakery" / "css" / "site.css").write_text("h1 { color: black }")
    code, output = run(app, folder)
    assert code == 0
    assert "updated   bakery  version 2" in output
    assert "unchanged la-plumbing-pros" in output
    outbox.drain("deploy")
    assert served("bakery", "css/site.css") == b"h1 { color: black }"


def test_a_folder_that_is_no_site_leaves_nothing_and_the_others_come(app: Flask, folder: Path) -> None:
    fill(folder / "broken", {"about.html": b"x"})
    fill(folder / "Bad Name", FILES)
    (folder / "bakery" / "link.txt").symlink_to("/etc/passwd")
    code, output = run(app, folder)
    assert code == 1
    assert "refused   broken  There is no index.html" in output
    assert "refused   Bad Name" in output
    assert "refused   bakery  link.txt: a link or device" in output
    assert "created   la-plumbing-pros" in output
    assert queries.find_site("broken") is None
    assert queries.find_site("bakery") is None


def test_a_deleted_site_is_not_brought_back_by_the_way(app: Flask, folder: Path) -> None:
    run(app, folder)
    site = queries.find_site("bakery")
    assert site is not None
    with unit_of_work():
        keeping.delete_site(site, by=BY, at=clock.now())
    code, output = run(app, folder)
    assert code == 1
    assert "Bring it back first" in output


def test_an_empty_folder_is_said_to_be_one(app: Flask, tmp_path: Path) -> None:
    code, output = run(app, tmp_path)
    assert code == 1
    assert "has no folders in it" in output


def test_the_demo_sites_are_sites(app: Flask) -> None:
    code, output = run(app, demo.SITES)
    assert code == 0, output
    assert output.count("created") == 3
    outbox.drain("deploy")
    assert b"LA Plumbing Pros" in (served("la-plumbing-pros") or b"")


def test_a_host_that_lost_its_disk_gets_everything_again(app: Flask, folder: Path) -> None:
    run(app, folder)
    outbox.drain("deploy")
    shutil.rmtree(app.config["SITES_ROOT"])
    assert served("bakery") is None
    result = app.test_cli_runner().invoke(cli.deploy_sites)
    assert result.output == "2 sites are being deployed\n"
    outbox.drain("deploy")
    assert served("bakery") == FILES["index.html"]
    assert served("la-plumbing-pros") is not None
