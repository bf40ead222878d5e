"""The shop window of ready-made sites: all of them, and one with its live preview."""

from flask import Blueprint, Response
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import htmx, settings
from portal.core.access import public
from portal.core.web import CONTENT_SECURITY_POLICY
from portal.payments.extension import current_registry
from portal.payments.leaving import may_lead_outside
from portal.sites import layout, queries
from portal.sites.forms import BuyerForm
from portal.sites.models import Site
from portal.sites.responses import SANDBOX
from portal.sites.services import selling

bp = Blueprint("sites", __name__)


@bp.get("/sites")
@public
def index() -> ResponseReturnValue:
    """What is for sale."""
    return with_frames(htmx.render("sites/index.html", sites=queries.list_for_sale(), site_url=layout.site_url))


@bp.get("/sites/<slug>")
@public
def detail(slug: str) -> ResponseReturnValue:
    """One site: what it costs, and how it looks, live in a frame."""
    site = queries.get_public_site(slug)
    form = BuyerForm(formdata=None)
    form.offer(selling.providers_for(site.currency))
    known = current_user if current_user.is_authenticated else None
    form.begin(name=known.name if known else "", email=known.email if known else "")
    return show(site, form)


def show(site: Site, form: BuyerForm, *, status: int = 200, error: str | None = None) -> ResponseReturnValue:
    """A site's public page, with the form as it was sent when something was wrong with it."""
    registry, offered = current_registry(), selling.providers_for(site.currency)
    response = htmx.render(
        "sites/detail.html",
        fragment="sites/_buy.html",
        status=status,
        site=site,
        live_url=layout.site_url(site.slug),
        frame_sandbox=SANDBOX,
        form=form,
        methods={one.name: registry.methods(one.name, site.currency) for one in offered},
        is_reserved=selling.is_reserved(site),
        error=error,
    )
    return with_frames(may_lead_outside(response))


def with_frames(response: Response) -> Response:
    """The sites' own origin, and no other, may be shown in a frame."""
    origin = settings.current().sites_url.rstrip("/")
    policy = response.headers.get("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers["Content-Security-Policy"] = f"{policy}; frame-src {origin}"
    return response
