"""The kinds of files a site may have, and the media type each is served under, by nginx and without it."""

TEXT = frozenset({"html", "htm", "css", "js", "mjs", "json", "txt", "xml", "svg", "webmanifest", "csv", "md", "ics",
                  "vtt", "map"})  # fmt: skip
PAGES = frozenset({"html", "htm"})
# What a page of a site in its sandbox reads with its own hands: fonts, modules, data. Never whole documents.
SHARED = frozenset({"css", "js", "mjs", "json", "webmanifest", "csv", "vtt", "woff", "woff2", "ttf", "otf"})

MEDIA_TYPES: dict[str, str] = {
    "html": "text/html",
    "htm": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "json": "application/json",
    "map": "application/json",
    "txt": "text/plain",
    "md": "text/plain",
    "csv": "text/csv",
    "vtt": "text/vtt",
    "ics": "text/calendar",
    "xml": "application/xml",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
    "ico": "image/x-icon",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "ttf": "font/ttf",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "webm": "video/webm",
}


def kind_of(path: str) -> str:
    """A file's extension in small letters; empty when it has none."""
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2].lower() if "." in name else ""


def is_text(path: str) -> bool:
    """Whether people can read the file's content as text, and change it."""
    return kind_of(path) in TEXT


def media_type(path: str) -> str:
    """What the file is served as."""
    kind = kind_of(path)
    found = MEDIA_TYPES.get(kind, "application/octet-stream")
    return f"{found}; charset=utf-8" if kind in TEXT else found
