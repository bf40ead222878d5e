"""Taking a folder of existing sites: each folder in it is a site, found again by its name."""

import re
from dataclasses import dataclass, replace
from datetime import datetime
from html import unescape
from pathlib import Path

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.core.db import db, unit_of_work
from portal.core.errors import PortalError
from portal.sites import queries
from portal.sites.content.folders import read_folder
from portal.sites.errors import NothingChanged, SiteDeleted
from portal.sites.models import DEFAULT_TAX_RATE, Site, VersionOrigin
from portal.sites.services.deploying import request_deployment
from portal.sites.services.keeping import SiteValues, create_site
from portal.sites.services.versions import create_version, merge
from portal.sites.slugs import check_slug

_TITLE = re.compile(rb"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)
_DESCRIPTION = re.compile(rb"""<meta\s+name=["']description["']\s+content=(?:"([^"]*)"|'([^']*)')""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one folder; `problem` says why nothing did."""

    slug: str
    outcome: str
    number: int | None = None
    problem: str | LazyString = ""


def import_folder(folder: Path, *, tax_rate_basis_points: int = DEFAULT_TAX_RATE, by: str, at: datetime) -> Imported:
    """Make or update the site named as the folder, and have it deployed. Opens its own transactions.

    Content that the newest version has already makes no new one. The tax rate is a new site's.
    """
    slug = folder.name
    try:
        check_slug(slug)
        files = read_folder(folder)
        site = queries.find_site(slug)
        if site is not None and site.is_deleted:
            raise SiteDeleted
        is_new = site is None
        if site is None:
            # Before the site is made: a folder that is no site leaves nothing behind.
            merge(files, None, ())
            values = replace(describe(slug, files), tax_rate_basis_points=tax_rate_basis_points)
            with unit_of_work():
                site = create_site(slug, values, by=by, at=at)
        version = create_version(site, files, note=str(_l("Imported")), author=by, origin=VersionOrigin.IMPORT, at=at)
        with unit_of_work():
            request_deployment(db.session.get_one(Site, site.id), version, by=by, at=at)
    except NothingChanged:
        return Imported(slug, "unchanged")
    except OSError as error:
        return Imported(slug, "refused", problem=error.strerror or type(error).__name__)
    except PortalError as error:
        return Imported(slug, "refused", problem=error.message)
    return Imported(slug, "created" if is_new else "updated", version.number)


def describe(slug: str, files: dict[str, bytes]) -> SiteValues:
    """What a site says about itself on its first page; else its slug in words."""
    page = files.get("index.html", b"")
    title, description = _TITLE.search(page), _DESCRIPTION.search(page)
    words = _plain(title[1]) if title else ""
    summary = _plain(description[1] or description[2] or b"") if description else ""
    return SiteValues(title=words[:120] or slug.replace("-", " ").capitalize(), summary=summary[:300])


def _plain(text: bytes) -> str:
    words = unescape(text.decode("utf-8", "replace"))
    return " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
