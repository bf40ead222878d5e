"""The customer's decisions about a quote."""

from flask import request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user

from portal.core import clock, htmx
from portal.core.access import logged_in, public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter
from portal.quotes import visitor
from portal.quotes.routes.blueprint import bp, change, load, show
from portal.quotes.services import deciding
from portal.quotes.services.loading import DRAFT
from portal.quotes.services.requoting import requote as make_again

_LIMIT = "60 per hour"


@bp.post("/quotes/<number>/submit")
@public
@limiter.limit(_LIMIT)
def submit(number: str) -> ResponseReturnValue:
    """Send a draft to us. A visitor logs in or registers first: the quote is then kept in the account."""
    if not current_user.is_authenticated:
        load(number)
        return htmx.leave(url_for("accounts.log_in", next=url_for("quotes.detail", number=DRAFT)))
    seen = request.form.get("seen", "")
    return change(number, lambda: deciding.submit_quote(number, visitor.owner(), seen=seen, at=clock.now()))


@bp.post("/quotes/<number>/accept")
@logged_in
def accept(number: str) -> ResponseReturnValue:
    """Accept the price that we have confirmed."""
    return change(
        number,
        lambda: deciding.accept_quote(number, visitor.owner(), at=clock.now()),
        done=_("You have accepted this quote."),
    )


@bp.post("/quotes/<number>/reject")
@logged_in
def reject(number: str) -> ResponseReturnValue:
    """Say no to the price, and why."""
    reason = request.form.get("reason", "")
    return change(number, lambda: deciding.reject_quote(number, visitor.owner(), reason=reason, at=clock.now()))


@bp.post("/quotes/<number>/cancel")
@logged_in
def cancel(number: str) -> ResponseReturnValue:
    """Call the quote off."""
    return change(number, lambda: deciding.cancel_quote(number, visitor.owner(), at=clock.now()))


@bp.post("/quotes/<number>/requote")
@logged_in
@limiter.limit(_LIMIT)
def requote(number: str) -> ResponseReturnValue:
    """Begin a new draft from this one, at today's prices."""
    try:
        with unit_of_work():
            made = make_again(number, visitor.owner(), at=clock.now())
    except PortalError as error:
        if error.status == 404:
            raise
        return show(load(number), error=error)
    return htmx.leave(url_for("quotes.detail", number=made.number))
