"""Going where visitors go: does every site host show the domain's certificate, and is it time for the next one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from portal import config_sites
from portal.core import clock, settings
from portal.core.db import stop_reading, unit_of_work
from portal.core.faults import fault
from portal.sites.domains import probing
from portal.sites.domains.blocks import port_of
from portal.sites.domains.models import Certificate, Domain, DomainStatus, Reason
from portal.sites.domains.services.accounts import account_key, find_account
from portal.sites.domains.services.moving import DAILY, fail, locked, move, note, pace, publish_apply, tell_owner

# A host that was just told of a certificate may need so long to show it.
_SETTLING = timedelta(minutes=5)
_SOON = timedelta(minutes=1)
# The owner is told so long before a certificate ends that could not be renewed.
_WARNINGS = (timedelta(days=3), timedelta(days=14))


@dataclass(frozen=True, slots=True)
class Visited:
    """What is needed to look; it holds no row and no transaction."""

    name: str
    fingerprint: str
    chain_pem: str
    account_key: str | None


def visit(domain_id: int) -> bool:
    """Look whether a domain is served as it should be; returns whether its next certificate should be asked for now."""
    with unit_of_work():
        visited = _begin(domain_id)
    stop_reading()
    if visited is None:
        return False
    problem = probing.patiently(lambda: _look(visited))
    renew_at = _ask_when(visited)
    fault("domain-visited")
    with unit_of_work():
        return _judge(domain_id, visited, problem, renew_at, at=clock.now())


def _begin(domain_id: int) -> Visited | None:
    domain = locked(domain_id)
    certificate, account = domain.certificate, find_account()
    if domain.is_removed or certificate is None:
        return None
    key = account_key(account) if account is not None else None
    return Visited(domain.name, certificate.fingerprint, certificate.chain_pem, key)


def _look(visited: Visited) -> str:
    """What is wrong at one of our addresses; empty when nothing is."""
    options = settings.current()
    port = port_of(options.nginx_listen_tls)
    for address in config_sites.site_addresses(options):
        try:
            shown = probing.served_fingerprint(visited.name, address=address, port=port)
        except probing.NotReached as error:
            return str(error)
        if shown != visited.fingerprint:
            return f"{address}, port {port}: {shown[:16]}"
    return ""


def _ask_when(visited: Visited) -> datetime | None:
    """When the authority wants the next certificate to be asked for; an authority that is away is not waited for."""
    if visited.account_key is None:
        return None
    # Imported here: the library and what it is made of would stay in every web process.
    from portal.sites.domains import authority

    options = settings.current()
    speaking = authority.Authority(options.acme_directory_url, visited.account_key, options.acme_contact)
    try:
        return speaking.renewal_time(visited.chain_pem)
    except authority.AuthorityAway:
        return None


def _judge(domain_id: int, visited: Visited, problem: str, renew_at: datetime | None, *, at: datetime) -> bool:
    domain = locked(domain_id)
    certificate = domain.certificate
    if domain.is_removed or certificate is None or certificate.fingerprint != visited.fingerprint:
        # Removed, or renewed by another worker meanwhile: what was seen is about something that is over.
        return False
    if renew_at is not None:
        certificate.renew_at = renew_at
    if problem:
        _not_served(domain, certificate, problem, at=at)
        return False
    _served(domain, certificate, at=at)
    return certificate.is_to_renew(at) or domain.lacks_twin


def _not_served(domain: Domain, certificate: Certificate, problem: str, *, at: datetime) -> None:
    if at - certificate.created_at < _SETTLING:
        note(domain, Reason.NOT_SERVED, problem, next_check_at=at + _SOON)
        return
    since = domain.failing_since or at
    fail(domain, Reason.NOT_SERVED, problem, at=at, next_check_at=pace(since, at))
    # A host that lost its files gets them again.
    publish_apply(domain)


def _served(domain: Domain, certificate: Certificate, *, at: datetime) -> None:
    was_live = domain.status is DomainStatus.LIVE
    # Why the next certificate could not be had stands until it is here: it may be too early to ask for it again.
    is_waiting = was_live and certificate.is_to_renew(at) and domain.reason is not Reason.NOT_SERVED
    kept = {"reason": domain.reason, "reason_detail": domain.reason_detail} if is_waiting else {}
    if domain.status is DomainStatus.VERIFIED:
        move(domain, DomainStatus.ISSUING, at=at)
    move(domain, DomainStatus.LIVE, at=at, live_since=domain.live_since or at, next_check_at=at + DAILY, **kept)
    # Hosts compare, and change nothing when nothing changed: a domain becomes stable by the passing of time alone.
    publish_apply(domain)
    if not was_live:
        tell_owner("domain_live", domain, key=f"domain-live:{domain.id}:{at.isoformat()}")


def warn_of_end(domain_id: int, *, at: datetime) -> None:
    """Tell the owner, once for each time, that the certificate ends soon: after the try to renew it, so that the mail
    says why it failed."""
    domain = locked(domain_id)
    certificate = domain.certificate
    if domain.is_removed or domain.status is not DomainStatus.LIVE or certificate is None:
        return
    for before in _WARNINGS:
        if at >= certificate.ends_at - before:
            tell_owner("domain_certificate_ending", domain, key=f"certificate-ending:{certificate.id}:{before.days}")
            return
