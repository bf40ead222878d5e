"""Where customers start after logging in: what they own and ordered, of everything that is sold."""

from flask import Blueprint
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import clock, htmx
from portal.core.access import logged_in
from portal.orders import queries as orders
from portal.sites import layout, standing
from portal.sites import queries as sites

bp = Blueprint("customer", __name__)

_MOST = 6


@bp.get("/dashboard")
@logged_in
def dashboard() -> ResponseReturnValue:
    """What is owned, what was ordered lately, and what to do next."""
    latest = orders.list_recent_orders(current_user.id)
    return htmx.render(
        "site/dashboard.html",
        enrolments=orders.list_enrolments(current_user.id, limit=_MOST),
        standings=standing.standings_of(sites.list_own_sites(current_user, limit=_MOST), at=clock.now()),
        site_url=layout.site_url,
        orders=latest,
        open_orders=[order for order in latest if order.is_payable],
    )
