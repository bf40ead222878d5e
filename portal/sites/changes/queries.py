"""Reading change requests; whose site they are about is part of the question."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import contains_eager, joinedload

from portal.accounts.models import User
from portal.core import files
from portal.core.db import db
from portal.sites import storage
from portal.sites.changes.errors import ChangeNotFound
from portal.sites.changes.models import ChangeDraft, ChangeRequest
from portal.sites.content.kinds import PAGES, kind_of
from portal.sites.models import Site, SiteVersion


def get_change(slug: str, number: int, *, owner: User) -> ChangeRequest:
    """A request about a customer's own site. Raises ChangeNotFound, also for somebody else's."""
    change = db.session.scalars(
        select(ChangeRequest)
        .join(ChangeRequest.site)
        .where(Site.slug == slug, Site.owner_id == owner.id, Site.deleted_at.is_(None), ChangeRequest.number == number)
        .options(contains_eager(ChangeRequest.site))
    ).one_or_none()
    if change is None:
        raise ChangeNotFound
    return change


def get_change_by_id(change_id: int) -> ChangeRequest:
    """Any request, for staff. Raises ChangeNotFound."""
    change = db.session.scalars(
        select(ChangeRequest)
        .where(ChangeRequest.id == change_id)
        .options(joinedload(ChangeRequest.site), joinedload(ChangeRequest.asked_by))
    ).one_or_none()
    if change is None:
        raise ChangeNotFound
    return change


def list_changes(site: Site, *, limit: int = 50) -> list[ChangeRequest]:
    """A site's requests, newest first."""
    statement = select(ChangeRequest).where(ChangeRequest.site_id == site.id).order_by(ChangeRequest.number.desc())
    return list(db.session.scalars(statement.limit(limit)))


def made_of(versions: Iterable[SiteVersion]) -> dict[int, ChangeRequest]:
    """The requests that became one of these versions, by the version's id; one statement."""
    ids = [version.id for version in versions]
    found = db.session.scalars(select(ChangeRequest).where(ChangeRequest.version_id.in_(ids)))
    return {change.version_id: change for change in found if change.version_id is not None}


def pages_of(version: SiteVersion | None) -> list[str]:
    """The pages that a request can be about."""
    if version is None:
        return []
    return sorted(path for path in version.paths if kind_of(path) in PAGES)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version or a draft consists of, for when its row may be gone: hashes by path, and storage names."""

    paths: dict[str, str]
    names: dict[str, str]

    @classmethod
    def of(cls, one: SiteVersion | ChangeDraft) -> "Contents":
        """As the database has it now."""
        return cls(one.paths, storage.names_of(one))


def reader(versions: Iterable[SiteVersion | ChangeDraft]) -> Callable[[str], bytes]:
    """Bytes of these by their hash, each fetched once. Raises FileNotFoundError for what the storage has lost."""
    return reader_of(map(Contents.of, versions))


def reader_of(contents: Iterable[Contents]) -> Callable[[str], bytes]:
    """The same for what was taken down before."""
    names = {sha256: name for one in contents for sha256, name in one.names.items()}
    known: dict[str, bytes] = {}

    def read(sha256: str) -> bytes:
        if sha256 not in known:
            known[sha256] = files.get(names.get(sha256, sha256))
        return known[sha256]

    return read
