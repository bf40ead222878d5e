"""Whether a domain's CAA records let our authority issue a certificate (RFC 8659)."""

from collections.abc import Collection, Sequence

from portal.sites.domains.resolvers import CaaRecord

_CRITICAL = 128
_KNOWN = frozenset({"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"})


def allows(records: Sequence[CaaRecord], identities: Collection[str]) -> bool:
    """Whether one of the authority's names is among those that may issue. No record at all lets everybody.

    An authority that does not say its names (`identities` is empty) judges for itself: it is asked.
    """
    if any(one.flags & _CRITICAL and one.tag not in _KNOWN for one in records):
        return False
    allowed = [_issuer(one.value) for one in records if one.tag == "issue"]
    if not allowed or not identities:
        return True
    return any(issuer in identities for issuer in allowed)


def _issuer(value: str) -> str:
    """The name before the parameters; empty forbids everybody."""
    return value.partition(";")[0].strip().lower()
