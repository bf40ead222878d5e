"""What is worth knowing about a draft before somebody says yes to it: what the draft brings, not what was there."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from portal.sites.changes.pieces import Paths, ReadBytes, text_of
from portal.sites.changes.reading import Page, file_of, host_of, is_there, read_file
from portal.sites.content.checking import FIRST_PAGE
from portal.sites.content.kinds import PAGES, kind_of

LARGE = 500 * 1024
_PROGRAMS = frozenset({"js", "mjs"})
_MOST = 60
_LONGEST_DETAIL = 160


class FindingKind(StrEnum):
    """What can be found."""

    SCRIPT = "script"
    ELSEWHERE = "elsewhere"
    REDIRECT = "redirect"
    DEAD_LINK = "dead_link"
    NO_ALT = "no_alt"
    BROKEN_HTML = "broken_html"
    LARGE_FILE = "large_file"
    OUTSIDE_LINK = "outside_link"


# What a machine may not bring onto a site without a person having looked.
RISKY = frozenset({FindingKind.SCRIPT, FindingKind.ELSEWHERE, FindingKind.REDIRECT})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing, in one file; `detail` is what it is about, as it stands there."""

    kind: FindingKind
    path: str
    detail: str

    @property
    def is_risky(self) -> bool:
        """Whether it lets others do something on the site."""
        return self.kind in RISKY

    def as_json(self) -> dict[str, Any]:
        """As a draft's row keeps it."""
        return asdict(self)


def read_findings(rows: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """What a draft's row keeps, as findings."""
    return [Finding(FindingKind(row["kind"]), row["path"], row["detail"]) for row in rows]


def look(old: Paths, new: Paths, sizes: Mapping[str, int], read: ReadBytes) -> list[Finding]:
    """What a draft brings, the riskiest first; `sizes` are those of its files, in bytes."""
    found: list[Finding] = []
    changed = [path for path in sorted(new) if old.get(path) != new[path]]
    for path in changed:
        was = _page(path, old.get(path), read)
        found += _in_file(path, was, _page(path, new[path], read), frozenset(new))
        if kind_of(path) in _PROGRAMS:
            found.append(Finding(FindingKind.SCRIPT, path, path))
        if sizes[path] > LARGE:
            found.append(Finding(FindingKind.LARGE_FILE, path, str(sizes[path])))
    gone = frozenset(old) - frozenset(new)
    for path in sorted(set(new) - set(changed)) if gone else ():
        found += _links_to(gone, path, _page(path, new[path], read), frozenset(new))
    order = list(FindingKind)
    return sorted(found, key=lambda one: (order.index(one.kind), one.path))[:_MOST]


def dead_links(paths: Paths, wanted: frozenset[str], read: ReadBytes, *, among: Iterable[str]) -> list[Finding]:
    """Links in some files to `wanted` ones that are not there: what is left when a draft is taken in part."""
    missing = wanted - frozenset(paths)
    return [
        one
        for path in sorted(among)
        if missing and path in paths
        for one in _links_to(missing, path, _page(path, paths[path], read), frozenset(paths))
    ]


def _page(path: str, sha256: str | None, read: ReadBytes) -> Page:
    text = text_of(read(sha256), path) if sha256 is not None and _is_read(path) else None
    return read_file(path, text) if text is not None else Page()


def _is_read(path: str) -> bool:
    return kind_of(path) in {*PAGES, "svg", "css"}


def _in_file(path: str, was: Page, page: Page, paths: frozenset[str]) -> Iterator[Finding]:
    def new(of: Callable[[Page], Iterable[str]]) -> list[str]:
        return sorted((Counter(of(page)) - Counter(of(was))).elements())

    yield from _all(FindingKind.SCRIPT, path, new(lambda one: one.scripts))
    yield from _all(FindingKind.REDIRECT, path, new(lambda one: one.redirects))
    yield from _all(FindingKind.ELSEWHERE, path, new(lambda one: filter(None, map(host_of, one.resources))))
    yield from _all(FindingKind.OUTSIDE_LINK, path, new(lambda one: filter(None, map(host_of, one.links))))
    yield from _all(FindingKind.NO_ALT, path, new(lambda one: one.pictures_without_words))
    yield from _all(FindingKind.DEAD_LINK, path, new(lambda one: _dead(one, path, paths)))
    if kind_of(path) in PAGES:
        # One for a file: the first error often brings the others.
        yield from _all(FindingKind.BROKEN_HTML, path, new(lambda one: one.errors)[:1])


def _dead(page: Page, path: str, paths: frozenset[str]) -> Iterator[str]:
    for address in (*page.links, *page.resources):
        file = file_of(address, path)
        if file is not None and not is_there(file, paths):
            yield address


def _links_to(files: frozenset[str], path: str, page: Page, paths: frozenset[str]) -> Iterator[Finding]:
    for address in dict.fromkeys((*page.links, *page.resources)):
        file = file_of(address, path)
        if file is not None and not is_there(file, paths) and {file, f"{file}/{FIRST_PAGE}"} & files:
            yield Finding(FindingKind.DEAD_LINK, path, address[:_LONGEST_DETAIL])


def _all(kind: FindingKind, path: str, details: Iterable[str]) -> Iterator[Finding]:
    for detail in dict.fromkeys(details):
        yield Finding(kind, path, " ".join(detail.split())[:_LONGEST_DETAIL])
