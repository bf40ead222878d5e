"""Parcels that staff take to a carrier themselves: its name, the tracking number, and where it can be followed."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l

from portal.core.errors import Invalid

NAME = "by_hand"
_LONGEST_CARRIER, _LONGEST_NUMBER, _LONGEST_URL = 64, 64, 2048
# Carriers print letters, digits and a few dividers; anything else is a slip of the paste.
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./-]{2,63}")


class BadParcelDetail(Invalid):
    """One of the three is not acceptable; `field` says which."""

    code = "bad_parcel_detail"


@dataclass(frozen=True, slots=True)
class Details:
    """A parcel that was handed over by hand; the address is https, or none."""

    carrier: str
    tracking_number: str
    tracking_url: str | None


def check_details(carrier: str, tracking_number: str, tracking_url: str) -> Details:
    """Tidy up what was typed. Raises BadParcelDetail."""
    carrier = " ".join(carrier.split())
    number = " ".join(tracking_number.split())
    url = tracking_url.strip()
    if not carrier or len(carrier) > _LONGEST_CARRIER or not carrier.isprintable():
        raise BadParcelDetail(_l("Say who carries the parcel, in up to 64 characters."), field="carrier")
    if not _NUMBER.fullmatch(number):
        raise BadParcelDetail(
            _l("A tracking number has 3 to 64 letters, digits, spaces, dots, slashes or hyphens."),
            field="tracking_number",
        )
    if url and not is_safe_link(url):
        raise BadParcelDetail(_l("Give a whole https:// address, or leave it empty."), field="tracking_url")
    return Details(carrier, number, url or None)


def is_safe_link(url: str) -> bool:
    """Whether a customer can be sent to this address: https, a real host name, and no log-in hidden in it.

    We never fetch it; it is a link for people.
    """
    if len(url) > _LONGEST_URL or not url.isprintable() or not url.isascii() or set(url) & set(" \\<>\"'`{}|^"):
        return False
    try:
        parts = urlsplit(url)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        return False
    host = parts.hostname or ""
    has_login = parts.username is not None or parts.password is not None
    return url.startswith("https://") and "." in host and not has_login and port_is_fine
