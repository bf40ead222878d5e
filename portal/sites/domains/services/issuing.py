"""Getting a certificate: everything the authority will look at is looked at first, because its tries are few.

A try is written down before the authority hears of it, and only one for a domain is under way at any time. What counts
against the domain is a refusal. A worker that dies in the middle costs nothing but some minutes, a few times running;
from then on its death counts like a refusal, since what kills it may be the order itself.

Of a pair of names both are asked for when both would be given; the twin never stands in the domain's way.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from portal import config_sites
from portal.core import clock, sealed, settings
from portal.core.db import db, unit_of_work
from portal.core.faults import fault
from portal.sites.domains import caa, probing, resolvers
from portal.sites.domains.blocks import port_of
from portal.sites.domains.models import Certificate, Domain, DomainStatus, Reason
from portal.sites.domains.services.accounts import account_key, ensure_account
from portal.sites.domains.services.moving import fail, locked, move, note, pace, publish_apply

if TYPE_CHECKING:
    from portal.sites.domains.authority import Authority, Issued

KEY_PURPOSE = "domain-certificate"
# After the first failure, the second, and so on: authorities allow five failures an hour for a name, and few a week.
_WAITS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4), timedelta(hours=12), timedelta(days=1))
_LIMITED = timedelta(hours=6)
# Of one name, whoever asks for it and however often it is connected anew; the authority's own limit is five.
_MOST_IN_A_WEEK, _WEEK = 4, timedelta(days=7)
# A twin that comes and goes leaves some of them for what cannot wait.
_MOST_FOR_A_TWIN = 2
# So long a try may take before another one may begin.
_RUNNING = timedelta(minutes=3)
# So many workers may die running before another try has to wait as after a refusal.
_FREE_DEATHS = 3
# A host that has just been told of a domain may need so long to answer for it.
_SETTLING = timedelta(minutes=5)


class CannotAsk(RuntimeError):
    """The authority is not asked, since it would say no."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Asking:
    """What one try needs; it holds no row and no transaction."""

    domain_id: int
    name: str
    # The other one of the pair, if it leads to us; and whether its coming in is all that is wanted.
    twin: str | None
    is_for_twin: bool
    thumbprint: str
    account_key: str


def acquire(domain_id: int) -> None:
    """Have a first certificate, or the next one, issued; what goes wrong is written down with when to try again."""
    # Imported here: the library and what it is made of would stay in every web process.
    from portal.sites.domains import authority

    with unit_of_work():
        asking = _prepare(domain_id, at=clock.now())
    if asking is None:
        return
    options = settings.current()
    speaking = authority.Authority(options.acme_directory_url, asking.account_key, options.acme_contact)
    try:
        names = _preflight(asking, speaking.identities())
        if asking.is_for_twin and asking.twin not in names:
            return
        with unit_of_work():
            if not begin(domain_id, at=clock.now()):
                return
        fault("domain-attempt-counted")
        key_pem = authority.new_key()
        issued, has_twin = _ask(speaking, asking, names, key_pem)
        fault("domain-issued")
    except CannotAsk as problem:
        _give_up(domain_id, problem.reason, str(problem))
    except authority.AuthorityLimits as problem:
        _give_up(domain_id, Reason.AUTHORITY_LIMITS, str(problem))
    except authority.AuthorityRefused as problem:
        _give_up(domain_id, Reason.AUTHORITY_REFUSED, str(problem))
    except authority.AuthorityAway as problem:
        _give_up(domain_id, Reason.AUTHORITY_AWAY, str(problem))
    else:
        with unit_of_work():
            _keep(domain_id, issued, key_pem, has_twin=has_twin, at=clock.now())
        fault("domain-kept")


def _prepare(domain_id: int, *, at: datetime) -> Asking | None:
    domain = locked(domain_id)
    if domain.is_removed or not _may_ask(domain, at=at):
        return None
    issued = _count_issued(domain.proof_of, since=at - _WEEK)
    certificate = domain.certificate
    is_for_twin = certificate is not None and certificate.is_valid(at) and not certificate.is_to_renew(at)
    if is_for_twin and issued >= _MOST_FOR_A_TWIN:
        return None
    if issued >= _MOST_IN_A_WEEK:
        _say(domain, Reason.AUTHORITY_LIMITS, "", at=at, again=at + _LIMITED)
        return None
    account = ensure_account(at=at)
    twin = domain.twin if domain.is_twin_pointing else None
    return Asking(domain.id, domain.name, twin, is_for_twin, account.thumbprint, account_key(account))


def _count_issued(proof_of: str, *, since: datetime) -> int:
    statement = (
        select(func.count())
        .select_from(Certificate)
        .join(Domain, Domain.id == Certificate.domain_id)
        .where(Domain.proof_of == proof_of, Certificate.created_at > since)
    )
    return db.session.scalar(statement) or 0


def _may_ask(domain: Domain, *, at: datetime) -> bool:
    """Whether it is time for another try; if not, the domain is looked at again when it is."""
    not_before = domain.no_attempt_before
    if not_before is not None and at < not_before:
        domain.next_check_at = max(domain.next_check_at, not_before)
        return False
    return True


