"""The hosted sites without nginx, for `make run`: the same folders under the same addresses with the same headers.

A WSGI application of its own, without the portal's routes, cookies or database: `portal.sites.embedded:app`.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIEnvironment

from portal import config
from portal.sites.content.kinds import media_type
from portal.sites.layout import CURRENT, MARKER, PREVIEW_ADDRESS, PREVIEW_SHAPE, PREVIEWS, SLUG_SHAPE
from portal.sites.responses import Rules

_SITE = re.compile(rf"/({SLUG_SHAPE})/(.*)", re.DOTALL)
_VERSION = re.compile(rf"/{PREVIEW_ADDRESS}/({SLUG_SHAPE})/({PREVIEW_SHAPE})/(.*)", re.DOTALL)
_NO_SLASH = re.compile(rf"/({SLUG_SHAPE})")
_PIECE = 64 * 1024
_LOOPBACK = ("127.0.0.1", "::1")
_WORDS = {200: "OK", 301: "Moved Permanently", 302: "Found", 304: "Not Modified", 404: "Not Found",
          405: "Method Not Allowed"}  # fmt: skip

Body = Iterable[bytes]


class EmbeddedSites:
    """Serves what lies below `root`."""

    def __init__(self, root: Path, rules: Rules) -> None:
        self._root = root
        self._rules = rules

    @classmethod
    def of(cls, settings: config.Settings) -> "EmbeddedSites":
        """As the settings say."""
        return cls(Path(settings.sites_root), Rules.of(settings))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        """Answer one request."""
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode("utf-8", "replace")

        def answer(status: int, headers: dict[str, str], body: Body = ()) -> Body:
            every = {**self._rules.headers_of(path), **headers}
            start_response(f"{status} {_WORDS[status]}", list(every.items()))
            return body if environ["REQUEST_METHOD"] == "GET" else ()

        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return answer(405, {"Allow": "GET, HEAD", "Content-Type": "text/plain"})
        if path == "/":
            return answer(302, {"Location": f"{self._rules.portal_origin}/sites"})
        if _NO_SLASH.fullmatch(path):
            return answer(301, {"Location": f"{path}/"})
        found = self._find(path, is_local=environ.get("REMOTE_ADDR") in _LOOPBACK)
        if found is None:
            return self._missing(path, answer)
        if found.is_dir():
            return answer(301, {"Location": f"{quote(path)}/"})
        return _send(found, 200, environ, answer)

    def _find(self, path: str, *, is_local: bool) -> Path | None:
        """The file or folder of an address; None when there is none."""
        version, site = _VERSION.fullmatch(path), _SITE.fullmatch(path)
        if version is not None:
            folder, rest = self._root / PREVIEWS / version[1] / version[2], version[3]
        elif site is not None:
            folder, rest = self._root / site[1] / CURRENT, site[2]
        else:
            return None
        if not _is_plain(rest) and not (rest == MARKER and is_local):
            return None
        # Followed once: the rest of this answer is of one release, whatever is switched meanwhile.
        found = Path(os.path.realpath(folder), rest)
        if rest == "" or rest.endswith("/"):
            found /= "index.html"
        return found if found.exists() else None

    def _missing(self, path: str, answer: Callable[..., Body]) -> Body:
        site = _SITE.fullmatch(path)
        own = self._find(f"/{site[1]}/404.html", is_local=False) if site else None
        headers = {"Content-Type": "text/html; charset=utf-8"}
        if own is not None:
            return answer(404, headers, [own.read_bytes()])
        return answer(404, headers, [b"<!doctype html><title>404</title><h1>404 Not Found</h1>\n"])


def _is_plain(rest: str) -> bool:
    parts = rest.split("/")
    return rest.isprintable() and not any(part.startswith(".") for part in parts) and "" not in parts[:-1]


def _send(path: Path, status: int, environ: WSGIEnvironment, answer: Callable[..., Body]) -> Body:
    try:
        file = path.open("rb")
    except OSError:
        return answer(404, {"Content-Type": "text/plain"})
    about = os.fstat(file.fileno())
    # As nginx makes it: of the time, which is drawn from the content, and the size.
    tag = f'"{int(about.st_mtime):x}-{about.st_size:x}"'
    asked = {one.strip().removeprefix("W/") for one in str(environ.get("HTTP_IF_NONE_MATCH", "")).split(",")}
    if tag in asked:
        file.close()
        return answer(304, {"ETag": tag})
    headers = {"ETag": tag, "Content-Type": media_type(path.name), "Content-Length": str(about.st_size)}
    if environ["REQUEST_METHOD"] != "GET":
        file.close()
        return answer(status, headers)
    return answer(status, headers, _Pieces(file))


class _Pieces:
    """A file in pieces, closed by the server when it is through or the reader has gone."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._file.read(_PIECE):
            yield piece

    def close(self) -> None:
        """Called at the end of the answer, as WSGI promises."""
        self._file.close()


def app(environ: dict[str, Any], start_response: StartResponse) -> Body:
    """The server's entry point: reads the settings at the first request."""
    global _serving
    if _serving is None:
        _serving = EmbeddedSites.of(config.load())
    return _serving(environ, start_response)


_serving: EmbeddedSites | None = None
