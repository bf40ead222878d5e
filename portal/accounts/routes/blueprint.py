"""The blueprint of everything about one's account, and what all its pages share."""

from typing import cast

from flask import Blueprint, Response, make_response, render_template
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_login import current_user
from werkzeug.exceptions import TooManyRequests

from portal.accounts.errors import TooManyTries
from portal.accounts.models import User
from portal.core import clock
from portal.core.errors import PortalError
from portal.core.ui import nav_url
from portal.core.web import answer_error
from portal.extensions import limiter

bp = Blueprint("accounts", __name__)

# A second line behind the counters in the database: forms that send mail or spend a link, by network address.
MAIL_LIMIT = "20 per hour"
LINK_LIMIT = "60 per hour"


def me() -> User:
    """The signed-in user themselves, not Flask-Login's stand-in for them."""
    return cast("User", current_user._get_current_object())  # noqa: SLF001  # the way Flask-Login documents


def landing_page(user: User) -> str:
    """Where somebody goes who has just logged in and wanted nothing in particular."""
    targets = ("admin.home", "customer.dashboard") if user.is_staff else ("customer.dashboard",)
    return nav_url(*targets) or "/"


def refused(page: Response, error: PortalError | None) -> Response:
    """A page that shows a refusal, with its status and how long to wait where there is a wait."""
    if error is not None:
        page.status_code = error.status
    if isinstance(error, TooManyTries):
        page.headers["Retry-After"] = str(error.retry_after)
    return page


def untraceable(page: Response) -> Response:
    """A page whose address is a secret: no page that is linked from it may learn where the visitor came from."""
    page.headers["Referrer-Policy"] = "no-referrer"
    return page


def dead_link_page(*, again: str, again_label: str) -> Response:
    """What a link leads to that was used, is too old, or never was."""
    page = make_response(render_template("accounts/dead_link.html", again=again, again_label=again_label), 404)
    return untraceable(page)


@bp.after_request
def _private(response: Response) -> Response:
    # Forms with tokens, names and codes: nothing of it may stay in a shared cache or come back with the back button.
    response.headers.setdefault("Cache-Control", "no-store")
    return response


@bp.errorhandler(TooManyTries)
def _too_many_tries(error: TooManyTries) -> ResponseReturnValue:
    return refused(answer_error(error.status, error.code, str(error)), error)


@bp.errorhandler(TooManyRequests)
def _too_many_requests(_error: TooManyRequests) -> ResponseReturnValue:
    response = answer_error(429, "too_many_requests", _("Too many tries. Wait a moment and try again."))
    limit = limiter.current_limit
    seconds = limit.reset_at - clock.now().timestamp() if limit else 60
    response.headers["Retry-After"] = str(max(1, round(seconds)))
    return response
