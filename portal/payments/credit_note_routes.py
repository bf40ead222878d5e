"""A credit note as a page to read and print, and as PDF."""

from io import BytesIO
from typing import cast

from flask import Blueprint, send_file
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.accounts.models import User
from portal.core import htmx
from portal.core.access import logged_in
from portal.payments import credit_notes
from portal.payments.credit_note_paper import lay_out
from portal.payments.credit_note_paper import pdf as print_pdf

bp = Blueprint("credit_notes", __name__)


@bp.get("/credit-notes/<number>")
@logged_in
def show(number: str) -> ResponseReturnValue:
    """One credit note, for the invoice's customer or staff; a guest got it by mail."""
    note = credit_notes.get_credit_note(number, viewer=cast("User", current_user))
    return htmx.render("credit_notes/show.html", note=note, paper=lay_out(note))


@bp.get("/credit-notes/<number>.pdf")
@logged_in
def pdf(number: str) -> ResponseReturnValue:
    """The same as a file, in the language of its invoice."""
    note = credit_notes.get_credit_note(number, viewer=cast("User", current_user))
    response = send_file(
        BytesIO(print_pdf(note)), mimetype="application/pdf", as_attachment=True, download_name=f"{note.number}.pdf"
    )
    response.headers["Cache-Control"] = "no-store"
    return response
