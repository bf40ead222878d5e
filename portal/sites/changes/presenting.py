"""How a change is shown: its pieces with their lines, what the checks say in words, and its way so far."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import LazyString, ngettext
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l

from portal.core.state import StatusChange
from portal.core.status_labels import status_label
from portal.sites import layout
from portal.sites.changes import pieces
from portal.sites.changes.findings import Finding, FindingKind
from portal.sites.changes.models import ChangeDraft, ChangeRequest, ChangeStatus, Drafter, Trouble
from portal.sites.changes.pieces import Piece, PieceKind
from portal.sites.changes.queries import reader
from portal.sites.content.kinds import PAGES, is_text, kind_of
from portal.sites.models import SiteVersion, VersionOrigin

_CONTEXT = 2
_MOST_LINES, _LONGEST_LINE = 120, 600
_FINDINGS: dict[FindingKind, tuple[str, LazyString]] = {
    FindingKind.SCRIPT: ("danger", _l("%(file)s: a script comes in: %(detail)s")),
    FindingKind.ELSEWHERE: ("danger", _l("%(file)s: something is loaded from another server: %(detail)s")),
    FindingKind.REDIRECT: ("danger", _l("%(file)s: visitors are sent on: %(detail)s")),
    FindingKind.DEAD_LINK: ("warning", _l("%(file)s: a link leads nowhere: %(detail)s")),
    FindingKind.NO_ALT: ("warning", _l("%(file)s: a picture has no words for people who cannot see it: %(detail)s")),
    FindingKind.BROKEN_HTML: ("warning", _l("%(file)s: the HTML is not written by the rules: %(detail)s")),
    FindingKind.LARGE_FILE: ("warning", _l("%(file)s: a large file, slow on phones: %(detail)s bytes")),
    FindingKind.OUTSIDE_LINK: ("info", _l("%(file)s: a new link to another website: %(detail)s")),
}
_TROUBLES: dict[Trouble, LazyString] = {
    Trouble.AWAY: _l("The editor service did not answer, several times."),
    Trouble.REFUSED: _l("The editor service refuses our requests. Check its key and model."),
    Trouble.NONSENSE: _l("The editor service's answer could not be used."),
    Trouble.CANNOT: _l("The editor service says that it cannot do this."),
    Trouble.RISKY: _l(
        "The editor service's draft brings in scripts or content of others. Look at it before you show it."
    ),
}
_KINDS: dict[PieceKind, LazyString] = {
    PieceKind.CHANGED: _l("changed"),
    PieceKind.ADDED: _l("new file"),
    PieceKind.REMOVED: _l("removed"),
    PieceKind.REPLACED: _l("replaced"),
}
TONES = {PieceKind.ADDED: "success", PieceKind.REMOVED: "danger"}


@dataclass(frozen=True, slots=True)
class ShownPiece:
    """A piece as people read it: `lines` begin with a space, + or -."""

    id: str
    path: str
    number: int
    kind: LazyString
    tone: str
    lines: tuple[str, ...]
    is_cut: bool
    is_outdated: bool


@dataclass(frozen=True, slots=True)
class Looking:
    """A page of the draft beside the same page as it was, in frames of the sites' own origin."""

    path: str
    before_url: str | None
    after_url: str | None


def shown_pieces(draft: ChangeDraft, target: SiteVersion | None) -> list[ShownPiece]:
    """Every piece, numbered; those that do not fit `target` any more are marked."""
    found, onto = draft.read_pieces(), target or draft.base
    read = reader([draft.base, draft, onto])
    stale = pieces.outdated(found, draft.base.paths, draft.paths, onto.paths, read)
    return [
        show_piece(number, piece, draft.base.paths, draft.paths, read, is_outdated=piece.id in stale)
        for number, piece in enumerate(found, start=1)
    ]


def show_piece(
    number: int,
    piece: Piece,
    old: pieces.Paths,
    new: pieces.Paths,
    read: pieces.ReadBytes,
    *,
    is_outdated: bool = False,
) -> ShownPiece:
    """One piece, which lies between `old` and `new`, as people read it: not more than fits a page."""
    lines = list(_lines(piece, old, new, read))
    return ShownPiece(
        id=piece.id,
        path=piece.path,
        number=number,
        kind=_KINDS[piece.kind],
        tone=TONES.get(piece.kind, "info"),
        lines=tuple(line[:_LONGEST_LINE] for line in lines[:_MOST_LINES]),
        is_cut=len(lines) > _MOST_LINES,
        is_outdated=is_outdated,
    )


