"""What a merchant's customer sees with the link from the mail: one purchase and its invoice, without an account."""

from io import BytesIO

from flask import Blueprint, send_file, session, url_for
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as BaseResponse

from portal.core import clock, htmx
from portal.core.access import public
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.extensions import limiter
from portal.merchants import queries
from portal.merchants.errors import LinkDead, LinkOver
from portal.merchants.services import access
from portal.merchants.services.access import Purchase
from portal.payments.invoices import pdf

bp = Blueprint("purchases", __name__)

_LIMIT = "60 per minute"
# The references of the links that this browser has opened: in the signed cookie, looked up again at every page.
_OPENED = "purchases"
_REMEMBERED = 5


@bp.get("/access/<token>")
@public
@limiter.limit(_LIMIT)
def open_link(token: str) -> ResponseReturnValue:
    """Let this browser see the purchase, and go to a page whose address is no secret."""
    at = clock.now()
    try:
        purchase = access.open_link(token, at=at)
    except (LinkDead, LinkOver) as refusal:
        return _dead(refusal)
    with unit_of_work():
        access.note_opened(purchase.link.id, at=at)
    known = [reference for reference in _opened() if reference != purchase.link.reference]
    session[_OPENED] = [*known, purchase.link.reference][-_REMEMBERED:]
    return _untraceable(htmx.leave(url_for("purchases.show", public_id=purchase.session.public_id)))


@bp.get("/purchases/<public_id>")
@public
def show(public_id: str) -> ResponseReturnValue:
    """One purchase, for a browser that has opened its link."""
    try:
        purchase = _purchase(public_id)
    except LinkOver as refusal:
        return _dead(refusal)
    page = htmx.render(
        "merchants/purchase.html",
        session=purchase.session,
        merchant=purchase.merchant,
        link=purchase.link,
        invoice=queries.find_invoice(purchase.session),
    )
    page.headers["Cache-Control"] = "no-store"
    return page


@bp.get("/purchases/<public_id>/invoice.pdf")
@public
def invoice_pdf(public_id: str) -> ResponseReturnValue:
    """The purchase's invoice."""
    invoice = queries.find_invoice(_purchase(public_id).session)
    if invoice is None:
        raise LinkDead
    response = send_file(
        BytesIO(pdf(invoice)), mimetype="application/pdf", as_attachment=True, download_name=f"{invoice.number}.pdf"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


def _opened() -> list[str]:
    references = session.get(_OPENED)
    return [str(reference) for reference in references] if isinstance(references, list) else []


def _purchase(public_id: str) -> Purchase:
    """The purchase, when one of this browser's links is to it. Raises LinkDead, or LinkOver when that has ended."""
    over: LinkOver | None = None
    for reference in reversed(_opened()):
        try:
            purchase = access.get_purchase(reference, at=clock.now())
        except LinkDead:
            continue
        except LinkOver as refusal:
            over = over or (refusal if access.is_link_to(reference, public_id) else None)
            continue
        if purchase.session.public_id == public_id:
            return purchase
    raise over or LinkDead


def _dead(refusal: PortalError) -> BaseResponse:
    return _untraceable(htmx.render("merchants/dead_link.html", status=refusal.status, message=str(refusal)))


def _untraceable(page: BaseResponse) -> BaseResponse:
    """No page that follows may learn the secret address a visitor came from."""
    page.headers["Referrer-Policy"] = "no-referrer"
    page.headers["Cache-Control"] = "no-store"
    return page