def _preflight(asking: Asking, identities: tuple[str, ...]) -> list[str]:
    """Look at what the authority will look at; returns the names to ask for. Raises CannotAsk."""
    _look(asking.name, asking, identities)
    if asking.twin is None:
        return [asking.name]
    try:
        _look(asking.twin, asking, identities)
    except CannotAsk:
        return [asking.name]
    return [asking.name, asking.twin]


def _look(name: str, asking: Asking, identities: tuple[str, ...]) -> None:
    options = settings.current()
    try:
        records = resolvers.find_caa(name, config_sites.resolvers(options))
    except resolvers.ResolverSilent as error:
        raise CannotAsk(Reason.DNS_AWAY, str(error)) from None
    if not caa.allows(records, identities):
        raise CannotAsk(Reason.CAA, ", ".join(identities))
    problem = probing.patiently(
        lambda: probing.challenge_problem(
            name,
            addresses=config_sites.site_addresses(options),
            port=port_of(options.nginx_listen),
            thumbprint=asking.thumbprint,
        )
    )
    if problem:
        raise CannotAsk(Reason.UNREACHABLE, problem)


def _ask(speaking: "Authority", asking: Asking, names: list[str], key_pem: str) -> tuple["Issued", bool]:
    """A certificate, and whether it is for the twin as well: where that is refused, the domain has one of its own.

    Raises what the authority does.
    """
    from portal.sites.domains import authority

    if len(names) > 1:
        try:
            return speaking.issue(names, key_pem), True
        except (authority.AuthorityRefused, authority.AuthorityLimits):
            if asking.is_for_twin:
                raise
    return speaking.issue([asking.name], key_pem), False


def begin(domain_id: int, *, at: datetime) -> bool:
    """Write down a try and take it up; False when another worker has one under way.

    Two workers may come here at once: the row's lock and `no_attempt_before` let one through.
    """
    domain = locked(domain_id)
    if domain.is_removed or not _may_ask(domain, at=at):
        return False
    died = domain.unfinished
    domain.unfinished, domain.attempted_at = died + 1, at
    wait = wait_after(died - _FREE_DEATHS + 1) if died >= _FREE_DEATHS else _RUNNING
    domain.no_attempt_before = at + wait
    if domain.status is not DomainStatus.LIVE:
        move(domain, DomainStatus.ISSUING, at=at, next_check_at=domain.no_attempt_before)
    return True


def wait_after(attempts: int) -> timedelta:
    """How long to wait after the n-th failure in a row."""
    return _WAITS[min(attempts, len(_WAITS)) - 1]


def _give_up(domain_id: int, reason: Reason, detail: str) -> None:
    """Say why there is no certificate; a domain that has one which is still good stays as it is."""
    at = clock.now()
    with unit_of_work():
        domain = locked(domain_id)
        if domain.is_removed:
            return
        domain.unfinished = 0
        if reason is Reason.AUTHORITY_REFUSED:
            domain.attempts += 1
            domain.no_attempt_before = at + wait_after(domain.attempts)
        elif reason in (Reason.AUTHORITY_LIMITS, Reason.AUTHORITY_AWAY):
            # Nothing is wrong with the domain: a limit is waited for, and what is away is not hammered.
            domain.no_attempt_before = at + (_LIMITED if reason is Reason.AUTHORITY_LIMITS else _WAITS[0])
        again = max(domain.no_attempt_before or at, pace(domain.failing_since or at, at))
        _say(domain, reason, detail, at=at, again=again)


def _say(domain: Domain, reason: Reason, detail: str, *, at: datetime, again: datetime) -> None:
    if _is_served(domain, at) or _is_settling(domain, reason, at):
        note(domain, reason, detail, next_check_at=again)
    else:
        fail(domain, reason, detail, at=at, next_check_at=again)


def _is_served(domain: Domain, at: datetime) -> bool:
    return domain.status is DomainStatus.LIVE and domain.certificate is not None and domain.certificate.is_valid(at)


def _is_settling(domain: Domain, reason: Reason, at: datetime) -> bool:
    """Whether the site hosts may simply not have read their configuration yet."""
    is_new = domain.proven_at is not None and at - domain.proven_at < _SETTLING
    return is_new and reason is Reason.UNREACHABLE and domain.status is DomainStatus.VERIFIED


def _keep(domain_id: int, issued: "Issued", key_pem: str, *, has_twin: bool, at: datetime) -> None:
    domain = locked(domain_id)
    certificate = Certificate(
        domain_id=domain.id,
        has_twin=has_twin,
        chain_pem=issued.chain_pem,
        key_sealed=sealed.seal(key_pem, purpose=KEY_PURPOSE) if not domain.is_removed else "",
        fingerprint=issued.fingerprint,
        starts_at=issued.starts_at,
        ends_at=issued.ends_at,
        created_at=at,
    )
    db.session.add(certificate)
    db.session.flush()
    domain.certificate_id, domain.attempts, domain.unfinished = certificate.id, 0, 0
    domain.reason, domain.reason_detail = None, ""
    # Not another one today, whatever happens to this one: authorities count the same certificate five times a week.
    domain.no_attempt_before = at + _WAITS[-1]
    if not domain.is_removed:
        publish_apply(domain)
