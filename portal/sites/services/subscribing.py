"""The monthly subscription of a site: its terms, and what it opens and closes."""

from datetime import datetime

from portal.accounts.models import User
from portal.core.db import db
from portal.payments.models import PaymentSession
from portal.sites.errors import SiteNotForSale
from portal.sites.models import Site
from portal.sites.services import ownership
from portal.subscriptions.models import Subscription
from portal.subscriptions.services import paying

KIND = "site"


def open_payment(site: Site, user: User, provider: str, *, return_url: str, at: datetime) -> PaymentSession:
    """The payment with which a site's owner begins the subscription, or pays what is due: see `paying.open_payment`."""
    if site.owner_id != user.id:
        raise SiteNotForSale
    terms = paying.Terms(KIND, site.id, site.title, site.monthly_price, site.tax_rate_basis_points)
    return paying.open_payment(terms, user, provider, return_url=return_url, at=at)


def activated(subscription: Subscription, *, at: datetime) -> None:
    """It runs: changes and a domain are open."""
    ownership.activate(db.session.get_one(Site, subscription.subject_id), at=at)


def ended(subscription: Subscription, *, at: datetime) -> None:
    """It is over: the site stays on its path, changes and the domain are off."""
    reason = subscription.end_cause.value if subscription.end_cause is not None else None
    ownership.deactivate(db.session.get_one(Site, subscription.subject_id), at=at, reason=reason)
