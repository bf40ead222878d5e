"""Taking a zip file apart without believing it: everything is counted while it is read, and refused whole.

A zip file says three times how large something is, and may lie each time. The directory is looked at first, in bounded
time and memory; then each file is unpacked in pieces, and ends the work as soon as it is larger than announced or
allowed. Nothing is written anywhere: the result is in memory, at most `LARGEST_SITE` of it.
"""

import stat
import struct
import zipfile
import zlib
from typing import IO

from flask_babel import lazy_gettext as _l

from portal.sites.content import checking
from portal.sites.content.names import check_name, is_clutter, printable, without_common_folder
from portal.sites.errors import ContentRefused

LARGEST_ZIP = 50 * checking.MEGABYTE
# Each entry of the directory is read before any can be judged: so many bytes of it at most.
_LARGEST_DIRECTORY = 1024 * 1024
# Folders are entries too, and what is left out without a word.
_MOST_ENTRIES = 2 * checking.MOST_FILES
_MOST_SHRUNK = 200
_SMALL = 64 * 1024
_PIECE = 64 * 1024
_END = struct.Struct("<4s4H2LH")
_END_MARK, _LARGE_MARK = b"PK\x05\x06", b"PK\x06\x07"
_LONGEST_COMMENT = 65_535
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_UNIX = 3
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_zip(file: IO[bytes]) -> dict[str, bytes]:
    """Every file of an archive by its path; a folder around all of them is taken off. Raises ContentRefused."""
    _check_directory(file)
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, ValueError) as error:
        if isinstance(error, ContentRefused):
            raise
        raise ContentRefused(_l("This is not a zip file that can be read, or it is damaged.")) from None


def _check_directory(file: IO[bytes]) -> None:
    """Look at the end of the file, where its directory is announced, before anything reads that directory."""
    size = file.seek(0, 2)
    if size > LARGEST_ZIP:
        raise ContentRefused(_l("The zip file is larger than %(limit)s MB.", limit=LARGEST_ZIP // checking.MEGABYTE))
    tail_size = min(size, _END.size + _LONGEST_COMMENT)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    place = tail.rfind(_END_MARK)
    if place < 0 or len(tail) - place < _END.size:
        raise ContentRefused(_l("This is not a zip file that can be read, or it is damaged."))
    _mark, disk, first_disk, here, count, length, _offset, comment = _END.unpack_from(tail, place)
    is_whole = place + _END.size + comment == len(tail)
    # The form for more than 4 GB has numbers of its own elsewhere, which would have to be believed too.
    is_large = tail[max(place - 20, 0) : place].startswith(_LARGE_MARK)
    if not is_whole or is_large or disk or first_disk or here != count:
        raise ContentRefused(_l("This is not a zip file that can be read, or it is damaged."))
    if count > _MOST_ENTRIES or length > _LARGEST_DIRECTORY:
        raise ContentRefused(_l("More than %(limit)s files.", limit=checking.MOST_FILES))
    file.seek(0)


def _read(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise ContentRefused(_l("More than %(limit)s files.", limit=checking.MOST_FILES))
    for entry in entries:
        _check_entry(entry)
    wanted = [entry for entry in entries if not entry.is_dir() and not is_clutter(entry.filename)]
    checking.check_count(len(wanted))
    checking.check_total(sum(entry.file_size for entry in wanted))
    cut = without_common_folder(entry.filename for entry in wanted)
    files: dict[str, bytes] = {}
    for entry in wanted:
        path = check_name(entry.filename[cut:])
        if path in files:
            raise ContentRefused(_l("%(file)s: the file is there twice.", file=path), path)
        files[path] = _unpack(archive, entry, path)
    return files


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """What can be said of an entry from the directory alone."""
    # zipfile cuts a name at NUL and turns backslashes round; the name as it was written is what is judged.
    name = entry.orig_filename
    shown = printable(name)
    if not is_clutter(name):
        _check_path(name, shown)
    if entry.flag_bits & _ENCRYPTED:
        raise ContentRefused(_l("%(file)s: locked with a password.", file=shown), shown)
    mode = entry.external_attr >> 16
    kind = stat.S_IFMT(mode) if entry.create_system == _UNIX else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ContentRefused(_l("%(file)s: a link or device, not a file.", file=shown), shown)
    if entry.compress_type not in _METHODS:
        raise ContentRefused(_l("%(file)s: packed in a way that is not supported.", file=shown), shown)
    checking.check_size(shown, entry.file_size)
    if entry.file_size > _SMALL and entry.file_size > _MOST_SHRUNK * max(entry.compress_size, 1):
        raise ContentRefused(_l("%(file)s: shrunk so far that it looks like an attack.", file=shown), shown)


def _check_path(name: str, shown: str) -> None:
    """A folder's name is judged as its files' are, though nothing is made of it."""
    if name.endswith("/"):
        if ".." in name.split("/") or name.startswith("/") or "\\" in name or "\0" in name:
            raise ContentRefused(_l("%(file)s: the name leads out of the site's folder.", file=shown), shown)
    else:
        check_name(name)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: str) -> bytes:
    """One file's content; zipfile itself checks the sum at the end. Raises ContentRefused when the size was a lie."""
    pieces: list[bytes] = []
    left = entry.file_size
    # The directory and the file's own header must agree on its name; `open` refuses where they do not.
    with archive.open(entry) as source:
        while piece := source.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                raise ContentRefused(_l("%(file)s: larger than the zip file says.", file=path), path)
            pieces.append(piece)
    if left:
        raise ContentRefused(_l("%(file)s: smaller than the zip file says.", file=path), path)
    return b"".join(pieces)
