"""Names of a site's files: what a file system, an address, nginx and HTML all read alike."""

import re
from collections.abc import Iterable

from flask_babel import lazy_gettext as _l

from portal.sites.content.kinds import MEDIA_TYPES, kind_of
from portal.sites.errors import ContentRefused

LONGEST = 200
DEEPEST = 10
_ALLOWED = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9 ._~+@,()=!-]*[A-Za-z0-9_~+@)=!-])?")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:")
# What programs leave behind in archives and folders without their owner's knowing.
_CLUTTER = re.compile(r"(?:.*/)?(?:__MACOSX/.*|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini)", re.IGNORECASE)


def is_clutter(path: str) -> bool:
    """Whether a file is one that nobody meant to upload; it is left out without a word."""
    return _CLUTTER.fullmatch(path) is not None


def check_name(path: str) -> str:
    """A file's path inside its site. Raises ContentRefused, naming the file and what is wrong with it."""
    shown = printable(path)
    if "\0" in path:
        raise ContentRefused(_l("%(file)s: the name holds a character that ends it.", file=shown), shown)
    if "\\" in path or _DRIVE.match(path):
        raise ContentRefused(
            _l("%(file)s: the name is written for Windows. Use / between folders and no drive.", file=shown), shown
        )
    if path.startswith("/"):
        raise ContentRefused(_l("%(file)s: the name begins at the root of a disk.", file=shown), shown)
    if len(path.encode("utf-8", "surrogatepass")) > LONGEST:
        raise ContentRefused(_l("%(file)s: the name is longer than 200 bytes.", file=shown), shown)
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ContentRefused(_l("%(file)s: the name leads out of the site's folder.", file=shown), shown)
    if len(parts) > DEEPEST:
        raise ContentRefused(_l("%(file)s: more than 10 folders deep.", file=shown), shown)
    if any(part.startswith(".") for part in parts):
        raise ContentRefused(_l("%(file)s: hidden files are not published. Remove it.", file=shown), shown)
    if not all(_ALLOWED.fullmatch(part) for part in parts) or any(_DEVICES.fullmatch(part) for part in parts):
        raise ContentRefused(
            _l(
                "%(file)s: the name holds characters that browsers and servers read differently. "
                "Use letters a to z, digits, hyphens and dots.",
                file=shown,
            ),
            shown,
        )
    if kind_of(path) not in MEDIA_TYPES:
        raise ContentRefused(_l("%(file)s: files of this kind are not published.", file=shown), shown)
    return path


def check_together(paths: Iterable[str]) -> None:
    """Names that are fine one by one and not beside each other. Raises ContentRefused."""
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for path in paths:
        twin = seen.get(path.casefold())
        if twin is not None:
            if twin == path:
                raise ContentRefused(_l("%(file)s: the file is there twice.", file=path), path)
            raise ContentRefused(
                _l("%(file)s and %(other)s differ only in large and small letters.", file=path, other=twin), path
            )
        seen[path.casefold()] = path
        parts = path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            known = folders.setdefault(folder.casefold(), folder)
            if known != folder:
                raise ContentRefused(
                    _l("%(file)s and %(other)s differ only in large and small letters.", file=folder, other=known),
                    path,
                )
    for folded, folder in folders.items():
        if folded in seen:
            raise ContentRefused(_l("%(file)s: is both a file and a folder.", file=folder), seen[folded])


def printable(path: str) -> str:
    """A name that can be shown, however it was made."""
    text = path.encode("utf-8", "replace").decode("utf-8")
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= 80 else f"{shown[:60]}…{shown[-15:]}"


def without_common_folder(paths: Iterable[str]) -> int:
    """How many characters to cut off each path when a whole folder was packed instead of what is in it.

    0 when index.html is where it belongs, or when there is no one folder that holds everything.
    """
    names = list(paths)
    if not names or "index.html" in names:
        return 0
    first = names[0].partition("/")[0] + "/"
    return len(first) if all(name.startswith(first) for name in names) else 0
