"""Folders of whole versions on a site host, and the one link that says which is served.

A release is written under a temporary name, made durable, checked against the version's hashes, and only then gets the
name it is known by. The link is replaced by rename(2): there is no moment without one, and none with half of one.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from portal.core.faults import fault
from portal.sites.content.checking import Entry
from portal.sites.layout import FILE_MODE, MARKER, RELEASES, Place, make_folder

_UNFINISHED = ".unfinished-"
_LINK = ".next"
_PIECE = 1024 * 1024
# nginx makes a file's ETag of its time and size. The time is drawn from the content, so that the same file has the same
# ETag on every host and in every release, and another file another one; seconds of 31 years, all of them past.
_EARLIEST, _SPAN = 631_152_000, 978_307_200

ReadBytes = Callable[[str], bytes]


class Damaged(RuntimeError):
    """A folder does not hold what its version says; the message names a file."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be written: which site and version, its files, and where their bytes come from, by hash."""

    slug: str
    number: int
    entries: tuple[Entry, ...]
    read: ReadBytes


def build(content: Content, folder: Path, *, name: str) -> None:
    """Write a version into `folder / name`, whole or not at all. Raises OSError, Damaged or FileNotFoundError.

    What an earlier try left under its temporary name is thrown away first.
    """
    make_folder(folder)
    unfinished = folder / f"{_UNFINISHED}{name}"
    _remove(unfinished)
    try:
        _write(content, unfinished, name)
        verify(unfinished, content.entries)
        fault("deploy-before-rename")
        unfinished.rename(folder / name)
        _sync(folder)
    except BaseException:
        _remove(unfinished)
        raise


def _write(content: Content, folder: Path, name: str) -> None:
    make_folder(folder)
    folders = {folder}
    for entry in content.entries:
        path = folder / entry.path
        for parent in reversed([one for one in path.parents if one.is_relative_to(folder)]):
            if parent not in folders:
                make_folder(parent)
                folders.add(parent)
        _write_file(path, content.read(entry.sha256), sha256=entry.sha256)
        fault("deploy-file-written")
    _write_file(folder / MARKER, marker(content, name))
    for one in sorted(folders, reverse=True):
        _sync(one)


def marker(content: Content, name: str) -> bytes:
    """What stands in a release about itself."""
    said = {
        "site": content.slug,
        "version": content.number,
        "release": name,
        "files": [entry.as_json() for entry in content.entries],
    }
    return json.dumps(said, sort_keys=True).encode()


def verify(folder: Path, entries: Iterable[Entry]) -> None:
    """Read everything again. Raises Damaged when a file is missing, differs, or is there uninvited."""
    wanted = {entry.path: entry for entry in entries}
    found = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if found.pop(MARKER, None) is None:
        raise Damaged(MARKER)
    for path in sorted(wanted.keys() ^ found.keys()):
        raise Damaged(path)
    for name, file in found.items():
        if file.is_symlink() or not file.is_file() or _hash(file) != wanted[name].sha256:
            raise Damaged(name)


def _files(folder: Path) -> Iterable[Path]:
    for parent, _folders, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_whole(folder: Path, entries: Iterable[Entry]) -> bool:
    """Whether a folder holds exactly this."""
    try:
        verify(folder, entries)
    except (Damaged, OSError):
        return False
    return True


def find(place: Place, number: int, entries: Iterable[Entry]) -> str | None:
    """A release of this version that is already here, whole; the newest one."""
    wanted = list(entries)
    for name in sorted(names(place), key=_age, reverse=True):
        if name.partition("-")[0] == str(number) and is_whole(place.releases / name, wanted):
            return name
    return None


def names(place: Place) -> list[str]:
    """The finished releases of a site."""
    try:
        return [entry.name for entry in os.scandir(place.releases) if not entry.name.startswith(".")]
    except FileNotFoundError:
        return []


def _age(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdigit() else 0


def current(place: Place) -> str | None:
    """The release that is served, or None."""
    try:
        return place.current.readlink().name
    except FileNotFoundError:
        return None


def switch(place: Place, name: str) -> None:
    """Serve this release from now on. Raises Damaged when it is not there."""
    if not (place.releases / name / MARKER).is_file():
        raise Damaged(MARKER)
    following = place.folder / _LINK
    with contextlib.suppress(FileNotFoundError):
        following.unlink()
    following.symlink_to(Path(RELEASES, name))
    fault("deploy-between-links")
    following.replace(place.current)
    _sync(place.folder)


def discard(place: Place, name: str) -> None:
    """Remove a release that is not whole; the served one is never removed. Raises Damaged when it is that one."""
    if current(place) == name and (place.releases / name).exists():
        raise Damaged(name)
    _remove(place.releases / name)


def discard_folder(path: Path) -> None:
    """Remove a preview that is not whole."""
    _remove(path)


def take_down(place: Place) -> None:
    """Serve nothing; the releases stay."""
    with contextlib.suppress(FileNotFoundError):
        place.current.unlink()
        _sync(place.folder)


def prune(place: Place, *, keep: Iterable[str], newest: int) -> None:
    """Remove old releases and what was never finished, except these, the served one, and the newest ones."""
    kept = {*keep, current(place), *sorted(names(place), key=_age)[-newest:]}
    for name in names(place):
        if name not in kept:
            _remove(place.releases / name)
    for entry in list(os.scandir(place.releases)) if place.releases.is_dir() else []:
        if entry.name.startswith(_UNFINISHED):
            _remove(Path(entry.path))


def remove_site(place: Place) -> None:
    """Remove everything of a site from this host."""
    take_down(place)
    _remove(place.folder)
    _remove(place.previews)


def remove_previews(place: Place, *, keep: Iterable[str]) -> None:
    """Remove the previews of versions that are no longer kept."""
    kept = set(keep)
    if place.previews.is_dir():
        for entry in list(os.scandir(place.previews)):
            if entry.name not in kept:
                _remove(Path(entry.path))


def _write_file(path: Path, content: bytes, *, sha256: str | None = None) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), FILE_MODE)
        if sha256 is not None:
            drawn = _EARLIEST + int(sha256[:15], 16) % _SPAN
            file.flush()
            os.utime(file.fileno(), (drawn, drawn))
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Make a folder's names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a folder and everything in it; one that is not there is no error."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
