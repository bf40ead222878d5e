"""A customer's own sites: the list, one with its subscription, and what they do about it."""

from typing import cast

from flask import flash, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal.accounts.models import User
from portal.core import clock, htmx
from portal.core.access import logged_in
from portal.core.addresses import address_of
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict, PortalError
from portal.extensions import limiter
from portal.orders.routes.paying import ProviderTrouble
from portal.payments.extension import current_registry
from portal.payments.leaving import may_lead_outside
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.checking import request_check
from portal.payments.services.starting import start_attempt
from portal.sites import layout, queries, standing
from portal.sites.forms import CancelForm, ProviderForm
from portal.sites.models import Site
from portal.sites.routes import bp
from portal.sites.services import selling, subscribing
from portal.subscriptions import queries as subscriptions
from portal.subscriptions.errors import NotCancellable, NotKept
from portal.subscriptions.models import Subscription
from portal.subscriptions.services import cancelling

_LIMIT = "60 per minute"
# The page asks again so often while a payment is on its way; then it waits to be asked.
_MOST_POLLS = 60


def _owner() -> User:
    return cast("User", current_user)


def _own(slug: str) -> Site:
    return queries.get_site(slug, owner=_owner())


@bp.get("/my/sites")
@logged_in
def my_sites() -> ResponseReturnValue:
    """Everything this customer bought."""
    standings = standing.standings_of(queries.list_own_sites(_owner()), at=clock.now())
    return htmx.render("sites/my/index.html", standings=standings, site_url=layout.site_url)


@bp.get("/my/sites/<slug>")
@logged_in
def my_site(slug: str) -> ResponseReturnValue:
    """One site: how it stands, its subscription, its invoices."""
    return _page(_own(slug))


def _page(
    site: Site, *, status: int = 200, error: PortalError | None = None, cancel_form: CancelForm | None = None
) -> ResponseReturnValue:
    at = clock.now()
    stands = standing.standing_of(site, is_back=request.args.get("back") == "1", at=at)
    if stands.is_waiting and stands.payment is not None and stands.truth is not None and stands.truth.is_late:
        with unit_of_work():
            request_check(stands.payment, at=at)
    form = ProviderForm(formdata=None)
    offered = selling.providers_for(site.currency)
    form.offer(offered)
    registry = current_registry()
    response = htmx.render(
        "sites/my/site.html",
        fragment="sites/my/_site.html",
        status=422 if isinstance(error, UnknownProvider) else error.status if error is not None else status,
        site=site,
        standing=stands,
        subscription=stands.subscription,
        invoices=subscriptions.list_invoices(stands.subscription) if stands.subscription is not None else [],
        live_url=layout.site_url(site.slug),
        form=form,
        cancel_form=cancel_form or CancelForm(formdata=None, when="period_end" if stands.may_end_later else "now"),
        methods={one.name: registry.methods(one.name, site.currency) for one in offered},
        charges={one.name for one in registry.for_checkout(site.currency, is_recurring=True)},
        polls=_polls(),
        most_polls=_MOST_POLLS,
        error=str(error) if error is not None else None,
    )
    return may_lead_outside(response)


def _polls() -> int:
    text = request.args.get("polls", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0


@bp.post("/my/sites/<slug>/subscription/pay")
@logged_in
@limiter.limit(_LIMIT)
def pay_subscription(slug: str) -> ResponseReturnValue:
    """Begin the subscription, begin it again, or pay what is due: go to the provider's page."""
    site, provider, at = _own(slug), request.form.get("provider", ""), clock.now()
    return_url = address_of("sites.my_site", slug=site.slug, back="1")
    try:
        if provider not in {one.name for one in selling.providers_for(site.currency)}:
            raise UnknownProvider
        with unit_of_work():
            session = subscribing.open_payment(site, _owner(), provider, return_url=return_url, at=at)
        return htmx.leave(start_attempt(session.id, provider, at=at, client_address=request.remote_addr))
    except (Conflict, *ProviderTrouble) as error:
        db.session.expire_all()
        return _page(_own(slug), error=error)


@bp.post("/my/sites/<slug>/subscription/cancel")
@logged_in
def cancel_subscription(slug: str) -> ResponseReturnValue:
    """End the subscription, now or with the month that is paid for."""
    site = _own(slug)
    form = CancelForm()
    if not form.validate():
        return _page(site, status=422, cancel_form=form)
    is_now = form.when.data == "now"
    cancel = cancelling.cancel_now if is_now else cancelling.cancel_at_period_end
    try:
        with unit_of_work():
            cancel(_subscription(site).id, by=_owner().email, at=clock.now(), note=form.reason.data or "")
    except Conflict as error:
        db.session.expire_all()
        return _page(_own(slug), error=error)
    flash(_("Your subscription was cancelled.") if is_now else _("Your subscription will end."), "success")
    return _after(slug)


@bp.post("/my/sites/<slug>/subscription/keep")
@logged_in
def keep_subscription(slug: str) -> ResponseReturnValue:
    """Take the cancellation back while the month that is paid for lasts."""
    try:
        with unit_of_work():
            cancelling.keep(_subscription(_own(slug), NotKept).id, by=_owner().email, at=clock.now())
    except Conflict as error:
        db.session.expire_all()
        return _page(_own(slug), error=error)
    flash(_("Your subscription goes on."), "success")
    return _after(slug)


def _subscription(site: Site, refusal: type[Conflict] = NotCancellable) -> Subscription:
    """The site's subscription; without one there is nothing to cancel or to keep."""
    subscription = subscriptions.find_for(subscribing.KIND, site.id)
    if subscription is None:
        raise refusal
    return subscription


def _after(slug: str) -> ResponseReturnValue:
    db.session.expire_all()
    if htmx.wants_fragment():
        return _page(_own(slug))
    return htmx.after_post(url_for("sites.my_site", slug=slug))
