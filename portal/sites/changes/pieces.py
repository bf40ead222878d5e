"""A draft taken apart into pieces that can be wanted one by one, and put together again on what is there by then.

A piece is one place in a text, or one file as a whole. The pieces of a draft never overlap, so any choice of them fits
what the draft was made from. A site may have changed since: then a piece fits where the text around its place is still
the same, wherever that has moved to.
"""

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from portal.sites.content.checking import LARGEST_TEXT
from portal.sites.content.kinds import is_text

# Bytes by their hash.
ReadBytes = Callable[[str], bytes]
# Hashes by path.
Paths = Mapping[str, str]

_LONG_LINE = 300
_MOST_PIECES_IN_A_FILE = 60
# What difflib takes grows with how often the same line is in both texts, again and again.
_MOST_TWINS = 50_000
_AUTOJUNK = 200
_SMALL_GAP = 2
_TAG = re.compile(r"[^>]*>|[^>]+\Z")
_EMPTY_WORDS = re.compile(r"</?\w+>|\s")


class DoesNotFit(Exception):
    """The site has changed at the place of a piece; `path` is the file."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class PieceKind(StrEnum):
    """What a piece does to its file."""

    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class Piece:
    """One thing to say yes or no to. `before` and `after` are half-open ranges of lines, for changed texts only."""

    id: str
    path: str
    kind: PieceKind
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)

    def as_json(self) -> dict[str, Any]:
        """As a draft's row keeps it."""
        return asdict(self)


def read_pieces(rows: Iterable[Mapping[str, Any]]) -> list[Piece]:
    """What a draft's row keeps, as pieces."""
    return [
        Piece(row["id"], row["path"], PieceKind(row["kind"]), tuple(row["before"]), tuple(row["after"])) for row in rows
    ]


def lines_of(text: str) -> list[str]:
    """A text in lines that make it again when they are joined; a very long one, as programs write them, in tags."""
    found: list[str] = []
    for line in text.splitlines(keepends=True):
        found += _TAG.findall(line) if len(line) > _LONG_LINE else [line]
    return found


def text_of(content: bytes, path: str) -> str | None:
    """A file's text; None for what is no text, or too long a one to be read by people."""
    if not is_text(path) or len(content) > LARGEST_TEXT:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def find_pieces(old: Paths, new: Paths, read: ReadBytes) -> list[Piece]:
    """Everything that differs, by path and place."""
    found: list[Piece] = []
    for path in sorted(old.keys() | new.keys()):
        was, became = old.get(path), new.get(path)
        if was == became:
            continue
        if was is None:
            found.append(_whole(path, PieceKind.ADDED, became))
        elif became is None:
            found.append(_whole(path, PieceKind.REMOVED, was))
        else:
            texts = _of_text(path, read(was), read(became)) if is_text(path) else []
            found += texts or [_whole(path, PieceKind.REPLACED, was, became)]
    return found


def _whole(path: str, kind: PieceKind, *about: str | None) -> Piece:
    return Piece(_id(path, kind, *about), path, kind)


def _id(*about: object) -> str:
    return hashlib.sha256("\0".join(map(str, about)).encode()).hexdigest()[:12]


def _of_text(path: str, was: bytes, became: bytes) -> list[Piece]:
    old, new = text_of(was, path), text_of(became, path)
    if old is None or new is None:
        return []
    before, after = lines_of(old), lines_of(new)
    places = _places(before, after)
    if len(places) > _MOST_PIECES_IN_A_FILE:
        places = [((places[0][0][0], places[-1][0][1]), (places[0][1][0], places[-1][1][1]))]
    return [
        Piece(
            _id(path, here, there, *before[slice(*here)], *after[slice(*there)]), path, PieceKind.CHANGED, here, there
        )
        for here, there in places
    ]


Place = tuple[tuple[int, int], tuple[int, int]]


def _places(before: Sequence[str], after: Sequence[str]) -> list[Place]:
    """Where two texts differ. What lies between two places and says nothing does not part them."""
    places: list[Place] = []
    for kind, i1, i2, j1, j2 in _operations(before, after):
        if kind == "equal":
            continue
        if places and _says_nothing(before[places[-1][0][1] : i1]):
            here, there = places.pop()
            places.append(((here[0], i2), (there[0], j2)))
        else:
            places.append(((i1, i2), (j1, j2)))
    return places


def _says_nothing(lines: Sequence[str]) -> bool:
    return len(lines) <= _SMALL_GAP and all(_EMPTY_WORDS.sub("", line) == "" for line in lines)


