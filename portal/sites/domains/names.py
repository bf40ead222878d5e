"""Which names may become a site's domain. What passes here is safe in a question to DNS and in a configuration."""

import ipaddress
import re
from collections.abc import Collection
from functools import lru_cache
from typing import TYPE_CHECKING

import idna
from flask_babel import lazy_gettext as _l

from portal.core.errors import Sentence
from portal.sites.domains.errors import InvalidName
from portal.sites.domains.models import PROOF_LABEL

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList

# 253 is DNS's own limit; the record that proves a name is one label longer than the name.
LONGEST = 253 - len(PROOF_LABEL) - 1
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
# Names that lead nowhere in public, whatever a list of suffixes says of them.
_NOWHERE_WORDS = """
alt arpa corp example home internal intranet invalid lan local localdomain localhost onion test
"""
_NOWHERE = frozenset(_NOWHERE_WORDS.split())
# Looked at first: what IDNA would map to a dot or a letter must not come out of something that is none.
_FORBIDDEN = re.compile(r"""[\s/\\:@?#%&;{}"'$<>()\[\]|^`,_!=+~]""")

_WILDCARD: Sentence = _l("A name with * stands for many names. Enter one of them, such as www.example.com.")
_NUMBER: Sentence = _l("This is an address of a machine. Enter a name, such as www.example.com.")
_SHAPE: Sentence = _l("This is not a domain name. Enter the name alone, such as www.example.com.")
_LONG: Sentence = _l("This name is too long. We can take up to %(count)s characters.", count=LONGEST)
_PUBLIC: Sentence = _l("Nobody can own this name alone. Enter a domain that you have registered.")
_OURS: Sentence = _l("This name belongs to this service. Enter a domain of your own.")
_PRIVATE: Sentence = _l("This name is not reachable on the internet. Enter a domain that you have registered.")


def read_name(text: str, *, ours: Collection[str]) -> str:
    """A typed name in A-labels, small, without the final dot. `ours` are the hosts of this installation.

    Raises InvalidName with the reason.
    """
    typed = text.strip().rstrip(".")
    if "*" in typed:
        raise InvalidName(_WILDCARD, field="name")
    if _is_number(typed):
        raise InvalidName(_NUMBER, field="name")
    name = _to_ascii(typed)
    if len(name) > LONGEST:
        raise InvalidName(_LONG, field="name")
    labels = name.split(".")
    if len(labels) < 2 and labels[-1] not in _NOWHERE:
        raise InvalidName(_SHAPE, field="name")
    if labels[-1] in _NOWHERE:
        raise InvalidName(_PRIVATE, field="name")
    if _belongs_to_us(name, ours):
        raise InvalidName(_OURS, field="name")
    if registered_part(name) is None:
        raise InvalidName(_PUBLIC, field="name")
    return name


def _is_number(text: str) -> bool:
    """Whether browsers would read it as an address: also 127.1, 0x7f000001 and 2130706433."""
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        last = text.rpartition(".")[2].lower()
        return last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None
    return True


def _to_ascii(typed: str) -> str:
    if not typed or len(typed) > 1_000 or not typed.isprintable() or _FORBIDDEN.search(typed):
        raise InvalidName(_SHAPE, field="name")
    try:
        name = idna.encode(typed, uts46=True, std3_rules=True).decode("ascii").lower()
    except idna.IDNAError as error:
        is_long = len(typed) > LONGEST and typed.isascii()
        raise InvalidName(_LONG if is_long else _SHAPE, field="name") from error
    if not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InvalidName(_SHAPE, field="name")
    return name


def _belongs_to_us(name: str, ours: Collection[str]) -> bool:
    """Whether it is one of our hosts, lies below or above one, or was registered together with one."""
    for host in ours:
        if name == host or name.endswith(f".{host}") or host.endswith(f".{name}"):
            return True
        registered = registered_part(host)
        if registered is not None and registered == registered_part(name):
            return True
    return False


def registered_part(name: str) -> str | None:
    """What somebody registered: `example.co.uk` of `www.example.co.uk`; None for a public suffix or an unknown one."""
    return _suffixes().privatesuffix(name)


def is_registered_itself(name: str) -> bool:
    """Whether the name is the top of a zone, where DNS allows no CNAME."""
    return registered_part(name) == name


def twin_of(name: str) -> str | None:
    """What visitors type as well: `www.` and a registered name belong together. None for any other name."""
    registered = registered_part(name)
    if name == registered:
        return f"www.{name}"
    return registered if name == f"www.{registered}" else None


@lru_cache(maxsize=1)
def _suffixes() -> "PublicSuffixList":
    # The list takes some megabytes: only processes that ask have them.
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList(accept_unknown=False)
