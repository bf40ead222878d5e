"""Pictures: those that packages bring along are taken apart and put together again, the others are drawn here."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from portal.quotes.measuring import answering, pictures, png, thumbnails
from portal.quotes.measuring.isolation import extract_thumbnail
from tests.quotes.measuring import models


def pixels(picture: bytes) -> NDArray[np.uint8]:
    """What `png.encode()` was given."""
    width, height = struct.unpack(">2I", picture[16:24])
    at = picture.index(b"IDAT")
    packed = picture[at + 4 : at + 4 + struct.unpack(">I", picture[at - 4 : at])[0]]
    rows = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


def drawn(tmp_path: Path, content: bytes, suffix: str = "stl") -> NDArray[np.uint8]:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(content)
    with path.open("rb") as file:
        return pixels(pictures.draw(answering.read_model(file, path.name)))


def is_part(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (picture != np.array(pictures._BACKGROUND, dtype=np.uint8)).any(axis=2)


def test_a_cube_is_seen_from_a_corner_in_three_shades(tmp_path: Path) -> None:
    picture = drawn(tmp_path, models.binary_stl())
    assert picture.shape == (pictures.SIZE, pictures.SIZE, 3)
    colours, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)
    assert (counts > 2000).sum() == 4
    covered = is_part(picture)
    assert not covered[:10].any()
    assert not covered[:, :10].any()
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    longest = max(np.ptp(rows), np.ptp(columns)) + 1
    assert longest == pytest.approx(pictures.SIZE - 2 * 16, abs=2)
    assert len(colours) < 400


def test_what_is_nearer_hides_what_is_behind(tmp_path: Path) -> None:
    """A wall in front of a cube, seen from the front: the picture is that of the wall, whatever comes first."""
    wall = [(x * 10 - 90, y * 0.05 - 30, z * 10 - 90) for x, y, z in models.CUBE]
    alone = drawn(tmp_path, models.binary_stl(wall, models.CUBE_FACES))
    for bodies in (
        ((wall, models.CUBE_FACES), (models.CUBE, models.CUBE_FACES)),
        ((models.CUBE, models.CUBE_FACES), (wall, models.CUBE_FACES)),
    ):
        both = drawn(tmp_path, models.binary_stl(*models.joined(*bodies)))
        assert (both == alone).all()


def test_inside_out_faces_look_the_same(tmp_path: Path) -> None:
    one = drawn(tmp_path, models.binary_stl())
    other = drawn(tmp_path, models.binary_stl(faces=models.turned(models.CUBE_FACES)))
    assert (one == other).all()


def test_many_huge_triangles_end_in_time(tmp_path: Path) -> None:
    """Each covers the picture; beyond the work that is allowed they are left out."""
    faces = [*models.CUBE_FACES, *[(0, 3, 5), (0, 5, 3)] * 20_000]
    picture = drawn(tmp_path, models.obj(faces=faces), "obj")
    assert is_part(picture).any()


def small_png(*, extra: bytes = b"", width: int = 4, height: int = 2) -> bytes:
    picture = png.encode(np.full((height, width, 3), 7, dtype=np.uint8))
    return picture[:33] + extra + picture[33:]


def test_a_good_png_is_passed_on_without_what_a_browser_needs_not(tmp_path: Path) -> None:
    path = tmp_path / "model.3mf"
    noted = small_png(extra=png.chunk(b"tEXt", b"Comment\0<script>") + png.chunk(b"iCCP", b"x"))
    content = models.package(thumbnail="/Metadata/a.png", more={"Metadata/a.png": noted + b"<html>behind"})
    path.write_bytes(content)
    assert extract_thumbnail(path) == small_png()


def broken(at: int, value: int) -> bytes:
    """A PNG whose header says something else, its check sum right."""
    header = bytearray(small_png()[16:29])
    header[at] = value
    return png.SIGNATURE + png.chunk(b"IHDR", bytes(header)) + small_png()[33:]


def with_pixels(rows: bytes) -> bytes:
    picture = small_png()
    return picture[:33] + png.chunk(b"IDAT", zlib.compress(rows)) + png.chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        png.SIGNATURE,
        small_png()[:-5],
        small_png().replace(b"IDAT", b"IDAX"),
        broken(0, 1),
        broken(2, 9),
        broken(7, 0),
        broken(8, 4),
        broken(9, 5),
        broken(12, 1),
        with_pixels(b"\0" * 25),
        with_pixels(b"\0" * 27),
        with_pixels(b"\5" * 26),
        with_pixels(b"\0" * 50_000_000),
        small_png(extra=png.chunk(b"ABCD", b"")),
        png.SIGNATURE + png.chunk(b"IEND", b""),
        small_png().replace(zlib.compress(b""), b""),
    ][:-1],
)
def test_a_png_that_is_not_in_order_is_not_passed_on(content: bytes) -> None:
    assert thumbnails.clean_png(with_pixels(b"\0" * 26)).startswith(png.SIGNATURE)
    with pytest.raises(thumbnails._BadPicture):
        thumbnails.clean_png(content)


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content


FRAME = segment(0xC0, b"\x08" + struct.pack(">2H", 4, 4) + b"\x01\x01\x11\x00")
SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34\xff\xd0\x56"
END = b"\xff\xd9"
TABLES = segment(0xDB, b"\0" * 65) + segment(0xC4, b"\0" * 20)


def test_a_good_jpeg_is_passed_on_without_notes_and_previews() -> None:
    noted = b"\xff\xd8" + segment(0xE1, b"Exif") + segment(0xFE, b"<script>") + TABLES + FRAME + SCAN + END + b"<html>"
    assert thumbnails.clean_jpeg(noted) == b"\xff\xd8" + TABLES + FRAME + SCAN + END


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8",
        b"\xff\xd8" + END,
        b"\xff\xd8" + TABLES + SCAN + END,
        b"\xff\xd8" + FRAME + SCAN,
        b"\xff\xd8" + FRAME.replace(b"\x00\x04", b"\xff\x04") + SCAN + END,
        b"\xff\xd8" + segment(0xCC, b"x") + FRAME + SCAN + END,
        b"\xff\xd8" + FRAME[:6],
        b"\xff\xd8" + b"x" + FRAME + SCAN + END,
        b"\xff\xd8\xff\xc0\x00\x00" + FRAME + SCAN + END,
    ],
)
def test_a_jpeg_that_is_not_in_order_is_not_passed_on(content: bytes) -> None:
    with pytest.raises(thumbnails._BadPicture):
        thumbnails.clean_jpeg(content)


@pytest.mark.parametrize("content", [b"GIF89a", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"x" * (3 * 1024 * 1024)])
def test_other_pictures_are_not_passed_on(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.3mf"
    path.write_bytes(models.package(thumbnail="/Metadata/a.png", more={"Metadata/a.png": content}))
    assert extract_thumbnail(path) is None
