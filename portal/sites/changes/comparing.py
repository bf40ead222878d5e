"""What is different between two versions of a site, in the pieces that drafts are shown in; never more than a page."""

from collections.abc import Iterator
from dataclasses import dataclass

from portal.sites.changes import pieces
from portal.sites.changes.pieces import Paths, Piece, PieceKind, ReadBytes
from portal.sites.changes.presenting import ShownPiece, show_piece
from portal.sites.changes.queries import reader
from portal.sites.content.kinds import is_text
from portal.sites.models import SiteVersion

_MOST_FILES, _MOST_BYTES, _MOST_LINES = 50, 2 * 1024 * 1024, 1_500


@dataclass(frozen=True, slots=True)
class Differences:
    """What is shown of them, and how many files more are different."""

    pieces: tuple[ShownPiece, ...]
    more_count: int


def compare(before: SiteVersion | None, after: SiteVersion) -> Differences:
    """What changed from one version to another, by path and place; before the first there was nothing."""
    old, new = before.paths if before is not None else {}, after.paths
    read = reader([one for one in (before, after) if one is not None])
    waiting = [path for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)]
    sizes = _text_sizes(before, after)
    shown: list[ShownPiece] = []
    done, room, lines = 0, _MOST_BYTES, 0
    for path in waiting[:_MOST_FILES]:
        room -= sizes.get(path, 0)
        if done and (room < 0 or lines > _MOST_LINES):
            break
        found = list(_of_file(path, old, new, read, first=len(shown) + 1))
        shown += found
        lines += sum(len(piece.lines) for piece in found)
        done += 1
    return Differences(tuple(shown), len(waiting) - done)


def _text_sizes(before: SiteVersion | None, after: SiteVersion) -> dict[str, int]:
    """How many bytes of each file are read to compare it: those of both versions, of texts only."""
    sizes: dict[str, int] = {}
    for version in (before, after):
        for entry in version.manifest if version is not None else ():
            if is_text(entry["path"]):
                sizes[entry["path"]] = sizes.get(entry["path"], 0) + entry["size"]
    return sizes


def _of_file(path: str, old: Paths, new: Paths, read: ReadBytes, *, first: int) -> Iterator[ShownPiece]:
    was, became = ({path: paths[path]} if path in paths else {} for paths in (old, new))
    try:
        found = pieces.find_pieces(was, became, read)
        shown = [show_piece(number, piece, was, became, read) for number, piece in enumerate(found, start=first)]
    except FileNotFoundError:
        # The storage has lost it; that it is another one is known all the same.
        shown = [show_piece(first, Piece(path, path, PieceKind.REPLACED), was, became, read)]
    yield from shown
