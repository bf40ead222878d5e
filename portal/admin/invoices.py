"""The list of issued invoices; the paper itself is shown by the payments domain, to staff too."""

from flask import request
from flask.typing import ResponseReturnValue

from portal.admin import filters
from portal.admin.blueprint import bp
from portal.admin.queries import payments as queries
from portal.core import htmx
from portal.core.access import staff


@bp.get("/invoices")
@staff
def invoices() -> ResponseReturnValue:
    """All invoices, newest first."""
    page = queries.invoices_page(filters.text(), before=request.args.get("before"), after=request.args.get("after"))
    return htmx.render("admin/invoices.html", fragment="admin/_invoices.html", page=page)
