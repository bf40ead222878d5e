"""The audit log: who did what to what, with before and after. Nothing changes it."""

from flask import request
from flask.typing import ResponseReturnValue

from portal.admin import filters
from portal.admin.blueprint import bp
from portal.admin.queries import system as queries
from portal.core import htmx
from portal.core.access import staff


@bp.get("/audit")
@staff
def audit() -> ResponseReturnValue:
    """All lines, newest first."""
    page = queries.audit_page(
        event=filters.text("event"),
        actor=filters.text("actor"),
        subject=filters.text("subject"),
        before=request.args.get("before"),
        after=request.args.get("after"),
    )
    return htmx.render("admin/audit.html", fragment="admin/_audit.html", page=page)
