"""Reading a site from a folder on this machine, as strictly as from an upload."""

import os
import stat
from pathlib import Path

from flask_babel import lazy_gettext as _l

from portal.sites.content import checking
from portal.sites.content.names import check_name, is_clutter, printable
from portal.sites.errors import ContentRefused


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path. Links are refused, not followed. Raises ContentRefused or OSError."""
    files: dict[str, bytes] = {}
    total = 0
    for parent, names, file_names in os.walk(folder, onerror=_raise):
        names.sort()
        for name in [*names, *sorted(file_names)]:
            path = Path(parent, name)
            inside = path.relative_to(folder).as_posix()
            if is_clutter(inside):
                continue
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                continue
            if not stat.S_ISREG(mode):
                shown = printable(inside)
                raise ContentRefused(_l("%(file)s: a link or device, not a file.", file=shown), shown)
            check_name(inside)
            checking.check_count(len(files) + 1)
            files[inside] = _read(path, inside)
            total += len(files[inside])
            checking.check_total(total)
    return files


def _read(path: Path, inside: str) -> bytes:
    # Not through a link that took the file's place since it was looked at.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(checking.LARGEST_FILE + 1)
    checking.check_size(inside, len(content))
    return content


def _raise(error: OSError) -> None:
    raise error
