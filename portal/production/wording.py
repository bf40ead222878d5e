"""Words and addresses that several pages of production need."""

from flask import url_for
from flask_babel import lazy_gettext as _l

from portal.core.ui import nav_url

_RUSH = {
    "standard": _l("Standard"),
    "rush": _l("Rush"),
    "super_rush": _l("Super rush"),
    "emergency": _l("Emergency"),
}


def rush_words(rush: str) -> str:
    """A delivery time in the reader's words."""
    return str(_RUSH.get(rush, rush))


def ship_url(number: str) -> str:
    """Where an order is handed to a carrier."""
    return str(nav_url("admin.shipping", number=number) or url_for("admin.sales_order", number=number))
