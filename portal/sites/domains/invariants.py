"""What must be true of domains: they work, and their certificates do not run out."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from flask_babel import lazy_gettext as _l
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import joinedload

from portal.core.db import db
from portal.core.invariants import LIMIT, AlreadyRight, Breach, Reach, invariant
from portal.sites.domains.models import Certificate, Domain, DomainStatus, Reason
from portal.sites.domains.services.moving import locked, look_soon
from portal.sites.models import Site, SiteStatus

_ENDING = timedelta(days=14)
# Trouble that a customer has to mend is theirs; after a week somebody should ask.
_LONG = timedelta(days=7)
# Each minute domains follow their sites; one that has not after this does not.
_LATE = timedelta(minutes=10)
_OURS = (Reason.NGINX_REFUSED, Reason.NOT_SERVED, Reason.UNREACHABLE, Reason.TAKEN)


def look_again(subject_id: int, /, *, by: str, at: datetime) -> None:  # noqa: ARG001  # every repair is told who asks
    """Have the domain looked at now, and its hosts told anew if something is wrong there."""
    domain = locked(subject_id)
    if domain.is_removed:
        raise AlreadyRight
    look_soon(domain, at=at)


@invariant(
    "certificate_ending",
    title=_l("Certificates that end soon"),
    advice=_l("They should have been renewed weeks ago. The domain's page says what stood against it."),
    repair=look_again,
    action=_l("Look and try again"),
)
def certificate_ending(reach: Reach) -> Sequence[Breach]:
    """Domains that are served with a certificate of a few more days."""
    found = db.session.execute(
        select(Domain, Certificate.ends_at)
        .join(Certificate, Certificate.id == Domain.certificate_id)
        .where(
            Domain.removed_at.is_(None), Domain.status == DomainStatus.LIVE, Certificate.ends_at < reach.at + _ENDING
        )
        .order_by(Domain.id)
        .limit(LIMIT)
    )
    return [Breach(f"domains:{one.id}", one.name, one.reason_detail, since=ends_at) for one, ends_at in found]


@invariant(
    "domain_failing",
    title=_l("Domains that do not work"),
    advice=_l("Either the trouble is on our side, or a customer needs help with a record."),
    repair=look_again,
    action=_l("Look again"),
)
def domain_failing(reach: Reach) -> Sequence[Breach]:
    """Domains with trouble of ours, or with any for more than a week; switched off ones are meant to be."""
    found = db.session.scalars(
        select(Domain)
        .options(joinedload(Domain.site))
        .where(
            Domain.removed_at.is_(None),
            Domain.status == DomainStatus.FAILING,
            Domain.reason != Reason.SITE_OFF,
            Domain.reason.in_(_OURS) | (Domain.failing_since < reach.at - _LONG),
        )
        .order_by(Domain.id)
        .limit(LIMIT)
    )
    return [Breach(f"domains:{one.id}", one.name, one.reason_detail, since=one.failing_since) for one in found]


@invariant(
    "domain_against_site",
    title=_l("Domains on or off against their website"),
    advice=_l("A domain works while the subscription of its website runs, and only then. Somebody should have looked."),
    repair=look_again,
    action=_l("Look again"),
)
def domain_against_site(reach: Reach) -> Sequence[Breach]:
    """Domains that work although their site is closed, or are off although it is open, for longer than a look takes."""
    is_open = and_(Site.status == SiteStatus.ACTIVE, Site.deleted_at.is_(None))
    is_off = func.coalesce(Domain.reason, "") == Reason.SITE_OFF
    found = db.session.execute(
        select(Domain, Site.updated_at)
        .join(Site, Site.id == Domain.site_id)
        .where(
            Domain.removed_at.is_(None),
            Site.updated_at < reach.at - _LATE,
            or_(and_(is_open, is_off), and_(~is_open, Domain.status == DomainStatus.LIVE)),
        )
        .order_by(Domain.id)
        .limit(LIMIT)
    )
    return [Breach(f"domains:{one.id}", one.name, since=since) for one, since in found]
