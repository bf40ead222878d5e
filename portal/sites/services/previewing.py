"""Versions to look at before, or instead of, being live: each host gets every version under an address of its own."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from portal.core import files, outbox, settings
from portal.core.db import db, stop_reading
from portal.core.queues import QueueName
from portal.sites import layout, releases, storage
from portal.sites.changes.models import ChangeDraft
from portal.sites.content.checking import read_manifest
from portal.sites.hosts import Host, each_host
from portal.sites.models import Site, SiteVersion
from portal.sites.releases import Content
from portal.sites.services.keeping import TAKEN_DOWN
from portal.sites.services.retention import FORGOTTEN
from portal.sites.services.versions import PREPARE

PREPARE_DRAFT = "site_draft.created"
_LEASE = timedelta(seconds=60)
_LOCK_SECONDS = 20


@outbox.handles(PREPARE, queue=QueueName.DEPLOY, lease=_LEASE)
def prepare_preview(version_id: int, host: str) -> None:  # noqa: ARG001  # tells the messages of several hosts apart
    """Write a version where it can be looked at, on this host; one that is there is left alone."""
    version = db.session.get(SiteVersion, version_id)
    if version is not None:
        _write(version, version.site, version.number)


@outbox.handles(PREPARE_DRAFT, queue=QueueName.DEPLOY, lease=_LEASE)
def prepare_draft(draft_id: int, host: str) -> None:  # noqa: ARG001  # as above
    """Write a draft where it can be looked at, on this host; one that was replaced or decided meanwhile is not."""
    draft = db.session.get(ChangeDraft, draft_id)
    if draft is not None:
        _write(draft, draft.change.site, 0)


def ask_for_draft(draft: ChangeDraft) -> None:
    """Have every host write a draft, in the caller's transaction."""
    for host in each_host():
        outbox.publish(PREPARE_DRAFT, key=_draft_key(draft, host), queue=host.queue, draft_id=draft.id, host=host.name)


def is_being_prepared(draft: ChangeDraft) -> bool:
    """Whether some host still has to write the draft, so that a frame would show nothing yet."""
    return outbox.is_pending([_draft_key(draft, host) for host in each_host()])


def _draft_key(draft: ChangeDraft, host: Host) -> str:
    """By the draft's random name, for numbers of rows are given again."""
    return f"draft:{draft.preview_key}:{host.name}"


def _write(what: SiteVersion | ChangeDraft, site: Site, number: int) -> None:
    if site.is_deleted:
        return
    place, name = layout.place_of(site.slug), what.preview_name
    entries, names = tuple(read_manifest(what.manifest)), storage.names_of(what)
    content = Content(place.slug, number, entries, lambda sha256: files.get(names[sha256]))
    stop_reading()
    with layout.locked(place.root, f"preview-{place.slug}", seconds=_LOCK_SECONDS):
        if not releases.is_whole(place.previews / name, entries):
            releases.discard_folder(place.previews / name)
            releases.build(content, place.previews, name=name)


@outbox.handles(FORGOTTEN, queue=QueueName.DEPLOY, lease=_LEASE)
def remove_old_previews(site_id: int, host: str) -> None:  # noqa: ARG001  # as above
    """Remove the previews of versions that are no longer kept, on this host."""
    site = db.session.get_one(Site, site_id)
    place = layout.place_of(site.slug)
    with layout.locked(place.root, f"preview-{place.slug}", seconds=_LOCK_SECONDS):
        # Under the lock: a version that is written meanwhile waits for it, and one that was written is in the database.
        versions = db.session.scalars(select(SiteVersion).where(SiteVersion.site_id == site_id)).all()
        drafts = db.session.scalars(select(ChangeDraft).where(ChangeDraft.site_id == site_id)).all()
        kept = [*(one.preview_name for one in versions), *(one.preview_name for one in drafts)]
        releases.remove_previews(place, keep=kept)
        stop_reading()


@outbox.handles(TAKEN_DOWN, queue=QueueName.DEPLOY, lease=_LEASE)
def take_down(site_id: int, slug: str) -> None:
    """Serve a deleted site no longer on this host; one that was let go of loses its folders too."""
    with layout.locked(Path(settings.current().sites_root), slug, seconds=_LOCK_SECONDS):
        # Looked at under the lock: whoever brought it back meanwhile waits for it, and deploys after us.
        site = db.session.execute(
            select(Site.deleted_at, Site.purged_at, Site.slug).where(Site.id == site_id)
        ).one_or_none()
        is_reused = db.session.scalar(select(Site.id).where(Site.slug == slug, Site.id != site_id)) is not None
        stop_reading()
        if site is None or site.deleted_at is None or is_reused:
            return
        place = layout.place_of(slug)
        if site.purged_at is not None:
            releases.remove_site(place)
        else:
            releases.take_down(place)
