"""The search box on every page of the back office."""

from flask import redirect, url_for
from flask.typing import ResponseReturnValue

from portal.accounts.models import User
from portal.admin import filters
from portal.admin.blueprint import bp
from portal.admin.queries.searching import Found, Hits, find_alike, find_exactly
from portal.core import htmx
from portal.core.access import staff
from portal.orders.models import Order
from portal.payments.models import Invoice, PaymentSession
from portal.payments.refund_models import CreditNote


@bp.get("/search")
@staff
def search() -> ResponseReturnValue:
    """Go to what was asked for; when that is not clear, show what it may be."""
    typed = filters.text()
    hits = Hits()
    if typed:
        best = find_exactly(typed)
        if best is None:
            hits = find_alike(typed)
            best = hits.only
        if best is not None:
            return redirect(_address(best), 303)
    return htmx.render("admin/search.html", hits=hits, typed=typed)


def _address(found: Found) -> str:
    if isinstance(found, Order):
        return url_for("admin.order", number=found.number)
    if isinstance(found, User):
        return url_for("admin.customer", user_id=found.id)
    if isinstance(found, Invoice):
        return url_for("admin.invoices", q=found.number)
    if isinstance(found, CreditNote):
        return url_for("admin.refund", refund_id=found.refund_id)
    if isinstance(found, PaymentSession):
        return url_for("admin.payment", public_id=found.public_id)
    return url_for("admin.webhook", event_id=found.id)
