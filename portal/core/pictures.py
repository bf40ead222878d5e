"""Reading a stranger's picture: in a process of its own with little memory and time, and written anew.

What comes out is always a JPEG of at most LONGEST_SIDE pixels a side, made from the pixels alone: no EXIF, so no place
where it was taken, no profile, nothing that was hidden behind the picture. Run as a module it reads a picture from its
standard input and writes the new one to its standard output; it knows nothing of the portal.
"""

import io
import resource
import subprocess
import sys

MOST_BYTES = 12 * 1024 * 1024
MOST_PIXELS = 50_000_000
LONGEST_SIDE = 2_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_MEMORY = 1024 * 1024 * 1024
_CPU_SECONDS, _WALL_SECONDS = 20, 40
_TOO_LARGE = 3


class UnreadablePicture(ValueError):
    """No picture of a kind that is taken."""


class OversizedPicture(ValueError):
    """More bytes or pixels than are taken."""


def cleaned(content: bytes) -> bytes:
    """The picture as a new JPEG. Raises UnreadablePicture or OversizedPicture; call it outside any transaction."""
    if len(content) > MOST_BYTES:
        raise OversizedPicture
    try:
        done = subprocess.run(  # noqa: S603  # our own module, no shell, nothing typed
            [sys.executable, "-I", __file__],
            input=content,
            capture_output=True,
            timeout=_WALL_SECONDS,
            env={},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnreadablePicture from None
    if done.returncode == _TOO_LARGE:
        raise OversizedPicture
    if done.returncode != 0 or not done.stdout.startswith(b"\xff\xd8\xff"):
        raise UnreadablePicture
    return done.stdout


def rewrite(content: bytes) -> bytes:
    """What the child does: decode, turn upright, shrink, encode. Raises OversizedPicture, or what a decoder raises."""
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise OversizedPicture
        # A JPEG can be decoded small at once, which saves most of the memory.
        picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        upright = ImageOps.exif_transpose(picture)
        upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        plain = Image.new("RGB", upright.size, "white")
        layered = upright.convert("RGBA")
        plain.paste(layered, mask=layered.getchannel("A"))
    written = io.BytesIO()
    plain.save(written, "JPEG", quality=85, optimize=True)
    return written.getvalue()


def _main() -> int:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        sys.stdout.buffer.write(rewrite(sys.stdin.buffer.read(MOST_BYTES + 1)))
    except OversizedPicture:
        return _TOO_LARGE
    except Exception:  # noqa: BLE001  # whatever a decoder makes of a hostile file, it is no picture
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
