"""The records that a customer sets, and how what resolvers see of them is judged."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from portal.core import settings
from portal.sites.domains.models import Domain, Reason
from portal.sites.domains.names import is_registered_itself
from portal.sites.responses import host_name

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Record:
    """One line to copy into the domain's zone. `purpose` is "proof", "address" or "twin"."""

    purpose: str
    kind: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one resolver said. `problem` is empty, or why it said nothing: timeout, servfail, refused."""

    resolver: str
    texts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    # Where a CNAME leads, for people to see.
    target: str = ""
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {**asdict(self), "texts": list(self.texts), "addresses": list(self.addresses)}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the resolvers say together; `reason` is what is wrong first, `is_certain` that most of them agree on it."""

    is_proven: bool
    is_pointing: bool
    reason: Reason | None
    detail: str = ""
    is_certain: bool = True


def records_for(domain: Domain, addresses: Sequence[str]) -> list[Record]:
    """The records of a domain: the proof, and where it leads. The top of a zone cannot have a CNAME."""
    return [*_leading(domain.name, addresses), Record("proof", "TXT", domain.proof_name, domain.proof)]


def records_for_twin(domain: Domain, addresses: Sequence[str]) -> list[Record]:
    """The records that bring in the domain's twin, which works without as well."""
    return _leading(domain.twin, addresses, purpose="twin") if domain.twin is not None else []


def _leading(name: str, addresses: Sequence[str], *, purpose: str = "address") -> list[Record]:
    if not is_registered_itself(name):
        return [Record(purpose, "CNAME", name, host_name(settings.current().sites_url))]
    return [Record(purpose, "AAAA" if ":" in one else "A", name, one) for one in addresses]


def judge(sightings: Sequence[Sighting], *, proof: str, ours: Collection[str]) -> Verdict:
    """What most of the asked resolvers agree on. One that says nothing agrees with nobody: a cache that was poisoned,
    or a resolver that is away, decides nothing by itself."""
    most = len(sightings) // 2 + 1
    heard = [one for one in sightings if not one.problem]
    proven = sum(proof in one.texts for one in heard) >= most
    pointing = sum(_leads_to(one, ours) for one in heard) >= most
    if len(heard) < most:
        problems = ", ".join(f"{one.resolver}: {one.problem}" for one in sightings if one.problem)
        return Verdict(proven, pointing, Reason.DNS_AWAY, problems, is_certain=False)
    wrong = [one for one in heard if not _leads_to(one, ours)]
    is_certain = len(wrong) >= most
    if not pointing:
        seen = sorted({address for one in wrong for address in one.addresses if address not in ours})
        reason = Reason.ELSEWHERE if seen else Reason.NO_ADDRESS
        return Verdict(proven, pointing, reason, ", ".join(seen[:_SHOWN]), is_certain)
    return Verdict(proven, pointing, None if proven else Reason.NO_PROOF)


def _leads_to(sighting: Sighting, ours: Collection[str]) -> bool:
    """Whether every address is ours: with one foreign one, some visitors would end elsewhere."""
    return bool(sighting.addresses) and set(sighting.addresses) <= set(ours)
