"""Setting sites right that are not as they must be: by the services that should have done it in the first place.

What is wrong is asked for here, once for the board that lists it and once more, for one site, before it is mended.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import aliased

from portal.accounts.models import User
from portal.core.db import db
from portal.core.invariants import AlreadyRight
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.orders.services.mending import WaitsForOwner
from portal.sites import storage
from portal.sites.hosts import each_host
from portal.sites.models import Deployment, DeploymentStatus, Site, SitePurchase, SiteStatus, SiteVersion
from portal.sites.services import deploying, ownership, selling
from portal.sites.services.subscribing import KIND
from portal.subscriptions.models import RUNNING, Subscription

# A deployment is through in seconds; one that has not arrived after this will not without somebody.
LATE = timedelta(minutes=10)


def _newest() -> Any:
    """The id of the newest deployment of the site at hand: its version is the wanted one."""
    newer = aliased(Deployment)
    return select(func.max(newer.id)).where(newer.site_id == Site.id).correlate(Site).scalar_subquery()


def not_as_wanted(*, at: datetime) -> Select[Site, Deployment]:
    """Sites with their newest deployment, whose version is not the one that every host serves."""
    hosts, live = [host.name for host in each_host()], aliased(Deployment)
    serving = (
        select(func.count())
        .select_from(live)
        .where(
            live.site_id == Site.id,
            live.status == DeploymentStatus.LIVE,
            live.host.in_(hosts),
            live.version_id == Deployment.version_id,
        )
        .correlate(Site, Deployment)
        .scalar_subquery()
    )
    return (
        select(Site, Deployment)
        .join(Deployment, Deployment.id == _newest())
        .where(Site.deleted_at.is_(None), Deployment.created_at < at - LATE, serving < len(hosts))
        .order_by(Site.id)
    )


def damaged(*, at: datetime) -> Select[Site, Deployment]:
    """Sites with a deployment whose release is not whole any more, and for which no other is under way."""
    waiting = aliased(Deployment)
    is_mended = exists().where(
        waiting.site_id == Site.id,
        waiting.host == Deployment.host,
        waiting.id > Deployment.id,
        or_(waiting.created_at >= at - LATE, waiting.status == DeploymentStatus.LIVE),
    )
    return (
        select(Site, Deployment)
        .join(Deployment, Deployment.site_id == Site.id)
        .where(
            Site.deleted_at.is_(None),
            Deployment.status == DeploymentStatus.LIVE,
            Deployment.damaged_at.is_not(None),
            ~is_mended,
        )
        .order_by(Site.id, Deployment.id)
    )


def against_subscription() -> Select[Site]:
    """Sites that are open without a running subscription, or closed although one runs."""
    runs = exists().where(
        Subscription.subject_kind == KIND, Subscription.subject_id == Site.id, Subscription.status.in_(RUNNING)
    )
    is_open = Site.status == SiteStatus.ACTIVE
    return (
        select(Site).where(Site.purged_at.is_(None), or_(and_(is_open, ~runs), and_(~is_open, runs))).order_by(Site.id)
    )


def delivered_to_nobody() -> Select[Order, Site]:
    """Orders that are paid and delivered, and whose site belongs to nobody."""
    return (
        select(Order, Site)
        .join(SitePurchase, SitePurchase.order_id == Order.id)
        .join(Site, Site.id == SitePurchase.site_id)
        .where(
            SitePurchase.released_at.is_(None),
            Order.payment_status == PaymentStatus.PAID,
            Order.status == OrderStatus.FULFILLED,
            Site.owner_id.is_(None),
        )
        .order_by(Order.id)
    )


def deploy_again(site_id: int, *, by: str, at: datetime) -> None:
    """Bring the wanted version onto every host once more. Raises AlreadyRight."""
    site = storage.lock_site(site_id)
    for wrong in (not_as_wanted(at=at), damaged(at=at)):
        found = db.session.execute(wrong.where(Site.id == site.id).limit(1)).first()
        if found is not None:
            version = db.session.get_one(SiteVersion, found[1].version_id)
            deploying.request_deployment(site, version, by=by, at=at)
            return
    raise AlreadyRight


def follow_subscription(site_id: int, *, by: str, at: datetime) -> None:
    """Open or close a site as its subscription says. Raises AlreadyRight, or InvalidTransition for nobody's."""
    site = storage.lock_site(site_id)
    if db.session.scalar(against_subscription().where(Site.id == site.id)) is None:
        raise AlreadyRight
    if site.status is SiteStatus.ACTIVE:
        ownership.deactivate(site, by=by, at=at)
    else:
        ownership.activate(site, by=by, at=at)


def hand_over(order_id: int, *, by: str, at: datetime) -> None:
    """Make the buyer of a delivered order the owner of its site. Raises AlreadyRight, WaitsForOwner or SiteDeleted."""
    order = db.session.get_one(Order, order_id, with_for_update=True, populate_existing=True)
    if db.session.execute(delivered_to_nobody().where(Order.id == order.id)).first() is None:
        raise AlreadyRight
    if order.user_id is None:
        raise WaitsForOwner
    selling.give(order, db.session.get_one(User, order.user_id), by=by, at=at)
