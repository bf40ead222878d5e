"""Where webhooks may go: the public internet and nothing else.

Merchants choose these addresses and the portal's own network is within its reach, so every address that a name resolves
to is looked at, and the connection goes to one of the very addresses that were looked at.
OWASP: Server-Side Request Forgery Prevention; IANA's special-purpose address registries by `ipaddress`.
"""

import ipaddress
import queue
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

from flask_babel import lazy_gettext as _l

from portal.merchants.outbound.errors import RefusedAddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST = 2_000
_LOOK_UP_SECONDS = 5.0
# Letters, digits, dots and hyphens; each label begins and ends with a letter or a digit.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE)
# The last label of what a browser or the C library would read as a number: 2130706433, 0x7f.1, 127.1, 0177.0.0.1.
_NUMERIC_END = re.compile(r"(^|\.)([0-9]+|0x[0-9a-f]*)$", re.IGNORECASE)
_STRANGE = re.compile(r"[^\x21-\x7e]|[\\<>\"^`{|}]")
# A global address by its number, and nevertheless the inside of a cloud: the host's own services on Azure.
_INSIDE = frozenset({ipaddress.ip_address("168.63.129.16")})
# Everything that is routed in public begins here (RFC 4291); translated and tunnelled ranges lie outside or are named.
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")


@dataclass(frozen=True, slots=True)
class Target:
    """An address taken apart; `path` holds the query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """What the Host header says: the port only when it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL[self.scheme] else f"{host}:{self.port}"


_USUAL = {"https": 443, "http": 80}


def read_url(url: str, *, mode: str, loopback: bool) -> Target:  # one refusal after the other
    """Take an address apart, and refuse what no webhook is sent to whatever it resolves to. Raises RefusedAddress.

    `loopback`: this machine's own addresses may be used in test mode, on any port.
    """
    if len(url) > LONGEST:
        raise RefusedAddress(_l("This address is longer than 2,000 characters."))
    if _STRANGE.search(url) or "#" in url:
        raise RefusedAddress(_l("This address holds characters that addresses of webhooks cannot have."))
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise RefusedAddress from None
    if parts.scheme not in _USUAL or not host:
        raise RefusedAddress
    if "@" in parts.netloc:
        raise RefusedAddress(_l("An address of webhooks holds no user name or password."))
    if parts.scheme == "http" and mode != "test":
        raise RefusedAddress(_l("Use https://. Plain http:// is for test mode only."))
    literal = _literal(host)
    if "[" in parts.netloc and not isinstance(literal, ipaddress.IPv6Address):
        # Brackets hold an IPv6 address; what else RFC 3986 lets stand there is nobody's name.
        raise RefusedAddress
    if literal is not None:
        check_address(literal, mode=mode, loopback=loopback)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, _port(parts.scheme, port), path)


def _port(scheme: str, given: int | None) -> int:
    """The port of an address. Raises RefusedAddress for those at which no web program listens."""
    port = _USUAL[scheme] if given is None else given
    if port < 1024 and port not in _USUAL.values():
        raise RefusedAddress(_l("Use port 80, 443, or one from 1024 on."))
    return port


def _literal(host: str) -> Address | None:
    """The address that a host is, when it is no name. Raises RefusedAddress for anything in between."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if _NUMERIC_END.search(host) or len(host) > 253 or not _NAME.fullmatch(host):
        raise RefusedAddress(_l("This is not the name of a public host."))
    return None


def addresses_of(target: Target, *, mode: str, loopback: bool) -> list[str]:
    """Every address of the target's host, in the order of the resolver. Raises RefusedAddress when one of them is not
    public, and OSError when there is none."""
    found = _look_up(target.host, target.port)
    if not found:
        raise OSError("the host has no address")
    for address in found:
        check_address(ipaddress.ip_address(address), mode=mode, loopback=loopback)
    return found


def check_address(address: Address, *, mode: str, loopback: bool) -> None:
    """Refuse an address that is not a public one. Raises RefusedAddress."""
    if loopback and mode == "test" and address.is_loopback:
        return
    if not _is_public(address):
        raise RefusedAddress(_l("This host is not on the public internet."))


def _is_public(address: Address) -> bool:
    if address in _INSIDE or not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        # What carries an IPv4 address inside would be judged by the wrong half.
        is_wrapped = address.ipv4_mapped is not None or address.sixtofour is not None or address.teredo is not None
        return not is_wrapped and address.scope_id is None and address in _PUBLIC_V6
    return not (address.is_private or address.is_loopback or address.is_link_local or address.is_unspecified)


def _look_up(host: str, port: int) -> list[str]:
    """Ask the resolver, for a limited time: whoever owns a name can make its servers slow."""
    answers: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            answers.put(list(dict.fromkeys(str(info[4][0]) for info in found)))
        except (OSError, UnicodeError) as error:
            answers.put(OSError(f"the name cannot be resolved ({type(error).__name__})"))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=_LOOK_UP_SECONDS)
    except queue.Empty:
        raise OSError("the name was not resolved in time") from None
    if isinstance(answer, OSError):
        raise answer
    return answer
