"""Drafts: what a site would be with a change, made by the editor service or by staff, and shown to the owner."""

import secrets
from collections.abc import Collection, Mapping
from datetime import datetime

from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from portal.core import audit, mail, outbox, settings
from portal.core import files as stored_files
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.state import transition
from portal.sites import queries, storage
from portal.sites.changes import findings, pieces
from portal.sites.changes.errors import ChangeMoved, DraftMoved, NothingDrafted
from portal.sites.changes.models import ChangeDraft, ChangeRequest, ChangeStatus, Drafter, Trouble
from portal.sites.changes.queries import reader
from portal.sites.changes.services.asking import TO_DRAFT
from portal.sites.errors import VersionNotFound
from portal.sites.hosts import each_host
from portal.sites.models import Site, SiteVersion
from portal.sites.services import previewing, versions
from portal.sites.services.retention import FORGOTTEN

_KEY_BYTES = 16
DRAFTABLE = (ChangeStatus.RECEIVED, ChangeStatus.DRAFTING)


def lock(change_id: int) -> tuple[ChangeRequest, Site]:
    """Wait for whoever else is at the site, then for whoever is at the request; both as they are now."""
    site_id = db.session.scalars(select(ChangeRequest.site_id).where(ChangeRequest.id == change_id)).one()
    site = storage.lock_site(site_id)
    change: ChangeRequest = db.session.scalars(
        select(ChangeRequest)
        .where(ChangeRequest.id == change_id)
        .with_for_update(of=ChangeRequest)
        .execution_options(populate_existing=True)
    ).one()
    db.session.expire(change, ["draft"])
    return change, site


def save_draft(
    change: ChangeRequest,
    files: Mapping[str, bytes],
    *,
    removed: Collection[str] = (),
    replaces: int | None,
    author: str,
    by: Drafter,
    base: SiteVersion | None = None,
    at: datetime,
) -> ChangeDraft:
    """Make the request's draft of these files, on top of the draft whose number it `replaces`, or of what is served.

    The owner's picture comes with the page that names it. With `base` the draft is made of that version alone. Opens
    its own transactions. Raises ContentRefused, FileNotInVersion, NothingDrafted, DraftMoved when there is another
    draft by now, or ChangeMoved when nobody drafts any more.
    """
    site, change_id, old = change.site, change.id, change.draft
    if (old.number if old is not None else None) != replaces:
        raise DraftMoved
    start: SiteVersion | ChangeDraft | None = base
    if start is None and old is not None:
        start, base = old, old.base
    elif start is None:
        start = base = queries.find_wanted_version(site)
    if start is None or base is None:
        raise VersionNotFound
    if change.picture_name and any(change.picture_path.encode() in content for content in files.values()):
        files = {**files, change.picture_path: stored_files.get(change.picture_name)}
    stored = versions.store(site, files, based_on=start, removed=removed, at=at)
    draft = ChangeDraft(
        change_id=change_id,
        site_id=site.id,
        base_id=base.id,
        manifest=[entry.as_json() for entry in stored.entries],
        preview_key=secrets.token_hex(_KEY_BYTES),
        author=author,
        created_at=at,
    )
    read = reader([base, draft])
    found = pieces.find_pieces(base.paths, draft.paths, read)
    if not found:
        raise NothingDrafted
    draft.pieces = [piece.as_json() for piece in found]
    draft.findings = [one.as_json() for one in findings.look(base.paths, draft.paths, draft.sizes, read)]
    stop_reading()
    with unit_of_work():
        _replace(draft, stored, replaces, author=author, by=by, at=at)
    return draft


def _replace(
    draft: ChangeDraft, stored: versions.Draft, replaces: int | None, *, author: str, by: Drafter, at: datetime
) -> None:
    change, site = lock(draft.change_id)
    old = change.draft
    if (old.number if old is not None else None) != replaces:
        raise DraftMoved
    # Staff may take over from the editor service; what that says afterwards comes too late.
    if change.status not in DRAFTABLE or (by is Drafter.EDITOR and change.drafter is not by):
        raise ChangeMoved
    storage.claim(site, stored.entries, at=at)
    drop_draft(change)
    change.draft_count += 1
    draft.number = change.draft_count
    db.session.add(draft)
    change.drafter, change.updated_at = by, at
    if by is Drafter.STAFF:
        change.trouble = None
    if change.status is ChangeStatus.RECEIVED:
        transition(change, ChangeStatus.DRAFTING, by=author, at=at)
    db.session.flush()
    audit.record(
        "site_change.drafted", actor=author, subject=f"site_changes:{change.id}", after={"pieces": len(draft.pieces)}
    )
    previewing.ask_for_draft(draft)


def drop_draft(change: ChangeRequest) -> None:
    """Let go of a request's draft, in the caller's transaction, and of what was to be looked at of it."""
    if change.draft is None:
        return
    db.session.delete(change.draft)
    db.session.flush()
    db.session.expire(change, ["draft"])
    for host in each_host():
        outbox.publish(FORGOTTEN, queue=host.queue, site_id=change.site_id, host=host.name)


def show_draft(change_id: int, *, draft_number: int | None, by: str, at: datetime) -> ChangeRequest:
    """Show the draft to the owner, who gets a mail. Showing the same again changes nothing.

    Raises DraftMoved when it is not the draft that was looked at, InvalidTransition when nobody drafts any more.
    """
    change, _site = lock(change_id)
    if change.draft is None or change.draft.number != draft_number:
        raise DraftMoved
    if change.status is ChangeStatus.PREVIEW_READY:
        return change
    transition(change, ChangeStatus.PREVIEW_READY, by=by, at=at, values={"updated_at": at, "trouble": None})
    mail.send(
        "change_ready", to=change.asked_by.email, locale=change.asked_by.locale,
        key=f"change_ready:{change.id}:{draft_number}", change_id=change.id,
    )  # fmt: skip
    return change


def start_over(change_id: int, *, by: str, at: datetime) -> ChangeRequest:
    """Staff begin again from what is served. Raises ChangeMoved when nobody drafts any more."""
    change, _site = lock(change_id)
    if change.status not in DRAFTABLE:
        raise ChangeMoved
    drop_draft(change)
    change.updated_at = at
    audit.record("site_change.draft_dropped", actor=by, subject=f"site_changes:{change.id}")
    return change


def hand_to_editor(change_id: int, *, by: str, at: datetime) -> ChangeRequest:
    """Let the editor service draft it, or draft it once more. Raises ChangeMoved when nobody drafts any more."""
    change, _site = lock(change_id)
    if change.status not in DRAFTABLE or not settings.current().has_editor:
        raise ChangeMoved(_l("The editor service is not set up, or this is not drafted any more."))
    ask_editor(change, at=at)
    audit.record("site_change.handed_to_editor", actor=by, subject=f"site_changes:{change.id}")
    return change


def ask_editor(change: ChangeRequest, *, at: datetime) -> None:
    """In the caller's transaction, put a request into the editor service's queue, with fresh tries."""
    change.drafter, change.tries, change.trouble, change.updated_at = Drafter.EDITOR, 0, None, at
    outbox.publish(TO_DRAFT, change_id=change.id)


def leave_to_staff(change: ChangeRequest, trouble: Trouble, *, at: datetime) -> None:
    """In the caller's transaction: the editor service did not manage, a person does."""
    change.drafter, change.trouble, change.updated_at = Drafter.STAFF, trouble, at
    audit.record(
        "site_change.left_to_staff", actor="job:editor", subject=f"site_changes:{change.id}", detail=trouble.value
    )