def _operations(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """As difflib's opcodes, in bounded time."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    inner: list[tuple[str, int, int, int, int]] = []
    if old or new:
        inner = _compared(old, new)
    moved = [(kind, i1 + head, i2 + head, j1 + head, j2 + head) for kind, i1, i2, j1, j2 in inner]
    first = [("equal", 0, head, 0, head)] if head else []
    ends = len(before) - tail, len(after) - tail
    last = [("equal", ends[0], len(before), ends[1], len(after))] if tail else []
    return [*first, *moved, *last]


def _compared(old: Sequence[str], new: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    """By difflib, as exactly as its time allows: with every line, without those that are everywhere, or not at all."""
    in_old, in_new = Counter(old), Counter(new)
    # The lines that difflib's "autojunk" leaves out.
    rare = {line for line, count in in_new.items() if len(new) < _AUTOJUNK or count <= len(new) // 100 + 1}
    for lines, autojunk in ((in_new.keys(), False), (rare, True)):
        if sum(in_old[line] * in_new[line] for line in lines) <= _MOST_TWINS:
            return list(difflib.SequenceMatcher(None, old, new, autojunk=autojunk).get_opcodes())
    return [("replace", 0, len(old), 0, len(new))]


@dataclass(frozen=True, slots=True)
class Result:
    """What has to be done to a site: files to write, and paths to take away."""

    files: dict[str, bytes]
    removed: frozenset[str]


def put_together(pieces: Iterable[Piece], old: Paths, new: Paths, onto: Paths, read: ReadBytes) -> Result:
    """Make the changes of these pieces, found between `old` and `new`, to `onto`. Raises DoesNotFit.

    With `onto` the same as `old` any pieces fit; all of them give `new`, none give `old`.
    """
    files: dict[str, bytes] = {}
    removed: set[str] = set()
    for path, of_file in _by_path(pieces).items():
        first, there = of_file[0], onto.get(path)
        if first.kind is PieceKind.CHANGED:
            if there is None:
                raise DoesNotFit(path)
            files[path] = _patched(path, of_file, read(old[path]), read(new[path]), read(there))
        elif first.kind is PieceKind.REMOVED:
            if there not in (None, old[path]):
                raise DoesNotFit(path)
            removed |= {path} & onto.keys()
        else:
            if there not in (old.get(path), new[path]):
                raise DoesNotFit(path)
            files[path] = read(new[path])
    return Result(files, frozenset(removed))


def _by_path(pieces: Iterable[Piece]) -> dict[str, list[Piece]]:
    found: dict[str, list[Piece]] = {}
    for piece in pieces:
        found.setdefault(piece.path, []).append(piece)
    return found


def _patched(path: str, pieces: Collection[Piece], old: bytes, new: bytes, onto: bytes) -> bytes:
    was, became, there = (text_of(one, path) for one in (old, new, onto))
    if was is None or became is None or there is None:
        raise DoesNotFit(path)
    before, after, target = lines_of(was), lines_of(became), lines_of(there)
    equal = [one[1:] for one in _operations(before, target) if one[0] == "equal"]
    written: list[str] = []
    done = 0
    for piece in sorted(pieces, key=lambda one: one.before):
        start, end = _moved(piece.before, equal, len(before), len(target), path)
        written += [*target[done:start], *after[slice(*piece.after)]]
        done = end
    return "".join([*written, *target[done:]]).encode("utf-8")


def _moved(
    place: tuple[int, int], equal: Iterable[tuple[int, int, int, int]], length: int, target_length: int, path: str
) -> tuple[int, int]:
    """Where lines of the old text are in the new one. Lines that are to come in between two need both of them there:
    with one of them changed nobody could say on which side of the change they belong."""
    start, end = place
    if length == 0 and target_length == 0:
        return 0, 0
    for i1, i2, j1, j2 in equal:
        begins = i1 <= start if start < end else i1 < start or (start == 0 == i1 == j1)
        ends = end <= i2 if start < end else end < i2 or (end == length == i2 and j2 == target_length)
        if begins and ends:
            return start - i1 + j1, end - i1 + j1
    raise DoesNotFit(path)


def outdated(pieces: Iterable[Piece], old: Paths, new: Paths, onto: Paths, read: ReadBytes) -> set[str]:
    """The ids of the pieces that do not fit what is there by now."""
    if dict(old) == dict(onto):
        return set()
    found = set()
    for piece in pieces:
        try:
            put_together([piece], old, new, onto, read)
        except DoesNotFit:
            found.add(piece.id)
    return found
