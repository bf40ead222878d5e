"""The owner decides: take all or some pieces of a draft, ask for another, decline; and take back what was taken."""

from collections.abc import Collection, Sequence
from datetime import datetime

from flask_babel import gettext as _

from portal.core import audit, mail, settings
from portal.core.db import db
from portal.core.state import InvalidTransition, transition
from portal.sites import queries
from portal.sites.changes import pieces
from portal.sites.changes.errors import ChangesClosed, DraftMoved, NoPieces, PieceOutdated, UndoTooLate
from portal.sites.changes.models import ChangeRequest, ChangeStatus, Drafter
from portal.sites.changes.queries import Contents, reader_of
from portal.sites.changes.services import drafting
from portal.sites.changes.services.applying import Plan, make_version
from portal.sites.models import Site, SiteVersion, VersionOrigin

_TAKEN = (ChangeStatus.ACCEPTED, ChangeStatus.LIVE)
_LONGEST_NOTE = 120
LONGEST_WISH = 2_000


def accept_pieces(
    change: ChangeRequest, chosen: Collection[str], *, draft_number: int | None, by: str, at: datetime
) -> ChangeRequest:
    """Take these pieces of the draft that was looked at, and put them online. Opens its own transactions.

    Accepting again what was accepted changes nothing. Raises NoPieces, DraftMoved, PieceOutdated, PiecesNeeded,
    ChangesClosed, BusySite, or InvalidTransition when there is nothing to accept.
    """
    if change.status in _TAKEN:
        return change
    draft, change_id = change.draft, change.id
    if change.status is not ChangeStatus.PREVIEW_READY:
        raise InvalidTransition(change, ChangeStatus.ACCEPTED)
    if draft is None or draft.number != draft_number:
        raise DraftMoved
    all_pieces = draft.read_pieces()
    wanted = _chosen_of(all_pieces, chosen)
    # Taken down now: whoever decides first deletes the draft.
    plan = Plan(wanted, Contents.of(draft.base), Contents.of(draft))

    def decide(site: Site, version: SiteVersion) -> None:
        if not site.may_be_changed:
            raise ChangesClosed
        locked, _site = drafting.lock(change_id)
        if locked.draft is None or locked.draft.number != draft_number:
            raise DraftMoved
        _take(locked, version, len(wanted), len(all_pieces), by=by, at=at)

    try:
        make_version(
            change.site, plan, decide, note=_note(change), author=by,
            origin=VersionOrigin.CHANGE, at=at,
        )  # fmt: skip
    except pieces.DoesNotFit:
        db.session.refresh(change)
        if change.status is not ChangeStatus.PREVIEW_READY:
            # What the pieces do not fit is what somebody else has just made of them.
            raise InvalidTransition(change, ChangeStatus.ACCEPTED) from None
        raise PieceOutdated from None
    return change


def _chosen_of(all_pieces: Sequence[pieces.Piece], chosen: Collection[str]) -> list[pieces.Piece]:
    """The pieces with these ids. Raises NoPieces, or DraftMoved when one is of another draft."""
    wanted = [piece for piece in all_pieces if piece.id in chosen]
    if not wanted:
        raise NoPieces
    if len(wanted) != len(set(chosen)):
        raise DraftMoved
    return wanted


def _take(change: ChangeRequest, version: SiteVersion, taken: int, of: int, *, by: str, at: datetime) -> None:
    values = {
        "version_id": version.id,
        "version_number": version.number,
        "accepted_count": taken,
        "piece_count": of,
        "accepted_at": at,
        "updated_at": at,
    }
    transition(change, ChangeStatus.ACCEPTED, by=by, at=at, values=values)
    drafting.drop_draft(change)
    audit.record(
        "site_change.accepted", actor=by, subject=f"site_changes:{change.id}",
        after={"version": version.number, "pieces": taken, "of": of},
    )  # fmt: skip


def _note(change: ChangeRequest) -> str:
    """What the list of versions says: the owner's own words."""
    words = " ".join(change.text.split())
    return words if len(words) <= _LONGEST_NOTE else f"{words[: _LONGEST_NOTE - 1]}…"


def decline(change_id: int, *, by: str, answer: str = "", is_staff: bool = False, at: datetime) -> ChangeRequest:
    """Leave the site as it is; an owner whom staff refuse gets a mail with the reason. Again changes nothing.

    Raises InvalidTransition for what was accepted.
    """
    change, _site = drafting.lock(change_id)
    if change.status is ChangeStatus.DECLINED:
        return change
    values = {"answer": answer.strip(), "updated_at": at}
    transition(change, ChangeStatus.DECLINED, by=by, at=at, reason=answer.strip() or None, values=values)
    drafting.drop_draft(change)
    audit.record("site_change.declined", actor=by, subject=f"site_changes:{change.id}")
    if is_staff:
        mail.send(
            "change_declined", to=change.asked_by.email, locale=change.asked_by.locale,
            key=f"change_declined:{change.id}", change_id=change.id,
        )  # fmt: skip
    return change


def ask_for_another(change_id: int, wish: str, *, draft_number: int | None, by: str, at: datetime) -> ChangeRequest:
    """The draft that was looked at is not what is wanted, or does not fit any more: another one is made.

    Raises DraftMoved, ChangesClosed, or InvalidTransition when there is no draft to look at.
    """
    change, site = drafting.lock(change_id)
    if not site.may_be_changed:
        raise ChangesClosed
    if change.status is not ChangeStatus.PREVIEW_READY:
        raise InvalidTransition(change, ChangeStatus.DRAFTING)
    if change.draft is None or change.draft.number != draft_number:
        raise DraftMoved
    words = wish.replace("\r\n", "\n").strip()[:LONGEST_WISH]
    transition(change, ChangeStatus.DRAFTING, by=by, at=at, reason=words or None, values={"wish": words})
    change.drafter, change.trouble, change.updated_at = Drafter.STAFF, None, at
    if settings.current().has_editor:
        drafting.ask_editor(change, at=at)
    return change


def undo_change(change: ChangeRequest, *, by: str, at: datetime) -> ChangeRequest:
    """Take a change back, and leave what came after it. Opens its own transactions; again changes nothing.

    Raises UndoTooLate when later changes touch the same places or the versions are gone, or InvalidTransition for what
    was not accepted.
    """
    if change.undone_at is not None:
        return change
    change_id, version = change.id, change.version
    if change.status not in _TAKEN:
        raise InvalidTransition(change, ChangeStatus.DECLINED)
    before = queries.find_version_by_id(version.based_on_id) if version is not None else None
    if version is None or before is None:
        raise UndoTooLate
    after, earlier = Contents.of(version), Contents.of(before)
    found = pieces.find_pieces(after.paths, earlier.paths, reader_of([after, earlier]))

    def decide(_site: Site, made: SiteVersion) -> None:
        locked, _locked_site = drafting.lock(change_id)
        if locked.undone_at is not None:
            # Its version is not made: whoever was faster has made it.
            raise InvalidTransition(locked, ChangeStatus.DECLINED)
        locked.undone_at, locked.undone_by_number, locked.updated_at = at, made.number, at
        audit.record(
            "site_change.undone", actor=by, subject=f"site_changes:{locked.id}", after={"version": made.number}
        )

    note = _("Change %(number)s undone", number=change.number)
    try:
        make_version(
            change.site, Plan(found, after, earlier), decide, note=note, author=by, origin=VersionOrigin.RESTORE, at=at
        )
    except pieces.DoesNotFit:
        raise UndoTooLate from None
    return change
