"""`/pay/<id>`: the hosted pay page of a merchant's session, and the two pages that a provider sends buyers back to."""

from flask import Blueprint, Response, request, url_for
from flask.typing import ResponseReturnValue

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter
from portal.merchants import branding, queries
from portal.merchants.errors import NotForSale, PaymentNotFound
from portal.merchants.forms import PayForm
from portal.merchants.models import Merchant
from portal.merchants.services.addresses import with_session
from portal.merchants.services.selling import providers_for, start_payment
from portal.merchants.tracking import PayState, state_of
from portal.payments.errors import SessionClosed
from portal.payments.extension import current_registry
from portal.payments.leaving import may_lead_outside
from portal.payments.models import PaymentSession
from portal.payments.providers.base import ProviderRejected, ProviderUnavailable
from portal.payments.providers.registry import UnknownProvider
from portal.payments.services.checking import request_check

bp = Blueprint("pay", __name__, url_prefix="/pay")

_LIMIT = "60 per minute"
# What another try, or another provider, can mend.
_ProviderTrouble = (ProviderUnavailable, ProviderRejected, UnknownProvider)


@bp.get("/<public_id>")
@public
def show(public_id: str) -> ResponseReturnValue:
    """What is to be paid, to whom, and where it can be paid; or how it ended."""
    session, merchant = _get(public_id)
    return _page(session, merchant)


@bp.post("/<public_id>")
@public
@limiter.limit(_LIMIT)
def start(public_id: str) -> ResponseReturnValue:
    """Send the buyer to the provider they chose; pressing twice leads to the same page of it."""
    session, merchant = _get(public_id)
    try:
        chosen = request.form.get("provider", "")
        return htmx.leave(start_payment(session, merchant, chosen, at=clock.now(), client_address=request.remote_addr))
    except (SessionClosed, NotForSale):
        return htmx.leave(url_for("pay.show", public_id=public_id))
    except _ProviderTrouble as error:
        session, merchant = _get(public_id)
        return _page(session, merchant, error=error)


@bp.get("/<public_id>/return")
@public
def returned(public_id: str) -> ResponseReturnValue:
    """The buyer is back from the provider: to the merchant once the money is counted here, and not a moment before."""
    session, merchant = _get(public_id)
    state = state_of(session, merchant, at=clock.now())
    if state.state == "paid" and state.success_url:
        return htmx.leave(with_session(state.success_url, public_id))
    if state.is_late:
        with unit_of_work():
            request_check(session, at=clock.now())
    return htmx.render("merchants/returned.html", fragment="merchants/_returned.html", pay=state, polls=_polls())


@bp.get("/<public_id>/cancelled")
@public
def cancelled(public_id: str) -> ResponseReturnValue:
    """The buyer left the provider's page. Unless money came all the same, they go back to the merchant."""
    session, merchant = _get(public_id)
    state = state_of(session, merchant, at=clock.now())
    if state.facts.provider_says_paid:
        return htmx.leave(url_for("pay.returned", public_id=public_id))
    if state.cancel_url:
        return htmx.leave(with_session(state.cancel_url, public_id))
    return htmx.leave(url_for("pay.show", public_id=public_id))


@bp.get("/brand/<public_id>.css")
@public
def brand(public_id: str) -> ResponseReturnValue:
    """A merchant's colour as a stylesheet."""
    merchant = queries.find_public_merchant(public_id)
    if merchant is None:
        raise PaymentNotFound
    response = Response(branding.stylesheet(merchant.brand_color), mimetype="text/css")
    # Its address carries the colour, so a new colour is a new address.
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _get(public_id: str) -> tuple[PaymentSession, Merchant]:
    return queries.get_payable(public_id)


def _polls() -> int:
    """How often this page has asked already: it asks more slowly with time, and stops in the end."""
    text = request.args.get("polls", "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0


def _page(session: PaymentSession, merchant: Merchant, *, error: PortalError | None = None) -> Response:
    pay: PayState = state_of(session, merchant, at=clock.now())
    providers = providers_for(session, merchant)
    form = PayForm()
    form.offer([(provider.name, str(provider.title)) for provider in providers])
    registry = current_registry()
    # A provider that is not there is a wrong choice in this form, not a page that is missing.
    status = 200 if error is None else 422 if isinstance(error, UnknownProvider) else error.status
    response = htmx.render(
        "merchants/pay.html",
        status=status,
        pay=pay,
        form=form,
        methods={provider.name: registry.methods(provider.name, session.currency) for provider in providers},
        error=str(error) if error else None,
    )
    response.headers["Cache-Control"] = "no-store"
    return may_lead_outside(response)
