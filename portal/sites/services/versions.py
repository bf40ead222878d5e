"""Making versions: files are checked, their bytes stored under their hashes, and a row names them for good.

Storing may mean talking to another server, so it happens between two transactions. What a crash leaves behind is bytes
that no version names, and the nightly clean-up takes them.
"""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from portal.core import audit, outbox
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.faults import fault
from portal.sites import queries, storage
from portal.sites.changes.models import ChangeDraft
from portal.sites.content import checking
from portal.sites.content.checking import Entry
from portal.sites.content.names import check_name
from portal.sites.errors import FileNotInVersion, NothingChanged, SiteDeleted, VersionMoved
from portal.sites.hosts import each_host
from portal.sites.models import Site, SiteVersion, VersionOrigin

PREPARE = "site_version.created"
_KEY_BYTES = 12


@dataclass(frozen=True, slots=True)
class Draft:
    """Content that is stored and not yet a version."""

    site_id: int
    entries: tuple[Entry, ...]

    @property
    def sha256(self) -> str:
        """One hash of all of it."""
        return checking.manifest_hash(self.entries)


def create_version(
    site: Site,
    files: Mapping[str, bytes],
    *,
    based_on: SiteVersion | None = None,
    removed: Collection[str] = (),
    note: str,
    author: str,
    origin: VersionOrigin,
    at: datetime,
) -> SiteVersion:
    """Check files, store them, and make them the site's next version. Opens its own transactions.

    With `based_on`, `files` are added to that version's or replace them, and those in `removed` are left out; should
    another version have been made since, VersionMoved is raised. Raises ContentRefused, NothingChanged or SiteDeleted.
    """
    draft = store(site, files, based_on=based_on, removed=removed, at=at)
    with unit_of_work():
        return add_version(draft, based_on=based_on, note=note, author=author, origin=origin, at=at)


def store(
    site: Site,
    files: Mapping[str, bytes],
    *,
    based_on: SiteVersion | ChangeDraft | None = None,
    removed: Collection[str] = (),
    at: datetime,
) -> Draft:
    """Check files and store their bytes; `add_version` makes a version of it. Opens its own transaction.

    Raises ContentRefused, or FileNotInVersion for one to be removed that is not there.
    """
    checking.check_files(files)
    entries = merge(files, based_on, removed)
    contents = {checking.entry_of(path, content).sha256: content for path, content in files.items()}
    with unit_of_work():
        names = storage.claim(site, entries, at=at)
    stop_reading()
    storage.put(contents, names)
    return Draft(site.id, tuple(entries))


def merge(
    files: Mapping[str, bytes], based_on: SiteVersion | ChangeDraft | None, removed: Collection[str]
) -> list[Entry]:
    """What a version would consist of, checked as a whole. Raises ContentRefused or FileNotInVersion."""
    kept = {entry.path: entry for entry in checking.read_manifest(based_on.manifest)} if based_on else {}
    for path in removed:
        if kept.pop(check_name(path), None) is None:
            raise FileNotInVersion
    kept.update((path, checking.entry_of(path, content)) for path, content in files.items())
    return checking.check_site(kept.values())


def add_version(
    draft: Draft, *, based_on: SiteVersion | None = None, note: str, author: str, origin: VersionOrigin, at: datetime
) -> SiteVersion:
    """Make stored content the site's next version, in the caller's transaction.

    Raises NothingChanged when the newest version is the same to the byte, VersionMoved, or SiteDeleted.
    """
    # The lock makes two who save at once take two numbers, or lets the second see that it is late.
    site = storage.lock_site(draft.site_id)
    if site.is_deleted:
        raise SiteDeleted
    newest = queries.find_newest_version(site)
    if newest is not None and newest.manifest_sha256 == draft.sha256:
        raise NothingChanged
    if based_on is not None and newest is not None and newest.id != based_on.id:
        raise VersionMoved
    storage.claim(site, draft.entries, at=at)
    version = SiteVersion(
        site_id=site.id,
        number=site.last_version_number + 1,
        manifest=[entry.as_json() for entry in draft.entries],
        manifest_sha256=draft.sha256,
        storage_prefix=storage.prefix_of(site),
        preview_key=secrets.token_hex(_KEY_BYTES),
        file_count=len(draft.entries),
        size_bytes=sum(entry.size for entry in draft.entries),
        note=note.strip(),
        author=author,
        origin=origin,
        based_on_id=based_on.id if based_on else None,
        created_at=at,
    )
    db.session.add(version)
    site.last_version_number = version.number
    site.updated_at = at
    db.session.flush()
    fault("version-before-commit")
    audit.record(
        "site_version.created",
        actor=author,
        subject=f"sites:{site.id}",
        after={"version": version.number, "files": version.file_count, "bytes": version.size_bytes,
               "origin": origin.value},
    )  # fmt: skip
    for host in each_host():
        outbox.publish(PREPARE, queue=host.queue, version_id=version.id, host=host.name)
    return version
