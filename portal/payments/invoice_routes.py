"""A customer's invoices: the list, one as a page to read and print, and as PDF."""

from io import BytesIO
from typing import cast

from flask import Blueprint, request, send_file
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.accounts.models import User
from portal.core import htmx
from portal.core.access import logged_in
from portal.core.paging import paginate
from portal.payments import invoices
from portal.payments.credit_notes import notes_of_invoices
from portal.payments.invoice_paper import lay_out
from portal.payments.models import Invoice

bp = Blueprint("invoices", __name__)


@bp.get("/account/invoices")
@logged_in
def index() -> ResponseReturnValue:
    """The signed-in customer's own invoices, newest first."""
    page = paginate(
        invoices.invoices_of(cast("User", current_user)),
        Invoice.id,
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    notes = notes_of_invoices([invoice.id for invoice in page.rows])
    return htmx.render("invoices/index.html", fragment="invoices/_results.html", page=page, credit_notes=notes)


@bp.get("/invoices/<number>")
@logged_in
def show(number: str) -> ResponseReturnValue:
    """One invoice, for its customer or staff; a guest got it by mail."""
    invoice = invoices.get_invoice(number, viewer=cast("User", current_user))
    notes = notes_of_invoices([invoice.id])[invoice.id]
    return htmx.render("invoices/show.html", invoice=invoice, paper=lay_out(invoice), credit_notes=notes)


@bp.get("/invoices/<number>.pdf")
@logged_in
def pdf(number: str) -> ResponseReturnValue:
    """The same as a file, in the language it was issued in."""
    invoice = invoices.get_invoice(number, viewer=cast("User", current_user))
    response = send_file(
        BytesIO(invoices.pdf(invoice)),
        mimetype="application/pdf",
        as_attachment=True,
        download_name=f"{invoice.number}.pdf",
    )
    response.headers["Cache-Control"] = "no-store"
    return response
