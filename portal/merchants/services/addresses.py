"""Where a merchant may have buyers sent back to: only places that cannot be mistaken for others."""

import re
from collections.abc import Collection
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l

from portal.core.errors import Invalid

# Room for "?session_id=" and a uuid in the column.
LONGEST = 2_000
# Letters, digits, dots and hyphens, and a port: what every browser reads as the same host.
_PLACE = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?)(:[0-9]{1,5})?", re.IGNORECASE)
# What browsers drop or rewrite inside an address, and what has no place in one (RFC 3986, 2).
_STRANGE = re.compile(r"[^\x21-\x7e]|[\\<>\"^`{|}]")
_OWN_MACHINE = frozenset({"localhost", "127.0.0.1"})


class WrongAddress(Invalid):
    """An address that buyers cannot be sent to."""

    code = "invalid_url"
    default = _l("Give a whole https:// address.")


def check_return_url(text: str, *, mode: str, hosts: Collection[str] = ()) -> str:
    """The address as it is, when it is safe to send a buyer there; `hosts` are the only ones, unless there are none.

    https everywhere; plain http on the developer's own machine, in test mode. Raises WrongAddress.
    """
    _check_characters(text)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise WrongAddress from None
    if "@" in parts.netloc:
        raise WrongAddress(_l("An address for buyers holds no user name or password."))
    if not _PLACE.fullmatch(parts.netloc) or ".." in host or port == 0:
        raise WrongAddress
    if parts.scheme == "http" and not (mode == "test" and host in _OWN_MACHINE):
        raise WrongAddress(_l("Use https://. Plain http:// is for localhost in test mode only."))
    if re.search(r"(^|&)session_id=", parts.query):
        raise WrongAddress(_l("We add session_id ourselves: leave it out."))
    if hosts and host not in hosts:
        raise WrongAddress(_l("%(host)s is not among the hosts that this merchant has registered.", host=host))
    return text


def _check_characters(text: str) -> None:
    """Refuse what a browser, a proxy and we could read differently, before anything is read from it."""
    if len(text) > LONGEST:
        raise WrongAddress(_l("This address is longer than 2,000 characters."))
    if _STRANGE.search(text):
        raise WrongAddress(_l("This address holds characters that addresses cannot have. Percent-encode them."))
    if not text.startswith(("https://", "http://")):
        raise WrongAddress
    if "#" in text:
        raise WrongAddress(_l("An address for buyers has no part after #."))


def with_session(url: str, public_id: str) -> str:
    """The merchant's address with the payment's id added to it."""
    return f"{url}{'&' if '?' in url else '?'}session_id={public_id}"


def check_host(text: str) -> str:
    """A host's name in small letters, as it is registered. Raises WrongAddress."""
    host = text.strip().lower()
    if len(host) > 253 or not _PLACE.fullmatch(host) or ":" in host or ".." in host:
        raise WrongAddress(_l("This is not the name of a host, such as shop.example.com."))
    return host
