"""What may not become a site is refused whole, in words that name the file; nothing of it is kept."""

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from portal.sites.content import archives, checking
from portal.sites.content.archives import read_zip
from portal.sites.content.folders import read_folder
from portal.sites.content.kinds import MEDIA_TYPES, media_type
from portal.sites.content.names import check_name, check_together, without_common_folder
from portal.sites.errors import ContentRefused, InvalidSite
from portal.sites.slugs import check_slug, is_slug
from tests.sites.support import FILES, zipped

INDEX = {"index.html": b"<h1>x</h1>"}


@pytest.fixture
def empty_folders() -> None:
    """These tests need no application and no folder of sites."""


def refused(files: Mapping[str, bytes | str], about: str) -> None:
    with pytest.raises(ContentRefused, match=about):
        read_zip(zipped(files))


def test_a_good_archive_is_read_as_it_was_packed() -> None:
    assert read_zip(zipped(FILES)) == FILES


def test_a_folder_around_everything_is_taken_off() -> None:
    assert read_zip(zipped({f"My site/{path}": content for path, content in FILES.items()})) == FILES
    assert without_common_folder(["a/index.html", "b/x.css"]) == 0
    assert without_common_folder(["index.html", "a/x.css"]) == 0


def test_what_a_computer_leaves_behind_is_left_out() -> None:
    clutter = {"__MACOSX/._index.html": b"x", ".DS_Store": b"x", "css/.DS_Store": b"x", "Thumbs.db": b"x"}
    assert read_zip(zipped({**FILES, **clutter})) == FILES


@pytest.mark.parametrize(
    "name",
    ["../x.html", "a/../../x.html", "/etc/x.html", "C:\\x.html", "C:x.html", "a\\..\\x.html", "a//x.html", "./x.html",
     ".htaccess", "a/.env", ".git/config", ".portal-release", "x" * 300 + ".html", "/".join("abcdefghijkl") + ".html",
     "x.php", "x.html.exe", "noext", "x.shtml", "a%2fb.html", "a?b.html", "a#b.html", "a;b.html", "a&b.html",
     "a<b.html", 'a"b.html', "a'b.html", "$uri.html", "a{b}.html", "ü.html", "\u202egnp.html", "a\nb.html", "con.html",
     "css/nul.css", "trailing. ", "a./x.html", " a.html", "-a.html"],
)  # fmt: skip
def test_a_name_that_somebody_would_misread_is_refused(name: str) -> None:
    with pytest.raises(ContentRefused):
        check_name(name)
    refused({**INDEX, name: b"x"}, ".")


@pytest.mark.parametrize(
    "name",
    ["index.html", "a/b/c.css", "My photo (1).JPG", "logo@2x.png", "a_b-c~1.webp", "_next/x.js", "x" * 190 + ".html"],
)
def test_an_ordinary_name_is_taken(name: str) -> None:
    assert check_name(name) == name


def test_a_name_that_ends_early_is_judged_as_it_was_written() -> None:
    """zipfile cuts a name at NUL: what would be written is not what was looked at."""
    archive = zipped({**INDEX, "evilXphp.html": b"x"}).getvalue().replace(b"evilXphp.html", b"evil\0php.html")
    with pytest.raises(ContentRefused, match="ends it"):
        read_zip(io.BytesIO(archive))


def test_backslashes_are_judged_as_they_were_written() -> None:
    archive = zipped({**INDEX, "a/../b.html": b"x"}).getvalue().replace(b"a/../b.html", b"a\\..\\b.html")
    with pytest.raises(ContentRefused, match="Windows"):
        read_zip(io.BytesIO(archive))


@pytest.mark.parametrize(
    ("names", "about"),
    [
        (["Index.html", "index.html"], "large and small"),
        (["css/a.css", "CSS/b.css"], "large and small"),
        (["a.html/b.html", "a.html"], "both a file and a folder"),
        (["a.html", "a.html"], "twice"),
    ],
)
def test_names_that_do_not_go_together_are_refused(names: list[str], about: str) -> None:
    with pytest.raises(ContentRefused, match=about):
        check_together(names)


def test_one_name_twice_in_an_archive_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.html", "one")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("index.html", "two")
    buffer.seek(0)
    with pytest.raises(ContentRefused, match=r"index\.html: the file is there twice"):
        read_zip(buffer)


@pytest.mark.parametrize("kind", [0o120777, 0o020666, 0o060660, 0o010644, 0o140755])
def test_links_and_devices_are_refused(kind: int) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.html", "x")
        entry = zipfile.ZipInfo("passwd.txt")
        entry.create_system = 3
        entry.external_attr = kind << 16
        archive.writestr(entry, "/etc/passwd")
    buffer.seek(0)
    with pytest.raises(ContentRefused, match=r"passwd\.txt: a link or device"):
        read_zip(buffer)


def test_an_entry_with_a_password_is_refused() -> None:
    archive = bytearray(zipped({**INDEX, "locked.html": b"x" * 50}).getvalue())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = archive.rindex(mark)
        archive[place + offset] |= 1
    with pytest.raises(ContentRefused, match=r"locked\.html: locked with a password"):
        read_zip(io.BytesIO(bytes(archive)))


def test_too_many_entries_are_refused_before_any_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    many = zipped({**INDEX, **{f"{number}.txt": b"" for number in range(10_001)}})

    def read(*_given: object, **_named: object) -> None:
        raise AssertionError("the directory was read")

    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", read)
    with pytest.raises(ContentRefused, match="More than 2000 files"):
        read_zip(many)


