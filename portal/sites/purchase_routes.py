"""Buying a site: from its public page to the payment provider."""

from flask import flash, url_for
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import db, unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter
from portal.orders import visitor
from portal.orders.errors import OrderNotPayable
from portal.orders.routes.paying import AlreadyDecided, ProviderTrouble, send_to_provider
from portal.orders.services import placing
from portal.payments.providers.registry import UnknownProvider
from portal.sites import queries
from portal.sites.errors import SiteBeingBought, SiteNotForSale
from portal.sites.forms import BuyerForm
from portal.sites.routes import bp, show
from portal.sites.services import selling

# A person who buys, also one who tries several times; a program that reserves sites is slowed down.
_LIMIT = "20 per minute"


@bp.get("/sites/<slug>/purchase")
@public
def purchase_form(slug: str) -> ResponseReturnValue:
    """The form stands on the site's own page; this address is only what it is sent to."""
    return htmx.leave(url_for("sites.detail", slug=queries.get_public_site(slug).slug))


@bp.post("/sites/<slug>/purchase")
@public
@limiter.limit(_LIMIT)
def purchase(slug: str) -> ResponseReturnValue:
    """Reserve the site, order it, and send the buyer to the provider; pressed twice it orders once."""
    site = queries.get_public_site(slug)
    form = BuyerForm()
    form.offer(selling.providers_for(site.currency))
    if not form.validate():
        if form.key.errors:
            flash(_("This page was too old. Please try again."), "warning")
            return htmx.leave(url_for("sites.detail", slug=slug))
        return show(site, form, status=422)
    buyer = selling.Buyer(form.email.data, form.name.data or "", str(get_locale()), visitor.user_id())
    key, provider = form.key.data or "", form.provider.data or ""
    try:
        with unit_of_work():
            placed = selling.buy_site(site, buyer, key=key, provider=provider, at=clock.now())
        visitor.remember_order(placed.order.number)
        return htmx.leave(send_to_provider(placed, provider))
    except (OrderNotPayable, AlreadyDecided) as turn:
        return htmx.leave(placing.return_url(turn.number))
    except (SiteBeingBought, SiteNotForSale, *ProviderTrouble) as error:
        return _refused(slug, form, error)


def _refused(slug: str, form: BuyerForm, error: PortalError) -> ResponseReturnValue:
    db.session.expire_all()
    status = 422 if isinstance(error, UnknownProvider) else error.status
    return show(queries.get_public_site(slug), form, status=status, error=str(error))
