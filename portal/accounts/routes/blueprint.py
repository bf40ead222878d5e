"""The blueprint of everything about one's account, and what all its pages share."""

from typing import cast

from flask import Blueprint, Response, current_app, make_response, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import get_locale
from flask_babel import gettext as _
from flask_login import current_user
from werkzeug.exceptions import TooManyRequests

from portal.accounts import hashing, services
from portal.accounts.errors import TooBusy, TooManyTries
from portal.accounts.hashing import Checked
from portal.accounts.models import User
from portal.accounts.services.signing_in import Attempt
from portal.core import clock
from portal.core.db import unit_of_work
from portal.core.errors import PortalError
from portal.core.htmx import wants_fragment
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


def look_at_password(attempt: Attempt, password: str) -> Checked:
    """Check what was typed, between the transactions of signing in. Raises TooBusy; that try counts for nothing."""
    try:
        return hashing.check_password(password, attempt.stored_hash, with_imported=attempt.with_imported)
    except TooBusy:
        # Nobody has looked at it. A flood must not use up the tries of those who come while it lasts.
        with unit_of_work():
            services.forget_attempt(attempt)
        raise


@bp.errorhandler(TooBusy)
def say_busy(error: TooBusy) -> Response:
    """Told again and again in a flood, so the page is made once a language, and nothing of the visitor is in it."""
    is_other_form = wants_fragment() or request.accept_mimetypes.best == "application/json"
    if is_other_form or current_user.is_authenticated or "_flashes" in session:
        return answer_error(error.status, error.code, str(error))
    pages: dict[str, str] = current_app.extensions.setdefault("busy_pages", {})
    language = str(get_locale())
    if language not in pages:
        pages[language] = render_template(
            "errors/error.html", status=error.status, code=error.code, message=str(error), request_id=None
        )
    return make_response(pages[language], error.status)


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
