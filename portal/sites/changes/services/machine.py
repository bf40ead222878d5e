"""The editor service's turn: asked outside any transaction, believed as little as an upload, and no one waits for it.

Whatever goes wrong, the request ends with staff, and says why.
"""

from datetime import datetime, timedelta

import structlog

from portal.core import clock, outbox, settings
from portal.core.db import stop_reading, unit_of_work
from portal.core.faults import fault
from portal.core.queues import QueueName
from portal.core.state import transition
from portal.sites import queries
from portal.sites.changes.editor import answering, asking
from portal.sites.changes.editor.errors import EditorAway, EditorCannot, EditorNonsense, EditorRefused
from portal.sites.changes.errors import ChangeMoved, DraftMoved, NothingDrafted
from portal.sites.changes.models import ChangeDraft, ChangeRequest, ChangeStatus, Drafter, Trouble
from portal.sites.changes.queries import get_change_by_id, reader
from portal.sites.changes.services import drafting
from portal.sites.changes.services.asking import TO_DRAFT
from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text
from portal.sites.errors import ContentRefused, SiteDeleted
from portal.sites.models import SiteVersion

log = structlog.get_logger(__name__)

# A call may take a minute and a half; the rest is reading and storing.
LEASE = timedelta(seconds=150)
MOST_TRIES = 3
_WAIT = timedelta(seconds=30)
_BY = "job:editor"
_TROUBLES: dict[type[Exception], Trouble] = {
    EditorRefused: Trouble.REFUSED,
    EditorNonsense: Trouble.NONSENSE,
    EditorCannot: Trouble.CANNOT,
    ContentRefused: Trouble.NONSENSE,
    NothingDrafted: Trouble.NONSENSE,
}


def _give_up(change_id: int) -> None:
    change, _site = drafting.lock(change_id)
    if _is_ours(change):
        drafting.leave_to_staff(change, Trouble.AWAY, at=clock.now())


@outbox.handles(TO_DRAFT, queue=QueueName.FILES, lease=LEASE, on_exhausted=_give_up)
def draft_by_editor(change_id: int) -> None:
    """Let the editor service draft a change, and show the draft when nothing speaks against it."""
    with unit_of_work():
        is_ours = _begin(change_id, at=clock.now())
    if not is_ours:
        return
    try:
        draft = _draft(change_id)
    except EditorAway as trouble:
        _try_later(change_id, str(trouble))
    except tuple(_TROUBLES) as trouble:
        _leave(change_id, _TROUBLES[type(trouble)], str(trouble))
    except (DraftMoved, ChangeMoved, SiteDeleted):
        # Staff took over, or somebody decided, while the service was thinking.
        log.info("editor_too_late", change_id=change_id)
    else:
        fault("change-drafted")
        _show(change_id, draft)


def _is_ours(change: ChangeRequest) -> bool:
    return change.status in drafting.DRAFTABLE and change.drafter is Drafter.EDITOR


def _begin(change_id: int, *, at: datetime) -> bool:
    """Count a try, before it is made: a service that kills the worker each time ends with staff, too."""
    change, site = drafting.lock(change_id)
    if not _is_ours(change) or site.is_deleted:
        return False
    if change.tries >= MOST_TRIES or not settings.current().has_editor:
        drafting.leave_to_staff(change, Trouble.AWAY, at=at)
        return False
    change.tries += 1
    if change.status is ChangeStatus.RECEIVED:
        transition(change, ChangeStatus.DRAFTING, by=_BY, at=at, values={"updated_at": at})
    return True


def _draft(change_id: int) -> ChangeDraft:
    """Raises what the service and the checks of its answer raise."""
    # Brings the HTTP client, which the web server never needs.
    from portal.sites.changes.editor.calling import Service

    change = get_change_by_id(change_id)
    base = queries.find_wanted_version(change.site)
    if base is None:
        raise SiteDeleted
    replaces = change.draft.number if change.draft is not None else None
    task = _task(change, base)
    stop_reading()
    options = settings.current()
    service = Service(options.editor_api_url, options.editor_api_model, options.editor_api_key)
    words = service.complete(asking.messages(task))
    written = answering.read_answer(words, task.texts, frozenset(task.other_files))
    return drafting.save_draft(
        get_change_by_id(change_id), written, replaces=replaces, author=_BY, by=Drafter.EDITOR, base=base,
        at=clock.now(),
    )  # fmt: skip


def _task(change: ChangeRequest, base: SiteVersion) -> asking.Task:
    read = reader([base])
    readable = [one for one in base.manifest if is_text(one["path"]) and one["size"] <= LARGEST_TEXT]
    texts = asking.choose({one["path"]: read(one["sha256"]) for one in readable}, change.page)
    return asking.Task(
        request=change.text,
        wish=change.wish,
        page=change.page,
        picture=change.picture_path if change.picture_name is not None else None,
        texts=texts,
        other_files=tuple(path for path in sorted(base.paths) if path not in texts),
    )


def _show(change_id: int, draft: ChangeDraft) -> None:
    """A person looks first at what could let others do something on the site."""
    is_risky = any(finding.is_risky for finding in draft.read_findings())
    with unit_of_work():
        change, _site = drafting.lock(change_id)
        if not _is_ours(change) or change.draft is None or change.draft.number != draft.number:
            return
        if is_risky:
            drafting.leave_to_staff(change, Trouble.RISKY, at=clock.now())
        else:
            drafting.show_draft(change_id, draft_number=draft.number, by=_BY, at=clock.now())


def _try_later(change_id: int, said: str) -> None:
    log.warning("editor_away", change_id=change_id, said=said)
    with unit_of_work():
        change, _site = drafting.lock(change_id)
        if not _is_ours(change):
            return
        if change.tries >= MOST_TRIES:
            drafting.leave_to_staff(change, Trouble.AWAY, at=clock.now())
        else:
            outbox.publish(TO_DRAFT, available_at=clock.now() + change.tries * _WAIT, change_id=change_id)


def _leave(change_id: int, trouble: Trouble, said: str) -> None:
    log.warning("editor_failed", change_id=change_id, trouble=trouble.value, said=said)
    with unit_of_work():
        change, _site = drafting.lock(change_id)
        if _is_ours(change):
            drafting.leave_to_staff(change, trouble, at=clock.now())
