"""Where everything lies on a site host, below SITES_ROOT.

    <slug>/current -> releases/<release>     what visitors get
    <slug>/releases/<version>-<deployment>/  a whole version; never changed once it has this name
    .previews/<slug>/<version>-<key>/        a version that can be looked at by whoever has the address
    .locks/                                  who is at work

A web server needs this file's rules and nothing else: no name below SITES_ROOT that begins with a dot is ever served.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from portal.core import settings
from portal.sites.slugs import SHAPE, is_slug

CURRENT = "current"
RELEASES = "releases"
PREVIEWS = ".previews"
LOCKS = ".locks"
# In each release: what it is and what it consists of, as JSON.
MARKER = ".portal-release"
# The first part of a preview's address.
PREVIEW_ADDRESS = "_versions"
PREVIEW_SHAPE = r"[0-9]{1,9}-[a-f0-9]{16,32}"
SLUG_SHAPE = SHAPE
FOLDER_MODE, FILE_MODE = 0o755, 0o644
_WAIT_SECONDS = 0.05


class Busy(RuntimeError):
    """Another process holds the lock, and kept it for longer than we wait."""


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of one site on this host."""

    root: Path
    slug: str

    @property
    def folder(self) -> Path:
        """Everything of the site."""
        return self.root / self.slug

    @property
    def releases(self) -> Path:
        """Its releases."""
        return self.folder / RELEASES

    @property
    def current(self) -> Path:
        """The link to the one that is served."""
        return self.folder / CURRENT

    @property
    def previews(self) -> Path:
        """Its versions to look at."""
        return self.root / PREVIEWS / self.slug


def place_of(slug: str) -> Place:
    """The folders of a site, on this host. Raises ValueError for what is no slug: no other word gets into a path."""
    if not is_slug(slug):
        raise ValueError(f"not a slug: {slug!r}")
    return Place(Path(settings.current().sites_root), slug)


def site_url(slug: str) -> str:
    """Where visitors find a site."""
    return f"{settings.current().sites_url.rstrip('/')}/{slug}/"


def preview_url(slug: str, preview_name: str) -> str:
    """Where a version can be looked at."""
    return f"{settings.current().sites_url.rstrip('/')}/{PREVIEW_ADDRESS}/{slug}/{preview_name}/"


def make_folder(path: Path) -> None:
    """A folder that the web server may read, whatever the process's mask; its parents too, down from what is there."""
    if path.is_dir():
        return
    make_folder(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
        path.chmod(FOLDER_MODE)


@contextmanager
def locked(root: Path, name: str, *, seconds: float) -> Iterator[None]:
    """Hold a lock of this host; the system lets go of it when the process dies. Raises Busy after `seconds`."""
    make_folder(root)
    folder = root / LOCKS
    folder.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, name, time.monotonic() + seconds)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, name: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(name) from None
            time.sleep(_WAIT_SECONDS)
        else:
            return