def test_a_directory_that_counts_itself_wrongly_is_refused() -> None:
    many = bytearray(zipped({**INDEX, **{f"{number}.txt": b"" for number in range(5_000)}}).getvalue())
    end = many.rindex(b"PK\x05\x06")
    struct.pack_into("<2H", many, end + 8, 2, 2)
    with pytest.raises(ContentRefused):
        read_zip(io.BytesIO(bytes(many)))


def test_a_bomb_is_refused_without_being_unpacked() -> None:
    bomb = zipped({**INDEX, "bomb.txt": b"0" * 15 * checking.MEGABYTE})
    assert len(bomb.getvalue()) < 50_000
    tracemalloc.start()
    with pytest.raises(ContentRefused, match=r"bomb\.txt: shrunk so far"):
        read_zip(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * checking.MEGABYTE


def lying(content: bytes, *, said: int) -> io.BytesIO:
    """An archive whose file is announced with another size, in both places."""
    archive = bytearray(zipped({**INDEX, "lie.txt": content}).getvalue())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<L", archive, archive.rindex(mark) + offset, said)
    return io.BytesIO(bytes(archive))


def test_a_size_that_is_a_lie_ends_the_reading() -> None:
    noise = os.urandom(3 * checking.MEGABYTE)
    archive = lying(noise, said=1_000)
    tracemalloc.start()
    with pytest.raises(ContentRefused):
        read_zip(archive)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * checking.MEGABYTE
    with pytest.raises(ContentRefused, match=r"lie\.txt"):
        read_zip(lying(noise, said=4 * checking.MEGABYTE))


def test_a_file_said_to_have_four_gigabytes_is_refused() -> None:
    with pytest.raises(ContentRefused, match=r"lie\.txt: larger than 20 MB"):
        read_zip(lying(b"x", said=0xFFFF_FFF0))


def test_files_that_are_too_large_together_are_refused() -> None:
    noise = os.urandom(checking.MEGABYTE) * 18
    with pytest.raises(ContentRefused, match="larger than 50 MB"):
        checking.check_site(
            [checking.entry_of(f"{n}.mp4", noise) for n in range(3)] + [checking.entry_of("index.html", b"x")]
        )


@pytest.mark.parametrize("content", [b"", b"PK", b"not a zip", b"PK\x05\x06" + b"\0" * 10, b"<html>" * 1000])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    with pytest.raises(ContentRefused, match="not a zip file"):
        read_zip(io.BytesIO(content))


def test_a_cut_or_changed_archive_is_refused() -> None:
    whole = zipped({**FILES, "noise.txt": os.urandom(5_000).hex().encode()}).getvalue()
    for length in range(0, len(whole) - 1, 97):
        with pytest.raises(ContentRefused):
            read_zip(io.BytesIO(whole[:length]))
    changed = bytearray(whole)
    changed[whole.index(b"noise.txt") + 200] ^= 0xFF
    with pytest.raises(ContentRefused):
        read_zip(io.BytesIO(bytes(changed)))


def test_a_zip_of_more_than_four_gigabytes_kind_is_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("index.html", "w", force_zip64=True) as file:
        file.write(b"x")
    raw = bytearray(buffer.getvalue())
    end = raw.rindex(b"PK\x05\x06")
    raw[end:end] = b"PK\x06\x07" + b"\0" * 16
    with pytest.raises(ContentRefused, match="not a zip file"):
        read_zip(io.BytesIO(bytes(raw)))


@pytest.mark.parametrize(
    ("files", "about"),
    [({}, "no files"), ({"about.html": b"x"}, r"no index\.html"), ({"a/index.html": b"x", "b.css": b""}, "no index"),
     ({"index.html": b""}, "empty")],
)  # fmt: skip
def test_a_site_needs_a_first_page(files: dict[str, bytes], about: str) -> None:
    with pytest.raises(ContentRefused, match=about):
        checking.check_site([checking.entry_of(path, content) for path, content in files.items()])


def test_a_folder_is_read_as_strictly(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    assert read_folder(folder) == FILES
    (tmp_path / "secret.txt").write_text("secret")
    link = folder / "link.txt"
    link.symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ContentRefused, match=r"link\.txt: a link"):
        read_folder(folder)
    link.unlink()
    (folder / "linked").symlink_to(tmp_path)
    with pytest.raises(ContentRefused, match="linked: a link"):
        read_folder(folder)
    (folder / "linked").unlink()
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(ContentRefused, match=r"pipe\.txt: a link or device"):
        read_folder(folder)


def test_every_kind_has_a_type_that_is_not_run_as_something_else() -> None:
    assert all("/" in one for one in MEDIA_TYPES.values())
    assert not {"php", "cgi", "exe", "shtml", "htaccess"} & set(MEDIA_TYPES)
    assert media_type("A.HTML") == "text/html; charset=utf-8"
    assert media_type("a.unknown") == "application/octet-stream"


@pytest.mark.parametrize(
    "slug",
    ["..", ".", "%2e%2e", "a/b", ".well-known", "con", "aux", "xn--80ak6aa92e", "a" * 200, "ab", "A-b", "-ab", "ab-",
     "a b", "пекарня", "admin", "static", "gone-7", "123", "", "a\0b", "a\n"],
)  # fmt: skip
def test_a_slug_that_means_something_else_is_refused(slug: str) -> None:
    with pytest.raises(InvalidSite):
        check_slug(slug)


@pytest.mark.parametrize("slug", ["la-plumbing-pros", "abc", "a1-b2", "x" * 40, "1st-choice"])
def test_an_ordinary_slug_is_taken(slug: str) -> None:
    assert check_slug(slug) == slug
    assert is_slug(slug)


def test_the_largest_upload_is_what_the_routes_take() -> None:
    assert archives.LARGEST_ZIP >= checking.LARGEST_FILE
