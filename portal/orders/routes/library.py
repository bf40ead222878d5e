"""The packages that a customer owns."""

from flask import Blueprint
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import htmx
from portal.core.access import logged_in
from portal.orders import queries

library = Blueprint("library", __name__)


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
