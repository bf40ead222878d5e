"""The word a site is found under: safe in an address, in a folder name and in nginx's configuration."""

import re

from flask_babel import lazy_gettext as _l

from portal.sites.errors import InvalidSite

LONGEST = 40
SHAPE = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
_SLUG = re.compile(SHAPE)
# What the sites' host or the portal may need for itself, and what some file systems cannot have as a name.
_OURS = """
admin api app assets cdn cgi-bin current dashboard docs ftp health healthz help index localhost login logout mail
metrics new portal preview previews releases root search server-status site sites static status support system test tmp
var versions webhooks well-known wp-admin wp-login www xn
"""
_DEVICES = "con prn aux nul " + " ".join(f"com{digit} lpt{digit}" for digit in range(1, 10))
RESERVED = frozenset([*_OURS.split(), *_DEVICES.split()])
# Names that we give ourselves to sites whose address was set free.
GONE = "gone-"


def is_slug(text: str) -> bool:
    """Whether a text has the shape of a slug; nothing else ever becomes part of a path."""
    return len(text) <= LONGEST and _SLUG.fullmatch(text) is not None


def check_slug(text: str) -> str:
    """A slug that a new site may have. Raises InvalidSite, saying what is wrong."""
    if len(text) > LONGEST:
        raise InvalidSite(_l("This is longer than 40 characters."), field="slug")
    if not is_slug(text):
        raise InvalidSite(
            _l("Use small letters a to z, digits and hyphens; begin and end with a letter or digit."), field="slug"
        )
    # "xn--" begins a name in another script, which can look like one of ours.
    if len(text) < 3 or text in RESERVED or text.startswith((GONE, "xn--")) or text.isdigit():
        raise InvalidSite(_l("This address is reserved. Choose another one."), field="slug")
    return text
