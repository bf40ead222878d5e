"""Pages that belong to no part of the shop."""

from flask import Blueprint, Response, request, session
from flask.typing import ResponseReturnValue

from portal.catalogue import queries
from portal.catalogue.caching import kept_by_browser
from portal.catalogue.routes import visitor_id
from portal.core import htmx
from portal.core.access import public
from portal.core.languages import LANGUAGES
from portal.core.redirects import safe_path

bp = Blueprint("site", __name__)


@bp.get("/")
@public
def home() -> ResponseReturnValue:
    """The shop front."""

    def page() -> Response:
        return htmx.render("site/home.html", shelf=queries.read_front(user_id=visitor_id()))

    return kept_by_browser(page)


@bp.route("/language", methods=["GET", "POST"])
@public
def set_locale() -> ResponseReturnValue:
    """Show this visitor everything in another language, and go back to where they were.

    A link may do it too (the menu's links work without script, and without a token that would keep pages out of
    caches), but not one on another site.
    """
    chosen = request.values.get("locale")
    is_ours = request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
    if chosen in LANGUAGES and is_ours:
        session["locale"] = chosen
    return htmx.leave(safe_path(request.values.get("next")) or "/")
