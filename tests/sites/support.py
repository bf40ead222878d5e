"""Sites for tests: small ones, made through the services, deployed by draining the queue."""

import io
import itertools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from flask import Flask

from portal.accounts.models import User
from portal.core import clock, outbox
from portal.core.db import db, unit_of_work
from portal.sites import layout
from portal.sites.models import Deployment, Site, SiteVersion, VersionOrigin
from portal.sites.services import deploying, keeping, ownership, versions
from portal.sites.services.keeping import SiteValues

BY = "staff@example.com"
Row = TypeVar("Row", Site, Deployment, SiteVersion)
_numbers = itertools.count(1)
FILES = {
    "index.html": b"<!doctype html><title>Bakery</title><link rel=stylesheet href=css/site.css><h1>Bread</h1>",
    "css/site.css": b"h1 { color: brown }",
    "about/index.html": b"<!doctype html><title>About</title><h1>About us</h1>",
}


def page(words: str) -> dict[str, bytes]:
    """A site of one page that says this."""
    return {"index.html": f"<!doctype html><title>{words}</title><h1>{words}</h1>".encode()}


def make_site(slug: str | None = None, *, owner: User | None = None, title: str = "The bakery", **values: Any) -> Site:
    """A site without content; with an owner, one that was bought."""
    with unit_of_work():
        site = keeping.create_site(
            slug or f"bakery-{next(_numbers)}", SiteValues(title=title, **values), by=BY, at=clock.now()
        )
        if owner is not None:
            ownership.hand_over(site, owner, at=clock.now())
    return site


def make_version(site: Site, files: Mapping[str, bytes] = FILES, **changes: Any) -> SiteVersion:
    """The site's next version."""
    values: dict[str, Any] = {"note": "", "author": BY, "origin": VersionOrigin.UPLOAD, "at": clock.now(), **changes}
    return versions.create_version(site, files, **values)


def request(site: Site, version: SiteVersion) -> Deployment:
    """Ask for a deployment; on one host there is one."""
    with unit_of_work():
        return deploying.request_deployment(site, version, by=BY, at=clock.now())[-1]


def deploy(site: Site, version: SiteVersion) -> Deployment:
    """Ask for a deployment and carry it out in this process."""
    deployment = request(site, version)
    outbox.drain("deploy")
    return fresh(deployment)


def make_live_site(slug: str | None = None, files: Mapping[str, bytes] = FILES, **values: Any) -> Site:
    """A site whose first version is served."""
    site = make_site(slug, **values)
    deploy(site, make_version(site, files))
    return fresh(site)


def fresh(row: Row) -> Row:
    """The row as the database has it now."""
    db.session.rollback()
    return db.session.get_one(type(row), row.id, populate_existing=True)


def live_version(site: Site) -> SiteVersion:
    """The version that visitors see."""
    version = fresh(site).current_version
    assert version is not None
    return version


def served(slug: str, path: str = "index.html") -> bytes | None:
    """What the site's folder gives at this moment."""
    try:
        return (layout.place_of(slug).current / path).read_bytes()
    except FileNotFoundError:
        return None


def root(app: Flask) -> Path:
    """The folder of all sites."""
    return Path(app.config["SITES_ROOT"])


def steps(deployment: Deployment) -> list[str]:
    """The words of its log."""
    return [step.step for step in fresh(deployment).steps]


def zipped(files: Mapping[str, bytes | str]) -> io.BytesIO:
    """A zip file of these."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    buffer.seek(0)
    return buffer
