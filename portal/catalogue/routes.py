"""The shop's pages about what is sold."""

from flask import Blueprint, Response, request
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.catalogue import queries
from portal.catalogue.caching import kept_by_browser
from portal.catalogue.queries import ShelfFilter
from portal.core import htmx
from portal.core.access import public

bp = Blueprint("catalogue", __name__)


@bp.get("/packages")
@public
def index() -> ResponseReturnValue:
    """The shelf, with filters."""
    wanted = ShelfFilter(
        category=_argument("category"),
        text=_argument("q"),
        is_featured=_argument("featured") == "1",
        after=_argument("after"),
        before=_argument("before"),
    )

    def page() -> Response:
        shelf = queries.read_shelf(wanted, user_id=visitor_id())
        return htmx.render("catalogue/index.html", fragment="catalogue/_shelf.html", shelf=shelf, wanted=wanted)

    return kept_by_browser(page)


@bp.get("/packages/<slug>")
@public
def detail(slug: str) -> ResponseReturnValue:
    """One package or bundle."""

    def page() -> Response:
        product = queries.get_product(slug, user_id=visitor_id())
        return htmx.render("catalogue/detail.html", product=product, package=product.package)

    return kept_by_browser(page)


def _argument(name: str) -> str:
    """A value of the address bar without what can neither be shown nor searched for."""
    return "".join(letter for letter in request.args.get(name, "") if letter.isprintable()).strip()


def visitor_id() -> int | None:
    """Who is looking, if they are signed in."""
    return current_user.id if current_user.is_authenticated else None
