"""`/api/v1/sites/<slug>`: what everybody may know of a site, for programs."""

from typing import Any

from flask import Blueprint, jsonify
from flask.typing import ResponseReturnValue

from portal.core.access import public
from portal.core.addresses import address_of
from portal.core.money import Money
from portal.sites import layout, queries
from portal.sites.models import Site, SiteStatus

bp = Blueprint("sites_api", __name__, url_prefix="/api/v1")


@bp.get("/sites/<slug>")
@public
def read_site(slug: str) -> ResponseReturnValue:
    """One site."""
    return jsonify(site_values(queries.get_public_site(slug)))


def site_values(site: Site) -> dict[str, Any]:
    """A site as programs read it; nothing of its owner."""
    return {
        "object": "site",
        "id": site.public_id,
        "slug": site.slug,
        "title": site.title,
        "summary": site.summary,
        "status": site.status.value,
        "is_for_sale": site.status is SiteStatus.PREVIEW,
        "url": layout.site_url(site.slug),
        "page_url": address_of("sites.detail", slug=site.slug),
        "purchase_price": _amount(site.purchase_price),
        "monthly_price": _amount(site.monthly_price),
    }


def _amount(price: Money) -> dict[str, Any]:
    return {
        "amount": format(price.to_decimal(), "f"),
        "amount_minor": price.amount_minor,
        "currency": price.currency,
    }
