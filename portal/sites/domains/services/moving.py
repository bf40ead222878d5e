"""The arrows of a domain's states, each taken under the row's lock, with what follows from it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from portal.accounts.models import User
from portal.core import audit, mail, outbox
from portal.core.db import db
from portal.core.state import transition
from portal.sites.domains.models import Domain, DomainStatus, Reason
from portal.sites.hosts import each_host

APPLY = "domain.changed"
DUE = "domain.due"
BY = "job:domains"
DAILY = timedelta(days=1)
_SAID = 1_000
# How long after the last look the next one comes, by how old the trouble or the request is.
_HOUR = timedelta(hours=1)
_PACE = ((_HOUR, timedelta(minutes=1)), (DAILY, timedelta(minutes=10)))
_WORKS = {"reason": None, "reason_detail": "", "failing_since": None}


def subject(domain: Domain) -> str:
    """What audit lines about a domain name."""
    return f"domains:{domain.id}"


def locked(domain_id: int) -> Domain:
    """The domain as it is now, held until the transaction ends."""
    found: Domain = db.session.scalars(
        select(Domain)
        .where(Domain.id == domain_id)
        .with_for_update(of=Domain)
        .execution_options(populate_existing=True)
    ).one()
    return found


def pace(since: datetime, at: datetime) -> datetime:
    """When to look again: every minute while somebody sits before it, then less and less."""
    return at + next((wait for age, wait in _PACE if at - since < age), _HOUR)


def move(domain: Domain, to: DomainStatus, *, at: datetime, **values: Any) -> None:
    """Take the arrow to a state that works, or is on its way there; in it already, only the values change."""
    _write(domain, to, {**_WORKS, **values}, at=at)


def fail(domain: Domain, reason: Reason, detail: str, *, at: datetime, next_check_at: datetime) -> None:
    """Say what is wrong and when it is looked at again; the owner hears of it once a domain that worked does not."""
    was_live, since = domain.status is DomainStatus.LIVE, domain.failing_since or at
    is_news = domain.reason is not reason
    values = {
        "reason": reason,
        "reason_detail": detail[:_SAID],
        "failing_since": since,
        "live_since": None,
        "next_check_at": next_check_at,
    }
    _write(domain, DomainStatus.FAILING, values, at=at, why=f"{reason.value}: {detail}"[:_SAID])
    if is_news and reason is not Reason.NGINX_REFUSED:
        publish_apply(domain)
    if was_live and reason is not Reason.SITE_OFF:
        tell_owner("domain_failing", domain, key=f"domain-failing:{domain.id}:{since.isoformat()}")


def note(domain: Domain, reason: Reason | None, detail: str, *, next_check_at: datetime) -> None:
    """Keep what is wrong without leaving the state: nothing that visitors see has changed."""
    domain.reason, domain.reason_detail, domain.next_check_at = reason, detail[:_SAID], next_check_at


def _write(
    domain: Domain, to: DomainStatus, values: Mapping[str, Any], *, at: datetime, why: str | None = None
) -> None:
    if domain.status is to:
        for name, value in values.items():
            setattr(domain, name, value)
        return
    was = domain.status
    transition(domain, to, by=BY, at=at, reason=why, values=values)
    audit.record(
        f"domain.{to.value}",
        actor=BY,
        subject=subject(domain),
        before={"status": was.value},
        after={"status": to.value, "name": domain.name},
        detail=why,
    )


def publish_apply(domain: Domain) -> None:
    """Have every site host serve the domain as it stands now."""
    for host in each_host():
        outbox.publish(APPLY, queue=host.queue, domain_id=domain.id, host=host.name)


def look_soon(domain: Domain, *, at: datetime, key: str | None = None) -> None:
    """Have the domain looked at then; with a `key` once, however often that is asked."""
    domain.next_check_at = at
    outbox.publish(DUE, key=key, available_at=at, domain_id=domain.id)


def tell_owner(template: str, domain: Domain, *, key: str) -> None:
    """Write to the owner of the domain's site, once for each key."""
    owner = db.session.get(User, domain.site.owner_id) if domain.site.owner_id is not None else None
    if owner is not None:
        mail.send(template, to=owner.email, locale=owner.locale, key=key, domain_id=domain.id)
