"""Asking name servers, several at a time, each for itself; nothing here waits for longer than a few seconds."""

import ipaddress
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from portal.sites.domains.records import Sighting

if TYPE_CHECKING:
    from dns.resolver import Answer

_SECONDS = 4.0
_MOST = 10
_LONGEST_TEXT = 255


class ResolverSilent(RuntimeError):
    """A name server gave no answer that says anything; the message is one word of the reason."""


@dataclass(frozen=True, slots=True)
class CaaRecord:
    """Which authority may issue for a name (RFC 8659)."""

    flags: int
    tag: str
    value: str


def look(name: str, proof_name: str | None, resolvers: Sequence[tuple[str, int]]) -> list[Sighting]:
    """What each resolver knows of a name, and of the record that proves it, if that is asked for."""
    with ThreadPoolExecutor(max_workers=len(resolvers)) as pool:
        return list(pool.map(lambda one: _see(name, proof_name, one), resolvers))


def _see(name: str, proof_name: str | None, resolver: tuple[str, int]) -> Sighting:
    shown = resolver[0] if resolver[1] == 53 else f"{resolver[0]}:{resolver[1]}"
    try:
        four = _ask(name, "A", resolver)
        six = _ask(name, "AAAA", resolver)
        texts = _ask(proof_name, "TXT", resolver) if proof_name is not None else None
    except ResolverSilent as error:
        return Sighting(shown, problem=str(error))
    target = next((str(one.canonical_name) for one in (four, six) if one is not None), "").rstrip(".")
    return Sighting(
        shown,
        texts=tuple(text for text in _texts(texts) if len(text) <= _LONGEST_TEXT)[:_MOST],
        addresses=tuple([*_addresses(four), *_addresses(six)][:_MOST]),
        target=target if target != name else "",
    )


def find_caa(name: str, resolvers: Sequence[tuple[str, int]]) -> list[CaaRecord]:
    """The records that hold for a name: its own, or those of the nearest name above it that has some.

    Raises ResolverSilent when none of the resolvers answers.
    """
    silence = ResolverSilent("timeout")
    for resolver in resolvers:
        try:
            return _climb(name, resolver)
        except ResolverSilent as error:
            silence = error
    raise silence


def _climb(name: str, resolver: tuple[str, int]) -> list[CaaRecord]:
    labels = name.split(".")
    for depth in range(len(labels)):
        answer = _ask(".".join(labels[depth:]), "CAA", resolver)
        if answer is not None and answer.rrset is not None:
            return [CaaRecord(one.flags, _text(one.tag).lower(), _text(one.value)) for one in answer.rrset]
    return []


def _ask(name: str, kind: str, resolver: tuple[str, int]) -> "Answer | None":
    """One question; None when there is no such record or name. Raises ResolverSilent."""
    # Here, because the web server never asks.
    import dns.exception
    import dns.name
    import dns.resolver

    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers, asking.port, asking.lifetime = [resolver[0]], resolver[1], _SECONDS
    asking.timeout = _SECONDS / 2
    try:
        return asking.resolve(dns.name.from_text(name), kind, raise_on_no_answer=False, search=False)
    except dns.resolver.NXDOMAIN:
        return None
    except dns.resolver.NoNameservers:
        raise ResolverSilent("servfail") from None
    except dns.resolver.YXDOMAIN:
        raise ResolverSilent("malformed") from None
    except dns.exception.Timeout:
        raise ResolverSilent("timeout") from None
    except (dns.exception.DNSException, OSError) as error:
        raise ResolverSilent(type(error).__name__.lower()) from None


def _addresses(answer: "Answer | None") -> list[str]:
    if answer is None or answer.rrset is None:
        return []
    # Written as the settings write them, whatever form the answer has.
    return sorted({str(ipaddress.ip_address(one.address)) for one in answer.rrset if hasattr(one, "address")})


def _texts(answer: "Answer | None") -> list[str]:
    """Each record's strings joined, as DNS means them: a long one is cut into several."""
    if answer is None or answer.rrset is None:
        return []
    return [b"".join(one.strings).decode("utf-8", "replace") for one in answer.rrset]


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
