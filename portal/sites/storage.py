"""The bytes of versions, in the portal's file storage, each under its hash; nothing there is ever overwritten."""

import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import select

from portal.core import files
from portal.core.db import db
from portal.sites.changes.models import ChangeDraft
from portal.sites.content.checking import Entry
from portal.sites.models import Site, SiteBlob, SiteVersion

# Whoever makes a version needs far less than this from touching its blobs to naming them.
UNTOUCHED = timedelta(days=1)
_AT_ONCE = 500


def prefix_of(site: Site) -> str:
    """The folder of a site's bytes in the storage."""
    return f"sites/{site.public_id}"


def claim(site: Site, entries: Iterable[Entry], *, at: datetime) -> dict[str, str]:
    """In the caller's transaction, say which bytes a new version needs: their storage names by hash.

    The site's row is locked here and in `forget_unused`, so that one never looks while the other changes.
    """
    lock_site(site.id)
    sizes = {entry.sha256: entry.size for entry in entries}
    known = {blob.sha256: blob for blob in _blobs(site.id, sizes)}
    for sha256, size in sizes.items():
        blob = known.get(sha256)
        if blob is None:
            name = f"{prefix_of(site)}/{sha256[:2]}/{sha256}-{secrets.token_hex(4)}"
            blob = SiteBlob(site_id=site.id, sha256=sha256, name=name, size_bytes=size, touched_at=at)
            db.session.add(blob)
            known[sha256] = blob
        elif blob.touched_at < at:
            blob.touched_at = at
    db.session.flush()
    return {sha256: blob.name for sha256, blob in known.items()}


def put(contents: Mapping[str, bytes], names: Mapping[str, str]) -> None:
    """Store bytes by their hash; what is there already is the same. Outside any transaction: it may take long."""
    for sha256, content in contents.items():
        try:
            files.put(names[sha256], content)
        except FileExistsError:
            continue


def names_of(version: SiteVersion | ChangeDraft) -> dict[str, str]:
    """The storage names of everything in a version or a draft, by hash."""
    hashes = {entry["sha256"] for entry in version.manifest}
    return {blob.sha256: blob.name for blob in _blobs(version.site_id, hashes)}


def read(version: SiteVersion | ChangeDraft, sha256: str) -> bytes:
    """The bytes with this hash. Raises FileNotFoundError."""
    name = db.session.scalar(
        select(SiteBlob.name).where(SiteBlob.site_id == version.site_id, SiteBlob.sha256 == sha256)
    )
    if name is None:
        raise FileNotFoundError(sha256)
    return files.get(name)


def forget_unused(site_id: int, *, at: datetime) -> list[str]:
    """In the caller's transaction, give up the bytes that no version and no draft names: what to delete then.

    The row goes first: whoever needs the same bytes from here on stores them under another name.
    """
    lock_site(site_id)
    used = {
        entry["sha256"]
        for named in (SiteVersion, ChangeDraft)
        for manifest in db.session.scalars(select(named.manifest).where(named.site_id == site_id))
        for entry in manifest
    }
    old = db.session.scalars(
        select(SiteBlob).where(SiteBlob.site_id == site_id, SiteBlob.touched_at < at - UNTOUCHED)
    ).all()
    unused = [blob for blob in old if blob.sha256 not in used]
    for blob in unused:
        db.session.delete(blob)
    db.session.flush()
    return [blob.name for blob in unused]


def lock_site(site_id: int) -> Site:
    """Wait for whoever else changes the site, and return it as it is now. Raises NoResultFound."""
    site: Site = db.session.scalars(
        select(Site).where(Site.id == site_id).with_for_update(of=Site).execution_options(populate_existing=True)
    ).one()
    return site


def _blobs(site_id: int, hashes: Iterable[str]) -> list[SiteBlob]:
    wanted = list(hashes)
    found: list[SiteBlob] = []
    for start in range(0, len(wanted), _AT_ONCE):
        found += db.session.scalars(
            select(SiteBlob).where(SiteBlob.site_id == site_id, SiteBlob.sha256.in_(wanted[start : start + _AT_ONCE]))
        ).all()
    return found
