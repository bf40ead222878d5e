"""Who is buying a site, or bought it."""

from sqlalchemy import select

from portal.core.db import db
from portal.sites.models import SitePurchase


def find_standing(site_id: int) -> SitePurchase | None:
    """The purchase that has a site now: its buyer's, while they pay and ever after."""
    mine = (SitePurchase.site_id == site_id, SitePurchase.released_at.is_(None))
    found: SitePurchase | None = db.session.scalars(select(SitePurchase).where(*mine)).one_or_none()
    return found


def find_of_order(order_id: int) -> SitePurchase | None:
    """What an order has or had of the sites."""
    mine = SitePurchase.order_id == order_id
    found: SitePurchase | None = db.session.scalars(select(SitePurchase).where(mine)).one_or_none()
    return found
