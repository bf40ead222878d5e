"""Looking after a domain, from the request to years later: what DNS says, what follows, and when to look again.

Each look asks DNS anew, without a transaction; what it found is then judged under the row's lock, and one step is
taken. A name is served only after its proof was seen, and a certificate is asked for only after everything was seen
that the authority will look at. Whatever is wrong is written down with its reason; what is right again goes on by
itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import and_, func, not_, or_, select
from sqlalchemy.exc import IntegrityError

from portal import config_sites
from portal.core import clock, outbox, settings
from portal.core.db import db, stop_reading, unit_of_work
from portal.core.faults import fault
from portal.sites.domains import queries, resolvers
from portal.sites.domains.models import CHECKS_KEPT, UNPROVEN_DAYS, Domain, DomainCheck, DomainStatus, Reason
from portal.sites.domains.records import Sighting, Verdict, judge
from portal.sites.domains.services import issuing, visiting
from portal.sites.domains.services.accounts import ensure_account
from portal.sites.domains.services.moving import BY, DAILY, DUE, fail, locked, move, note, pace, publish_apply
from portal.sites.domains.services.requesting import remove_domain
from portal.sites.models import Site, SiteStatus

# Longer than the authority's patience: two workers must not ask for one certificate.
LEASE = timedelta(seconds=180)
# A host gets its configuration within this, or the look that follows it comes by the clock.
_CONFIGURING = timedelta(minutes=2)
_LOST = timedelta(minutes=10)
# Seen as wrong only so rarely that it is no reason to wait for a day.
_UNSURE = timedelta(hours=1)


class Step(StrEnum):
    """What a look is followed by."""

    NOTHING = "nothing"
    ISSUE = "issue"
    VISIT = "visit"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one look asks for; it holds no row and no transaction."""

    domain_id: int
    name: str
    twin: str | None
    proof_name: str
    proof: str


def list_due(*, at: datetime, limit: int) -> list[Domain]:
    """The domains to look at now, taken for this moment: those whose time has come, and those that do not know yet that
    their site was switched off, on again, or is gone."""
    is_off = or_(Site.status != SiteStatus.ACTIVE, Site.deleted_at.is_not(None))
    is_known = func.coalesce(Domain.reason, "") == Reason.SITE_OFF
    statement = (
        select(Domain)
        .join(Site, Site.id == Domain.site_id)
        .where(
            Domain.removed_at.is_(None),
            or_(
                Domain.next_check_at <= at,
                and_(is_off, not_(is_known)),
                and_(not_(is_off), is_known),
                Site.purged_at.is_not(None),
            ),
        )
        .order_by(Domain.next_check_at)
        .limit(limit)
        .with_for_update(of=Domain, skip_locked=True)
    )
    return list(db.session.scalars(statement))


def call_up(*, at: datetime, limit: int = 50) -> int:
    """Have every domain looked at whose time has come; returns how many."""
    due = list_due(at=at, limit=limit)
    for domain in due:
        # A look that is lost comes again; one that is under way sets its own time.
        domain.next_check_at = at + _LOST
        outbox.publish(DUE, key=f"domain-due:{domain.id}:{int(at.timestamp()) // 60}", domain_id=domain.id)
    return len(due)


@outbox.handles(DUE, lease=LEASE)
def look_after(domain_id: int) -> None:
    """Look at a domain once and take the next step; one that was removed, or whose site is off, is left alone."""
    if not queries.is_offered():
        # Taken out of the settings: nothing can be judged, and what is served stays.
        return
    with unit_of_work():
        wanted = _begin(domain_id, at=clock.now())
    if wanted is None:
        return
    stop_reading()
    options = settings.current()
    ours, asked = config_sites.site_addresses(options), config_sites.resolvers(options)
    sightings = resolvers.look(wanted.name, wanted.proof_name, asked)
    verdict = judge(sightings, proof=wanted.proof, ours=ours)
    twin = judge(resolvers.look(wanted.twin, None, asked), proof="", ours=ours) if wanted.twin is not None else None
    with unit_of_work():
        step = take_step(domain_id, sightings, verdict, twin=twin, at=clock.now())
    fault("domain-seen")
    stop_reading()
    if step is Step.ISSUE or (step is Step.VISIT and visiting.visit(domain_id)):
        issuing.acquire(domain_id)
    if step is Step.VISIT:
        with unit_of_work():
            visiting.warn_of_end(domain_id, at=clock.now())