def _lines(piece: Piece, old: pieces.Paths, new: pieces.Paths, read: pieces.ReadBytes) -> Iterator[str]:
    if piece.kind is PieceKind.ADDED and is_text(piece.path):
        text = pieces.text_of(read(new[piece.path]), piece.path)
        yield from (f"+{line}" for line in (text or "").splitlines())
    if piece.kind is not PieceKind.CHANGED:
        return
    before = pieces.lines_of(pieces.text_of(read(old[piece.path]), piece.path) or "")
    after = pieces.lines_of(pieces.text_of(read(new[piece.path]), piece.path) or "")
    start, end = piece.before
    parts = (
        (" ", before[max(start - _CONTEXT, 0) : start]),
        ("-", before[start:end]),
        ("+", after[slice(*piece.after)]),
        (" ", before[end : end + _CONTEXT]),
    )
    for mark, lines in parts:
        yield from (mark + line.rstrip("\r\n") for line in lines)


def pages_to_look_at(draft: ChangeDraft) -> list[Looking]:
    """The pages that differ; the first page when only other files do."""
    slug = draft.change.site.slug
    before, after = draft.base.paths, draft.paths
    differing = [path for path in sorted(after) if kind_of(path) in PAGES and before.get(path) != after[path]]
    old, new = (layout.preview_url(slug, name) for name in (draft.base.preview_name, draft.preview_name))
    return [
        Looking(path, f"{old}{path}" if path in before else None, f"{new}{path}")
        for path in differing or ["index.html"]
    ]


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version as its owner sees it: who made it, in words and never by address, and what it says of itself."""

    id: int
    number: int
    maker: LazyString
    # The owner's request that it came from.
    change_number: int | None
    note: str
    created_at: datetime
    file_count: int
    size_bytes: int
    preview_name: str


def show_version(version: SiteVersion, change: ChangeRequest | None) -> ShownVersion:
    """A version, and the request that it was made of, if there is one."""
    return ShownVersion(
        id=version.id,
        number=version.number,
        maker=_maker_of(version, change),
        change_number=change.number if change is not None else None,
        note=version.note or status_label(version.origin, "origin"),
        created_at=version.created_at,
        file_count=version.file_count,
        size_bytes=version.size_bytes,
        preview_name=version.preview_name,
    )


def _maker_of(version: SiteVersion, change: ChangeRequest | None) -> LazyString:
    """Only owners go back to what was; what they accept was drafted by somebody; the rest is brought by staff."""
    if version.origin is VersionOrigin.RESTORE:
        return _l("You")
    if change is not None and change.drafter is Drafter.EDITOR:
        return _l("Editor service")
    return _l("Our team")


def finding_words(finding: Finding) -> tuple[str, str]:
    """The tone of a finding and what it says."""
    tone, words = _FINDINGS[finding.kind]
    return tone, str(words) % {"file": finding.path, "detail": finding.detail}


def trouble_words(trouble: Trouble) -> str:
    """Why staff have to draft."""
    return str(_TROUBLES[trouble])


def sentence(change: ChangeRequest) -> str:
    """How it stands, for its owner, in a sentence."""
    if change.undone_at is not None:
        return str(_("You took this change back; the site is without it again."))
    match change.status:
        case ChangeStatus.RECEIVED | ChangeStatus.DRAFTING if change.drafter is Drafter.EDITOR:
            return str(_("Your change is being drafted. That takes a few minutes; you get a mail."))
        case ChangeStatus.RECEIVED | ChangeStatus.DRAFTING:
            return str(_("Somebody of our team drafts your change, within a working day. You get a mail."))
        case ChangeStatus.PREVIEW_READY:
            return str(_("The draft is ready. Look at it, and choose what goes online."))
        case ChangeStatus.ACCEPTED:
            return str(_("Your change is being put online."))
        case ChangeStatus.LIVE:
            return str(_("Your change is online."))
        case ChangeStatus.DECLINED:
            return str(_("This change was declined; the site stayed as it was."))


def taken_words(change: ChangeRequest) -> str:
    """How much of the draft was taken."""
    count, of = change.accepted_count or 0, change.piece_count or 0
    return str(ngettext("%(taken)s of %(num)s piece taken", "%(taken)s of %(num)s pieces taken", of, taken=count))


def steps_of(change: ChangeRequest, changes: Sequence[StatusChange]) -> list[dict[str, Any]]:
    """The request's way so far, as the timeline shows it."""
    steps: list[dict[str, Any]] = [
        {"label": status_label(ChangeStatus.RECEIVED, "change"), "state": "done", "at": change.created_at}
    ]
    steps += [
        {
            "label": status_label(one.became, "change"),
            "state": "failed" if one.became == ChangeStatus.DECLINED else "done",
            "at": one.at,
            "note": one.reason or "",
        }
        for one in changes
    ]
    if change.undone_at is not None:
        steps.append({"label": _("Undone"), "state": "done", "at": change.undone_at})
    elif change.status not in (ChangeStatus.DECLINED, ChangeStatus.LIVE):
        steps[-1]["state"] = "current"
    return steps
