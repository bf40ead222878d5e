"""Where a visitor may be sent after a form: only to a path of this site."""

import re
from urllib.parse import urlsplit

# Browsers drop tabs and line ends inside an address and read a backslash as a slash: "/\t/evil" leaves the site.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
_LONGEST = 2_000


def safe_path(target: str | None) -> str | None:
    """The target when it is a path of this site, else None: never another host, scheme or header line."""
    if not target or len(target) > _LONGEST or _FORBIDDEN.search(target):
        return None
    if not target.startswith("/") or target.startswith("//"):
        return None
    try:
        parts = urlsplit(target)
    except ValueError:
        return None
    return None if parts.scheme or parts.netloc else target
