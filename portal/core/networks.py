"""Network addresses as guessing is counted by: one IPv4 address, or the /64 that one IPv6 customer is given."""

import ipaddress


def network_of(address: str | None) -> str | None:
    """The part of a network address that one guesser cannot change at will; None when it is not known."""
    if not address:
        return None
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed.packed[:8] + bytes(8), 64)))