def _begin(domain_id: int, *, at: datetime) -> Wanted | None:
    domain = locked(domain_id)
    if domain.is_removed:
        return None
    is_forgotten = domain.proven_at is None and at - domain.created_at >= UNPROVEN_DAYS
    # A purged site's address may become somebody else's: nothing may lead there any more.
    if is_forgotten or domain.site.purged_at is not None:
        remove_domain(domain, by=BY, at=at)
        return None
    if not domain.site.may_be_changed:
        fail(domain, Reason.SITE_OFF, "", at=at, next_check_at=at + DAILY)
        return None
    if domain.reason is Reason.SITE_OFF:
        # That is over; what else may be wrong is about to be seen.
        domain.reason = None
    return Wanted(domain.id, domain.name, domain.twin, domain.proof_name, domain.proof)


def take_step(
    domain_id: int, sightings: list[Sighting], verdict: Verdict, *, at: datetime, twin: Verdict | None = None
) -> Step:
    """Write down what was seen, and move the domain along by it."""
    domain = locked(domain_id)
    if domain.is_removed:
        return Step.NOTHING
    domain.checked_at = at
    if twin is not None and (twin.is_pointing or twin.is_certain):
        domain.is_twin_pointing = twin.is_pointing
    _remember(domain, sightings, verdict, at=at)
    if domain.proven_at is None:
        _claim(domain, verdict, at=at)
        return Step.NOTHING
    if not verdict.is_pointing and not verdict.is_certain:
        domain.next_check_at = at + _UNSURE
        if domain.status is DomainStatus.FAILING:
            domain.reason, domain.reason_detail = verdict.reason, verdict.detail
        return Step.NOTHING
    # The proof is needed until the first certificate: from then on the site is found there, which proves as much.
    if not verdict.is_pointing or (verdict.reason is not None and domain.certificate_id is None):
        reason = verdict.reason or Reason.NO_ADDRESS
        fail(domain, reason, verdict.detail, at=at, next_check_at=pace(domain.failing_since or at, at))
        return Step.NOTHING
    if domain.certificate is None:
        return Step.ISSUE
    if not domain.certificate.is_valid(at):
        if domain.status is DomainStatus.LIVE:
            fail(domain, Reason.EXPIRED, "", at=at, next_check_at=at + _UNSURE)
        return Step.ISSUE
    return Step.VISIT


def _claim(domain: Domain, verdict: Verdict, *, at: datetime) -> None:
    """Give a proven name to whoever proved it first."""
    if verdict.reason is not None:
        if domain.status is DomainStatus.FAILING:
            move(domain, DomainStatus.REQUESTED, at=at)
        note(domain, verdict.reason, verdict.detail, next_check_at=pace(domain.created_at, at))
        return
    try:
        # Two customers may have put their proofs side by side: the index gives the name to one of them.
        with db.session.begin_nested():
            values = {"proven_at": at, "next_check_at": at + _CONFIGURING}
            move(domain, DomainStatus.VERIFIED, at=at, **values)
    except IntegrityError:
        fail(locked(domain.id), Reason.TAKEN, "", at=at, next_check_at=at + _UNSURE)
        return
    ensure_account(at=at)
    publish_apply(domain)


def _remember(domain: Domain, sightings: list[Sighting], verdict: Verdict, *, at: datetime) -> None:
    check = DomainCheck(
        domain_id=domain.id,
        at=at,
        sightings=[one.as_json() for one in sightings],
        is_proven=verdict.is_proven,
        is_pointing=verdict.is_pointing,
        reason=verdict.reason,
        reason_detail=verdict.detail,
    )
    db.session.add(check)
    db.session.flush()
    old = (
        select(DomainCheck)
        .where(DomainCheck.domain_id == domain.id)
        .order_by(DomainCheck.id.desc())
        .offset(CHECKS_KEPT)
    )
    for one in db.session.scalars(old):
        db.session.delete(one)
