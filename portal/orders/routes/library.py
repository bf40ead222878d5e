"""What a customer owns, and where they start."""

from flask import Blueprint
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import htmx
from portal.core.access import logged_in
from portal.orders import queries

library = Blueprint("library", __name__)
customer = Blueprint("customer", __name__)


@library.get("/my/packages")
@logged_in
def index() -> ResponseReturnValue:
    """The packages this customer owns."""
    return htmx.render("library/index.html", enrolments=queries.list_enrolments(current_user.id))


@library.get("/my/packages/<slug>")
@logged_in
def detail(slug: str) -> ResponseReturnValue:
    """One package that is owned: what to do, step by step."""
    enrolment = queries.get_enrolment(current_user.id, slug)
    return htmx.render(
        "library/detail.html",
        enrolment=enrolment,
        package=enrolment.package,
        grants=queries.list_grants(enrolment.id),
    )


@customer.get("/dashboard")
@logged_in
def dashboard() -> ResponseReturnValue:
    """What is owned, what was ordered lately, and what to do next."""
    orders = queries.list_recent_orders(current_user.id)
    return htmx.render(
        "library/dashboard.html",
        enrolments=queries.list_enrolments(current_user.id, limit=6),
        orders=orders,
        open_orders=[order for order in orders if order.is_payable],
    )
