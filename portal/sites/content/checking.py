"""Whether a set of files is a site: limits of number and size, a first page, names that go together."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flask_babel import lazy_gettext as _l

from portal.sites.content.names import check_name, check_together
from portal.sites.errors import ContentRefused

MEGABYTE = 1024 * 1024
MOST_FILES = 2_000
LARGEST_FILE = 20 * MEGABYTE
LARGEST_SITE = 50 * MEGABYTE
# A text that a person edits in a form.
LARGEST_TEXT = 512 * 1024
FIRST_PAGE = "index.html"


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """One file of a version: its path, its size in bytes, and the SHA-256 of its content."""

    path: str
    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """As the manifest keeps it."""
        return {"path": self.path, "size": self.size, "sha256": self.sha256}


def entry_of(path: str, content: bytes) -> Entry:
    """A file as a manifest names it."""
    return Entry(path, len(content), hashlib.sha256(content).hexdigest())


def read_manifest(manifest: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """What a version's row keeps, as entries."""
    return [Entry(one["path"], one["size"], one["sha256"]) for one in manifest]


def manifest_hash(entries: Iterable[Entry]) -> str:
    """One hash of everything a version is."""
    text = json.dumps([one.as_json() for one in sorted(entries)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_size(path: str, size: int) -> None:
    """Raises ContentRefused when one file is too large."""
    if size > LARGEST_FILE:
        raise ContentRefused(_l("%(file)s: larger than %(limit)s MB.", file=path, limit=LARGEST_FILE // MEGABYTE), path)


def check_files(files: Mapping[str, bytes]) -> None:
    """Look at new files one by one. Raises ContentRefused, naming the first that is wrong."""
    for path, content in files.items():
        check_name(path)
        check_size(path, len(content))


def check_site(entries: Iterable[Entry]) -> list[Entry]:
    """Look at the whole of a site, and return it in the order of its manifest. Raises ContentRefused."""
    found = sorted(entries)
    check_count(len(found))
    check_together(one.path for one in found)
    check_total(sum(one.size for one in found))
    first = next((one for one in found if one.path == FIRST_PAGE), None)
    if first is None:
        raise ContentRefused(_l("There is no index.html. Put the first page at the top of the folder."))
    if first.size == 0:
        raise ContentRefused(_l("index.html is empty."), FIRST_PAGE)
    return found


def check_count(count: int) -> None:
    """Raises ContentRefused when there are no files, or too many."""
    if count == 0:
        raise ContentRefused(_l("There are no files in it."))
    if count > MOST_FILES:
        raise ContentRefused(_l("More than %(limit)s files.", limit=MOST_FILES))


def check_total(size: int) -> None:
    """Raises ContentRefused when all files together are too large."""
    if size > LARGEST_SITE:
        raise ContentRefused(_l("All files together are larger than %(limit)s MB.", limit=LARGEST_SITE // MEGABYTE))
