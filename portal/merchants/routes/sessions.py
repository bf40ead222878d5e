"""`/merchant/sessions` and `/merchant/invoices`: a merchant's payments, payment links made by hand, and invoices."""

import uuid
from io import BytesIO

from flask import Response, flash, request, send_file, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from portal.core import clock, htmx, sealed
from portal.core.access import verified
from portal.core.db import db, unit_of_work
from portal.core.errors import PortalError
from portal.core.languages import select_locale
from portal.extensions import limiter
from portal.merchants import queries
from portal.merchants.errors import MerchantSuspended, PaymentNotFound
from portal.merchants.forms import LinkForm
from portal.merchants.models import Merchant
from portal.merchants.routes.blueprint import bp, me, mine, mode
from portal.merchants.services import access
from portal.merchants.services.selling import SessionWish, open_session, pay_url
from portal.merchants.tracking import steps_of
from portal.payments.invoices import pdf
from portal.payments.models import PaymentSession, SessionStatus
from portal.payments.wording import heard_words, way_words

_LINK_KEY = "payment-link"
_LIMIT = "60 per minute"


@bp.get("/sessions")
@verified
def sessions() -> ResponseReturnValue:
    """A merchant's payments of one mode, newest first."""
    merchant = mine()
    page = queries.sessions_page(
        merchant,
        mode(),
        status=next((one for one in SessionStatus if one.value == request.args.get("status")), None),
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render(
        "merchants/sessions.html",
        fragment="merchants/_sessions.html",
        merchant=merchant,
        mode=mode(),
        page=page,
        statuses=list(SessionStatus),
        status_now=request.args.get("status", ""),
    )


@bp.get("/sessions/new")
@verified
def new_session() -> ResponseReturnValue:
    """The form for a payment link."""
    merchant = mine()
    key = sealed.sign(str(uuid.uuid4()), purpose=_LINK_KEY)
    form = LinkForm(formdata=None, mode=mode(), hosts=merchant.return_hosts, key=key, currency="PLN")
    return _form_page(merchant, form)


@bp.post("/sessions/new")
@verified
@limiter.limit(_LIMIT)
def create_session() -> ResponseReturnValue:
    """Open a payment and show its link. The same form sent twice opens one."""
    merchant = mine()
    form = LinkForm(mode=mode(), hosts=merchant.return_hosts)
    public_id = sealed.read_signed(form.key.data or "", purpose=_LINK_KEY)
    if not form.validate():
        return _form_page(merchant, form, status=422)
    if not isinstance(public_id, str):
        form.key.data = sealed.sign(str(uuid.uuid4()), purpose=_LINK_KEY)
        return _form_page(merchant, form, status=422, refusal=_("This form was too old. Please send it again."))
    wish = SessionWish(
        amount=form.money(),
        mode=mode(),
        description=form.description.data,
        success_url=form.success_url.data,
        customer_email=form.customer_email.data or None,
        customer_name=form.customer_name.data or None,
        locale=select_locale(),
    )
    try:
        with unit_of_work():
            _open_once(merchant, wish, public_id)
    except MerchantSuspended as refusal:
        return _form_page(merchant, form, status=refusal.status, refusal=str(refusal))
    return htmx.after_post(url_for("merchant.session", public_id=public_id))


def _open_once(merchant: Merchant, wish: SessionWish, public_id: str) -> None:
    """Whoever comes second with the same form waits for the merchant's row and finds the first one's session."""
    db.session.refresh(merchant, with_for_update=True)
    try:
        queries.get_session(merchant.id, public_id)
    except PaymentNotFound:
        open_session(merchant, wish, by=me().email, at=clock.now(), public_id=public_id)


@bp.get("/sessions/<public_id>")
@verified
def session(public_id: str) -> ResponseReturnValue:
    """One payment with its tries, its history, its invoice and the customer's link."""
    merchant = mine()
    file = queries.read_session_file(merchant, public_id)
    return htmx.render(
        "merchants/session.html",
        merchant=merchant,
        file=file,
        session=file.session,
        steps=steps_of(file.session, file.changes),
        url=pay_url(file.session.public_id),
        heard_words=heard_words,
        way_words=way_words,
        at=clock.now(),
    )


@bp.post("/sessions/<public_id>/revoke-link")
@verified
def revoke_link(public_id: str) -> ResponseReturnValue:
    """Take the customer's link back."""
    merchant = mine()
    found = queries.get_session(merchant.id, public_id)
    with unit_of_work():
        access.revoke_link(merchant, found, by=me().email, at=clock.now())
    flash(_("The customer's link no longer works."), "success")
    return htmx.after_post(url_for("merchant.session", public_id=public_id))


@bp.get("/invoices")
@verified
def invoices() -> ResponseReturnValue:
    """The invoices that were issued on a merchant's behalf, newest first."""
    merchant = mine()
    before, after = request.args.get("before"), request.args.get("after")
    page = queries.invoices_page(merchant, mode(), before=before, after=after)
    return htmx.render(
        "merchants/invoices.html",
        fragment="merchants/_invoices.html",
        merchant=merchant,
        mode=mode(),
        page=page,
        invoices=queries.invoices_of(page.rows),
    )


@bp.get("/invoices/<public_id>.pdf")
@verified
def invoice_pdf(public_id: str) -> ResponseReturnValue:
    """The invoice of one of a merchant's payments, as a file."""
    found: PaymentSession = queries.get_session(mine().id, public_id)
    invoice = queries.find_invoice(found)
    if invoice is None:
        raise PaymentNotFound
    return send_file(
        BytesIO(pdf(invoice)), mimetype="application/pdf", as_attachment=True, download_name=f"{invoice.number}.pdf"
    )


def _form_page(
    merchant: Merchant, form: LinkForm, *, status: int = 200, refusal: PortalError | str | None = None
) -> Response:
    return htmx.render(
        "merchants/new_session.html", status=status, merchant=merchant, form=form, mode=mode(), refusal=refusal
    )
