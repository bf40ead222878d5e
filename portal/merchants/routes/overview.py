"""`/merchant`: how things stand, or the form with which a customer asks to become a merchant."""

from flask import Response, flash, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx
from portal.core.access import verified
from portal.core.db import unit_of_work
from portal.extensions import limiter
from portal.merchants import queries
from portal.merchants.errors import AlreadyMerchant
from portal.merchants.forms import RequestForm
from portal.merchants.models import RequestStatus
from portal.merchants.routes.blueprint import bp, me, mode
from portal.merchants.services import merchants

_LIMIT = "10 per hour"


@bp.get("")
@verified
def overview() -> ResponseReturnValue:
    """A merchant's overview; for everybody else the way to become one."""
    merchant = queries.find_merchant_of(me().id)
    if merchant is None:
        return _request_page(RequestForm(formdata=None, contact_email=me().email))
    page = queries.sessions_page(merchant, mode(), status=None, before=None, after=None)
    keys = queries.list_keys(merchant)
    return htmx.render(
        "merchants/overview.html",
        merchant=merchant,
        mode=mode(),
        sessions=page.rows[:5],
        keys=[key for key in keys if key.state_at(clock.now()) == "active"],
        waiting_key=next((key for key in keys if key.sealed_secret), None),
    )


@bp.post("/request")
@verified
@limiter.limit(_LIMIT)
def request_merchant() -> ResponseReturnValue:
    """Ask to become a merchant."""
    form = RequestForm()
    if not form.validate():
        return _request_page(form, status=422)
    try:
        with unit_of_work():
            merchants.request_merchant(
                me(),
                name=form.name.data,
                contact_email=form.contact_email.data,
                website=form.website.data,
                message=form.message.data,
                at=clock.now(),
            )
    except AlreadyMerchant as refusal:
        return _request_page(form, status=refusal.status, refusal=str(refusal))
    flash(_("Thank you. We will look at it and write to you."), "success")
    return htmx.after_post(url_for("merchant.overview"))


def _request_page(form: RequestForm, *, status: int = 200, refusal: str | None = None) -> Response:
    wish = queries.find_latest_request(me().id)
    is_waiting = wish is not None and wish.status is RequestStatus.REQUESTED
    return htmx.render(
        "merchants/request.html", status=status, form=form, wish=wish, is_waiting=is_waiting, refusal=refusal
    )
