"""Pieces become the site's next version, on top of whatever is served by then, and are deployed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_babel import lazy_gettext as _l

from portal.core.db import db, stop_reading, unit_of_work
from portal.core.faults import fault
from portal.sites import queries, storage
from portal.sites.changes import findings, pieces
from portal.sites.changes.errors import BusySite, PiecesNeeded
from portal.sites.changes.pieces import Piece
from portal.sites.changes.queries import Contents, reader_of
from portal.sites.errors import NothingChanged, VersionNotFound
from portal.sites.models import Site, SiteVersion, VersionOrigin
from portal.sites.services import deploying, versions

_TRIES = 3
# Called with the site, locked, and its new version: decides in the same transaction, or refuses by raising.
Decide = Callable[[Site, SiteVersion], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """The pieces to take over, and the two states of the site that they lie between."""

    pieces: Sequence[Piece]
    old: Contents
    new: Contents


def make_version(
    site: Site, plan: Plan, decide: Decide, *, note: str, author: str, origin: VersionOrigin, at: datetime
) -> SiteVersion:
    """Put the pieces onto the site and have the result deployed. Opens its own transactions.

    Bytes are stored before the last one; that makes the version, decides and asks for the deployment, all or nothing.
    Raises pieces.DoesNotFit, PiecesNeeded, ContentRefused, BusySite, or what `decide` raises.
    """
    site_id = site.id
    for _try in range(_TRIES):
        target = queries.find_wanted_version(queries.get_site_by_id(site_id))
        if target is None:
            raise VersionNotFound
        stored = _store(site, plan, target, at=at)
        fault("change-stored")
        with unit_of_work():
            locked = storage.lock_site(site_id)
            wanted = queries.find_wanted_version(locked)
            if wanted is None or wanted.id != target.id:
                # Somebody was faster: the pieces have to go onto what they have made.
                continue
            version = _add(locked, stored, target, note=note, author=author, origin=origin, at=at)
            decide(locked, version)
            deploying.request_deployment(locked, version, by=author, at=at)
            fault("change-before-commit")
            return version
    raise BusySite


def _store(site: Site, plan: Plan, target: SiteVersion, *, at: datetime) -> versions.Draft:
    read = reader_of([plan.old, plan.new, Contents.of(target)])
    result = pieces.put_together(plan.pieces, plan.old.paths, plan.new.paths, target.paths, read)
    wanted = frozenset(plan.new.paths)
    stop_reading()
    stored = versions.store(site, result.files, based_on=target, removed=result.removed, at=at)
    paths = {entry.path: entry.sha256 for entry in stored.entries}
    written = {paths[path]: content for path, content in result.files.items()}
    left = findings.dead_links(paths, wanted, written.__getitem__, among=result.files)
    if left:
        raise PiecesNeeded(
            _l(
                "%(page)s would link to %(file)s, which is in a piece that you left out. Take both or none.",
                page=left[0].path,
                file=left[0].detail,
            )
        )
    return stored


def _add(
    site: Site,
    stored: versions.Draft,
    target: SiteVersion,
    *,
    note: str,
    author: str,
    origin: VersionOrigin,
    at: datetime,
) -> SiteVersion:
    """The stored content as a version; the newest one when that is the same to the byte, as after a restore."""
    try:
        version = versions.add_version(stored, note=note, author=author, origin=origin, at=at)
    except NothingChanged:
        newest = queries.find_newest_version(site)
        if newest is None:
            raise
        return newest
    version.based_on_id = target.id
    db.session.flush()
    return version
