"""Who may use a route: every view declares a level, one hook enforces it, a view without one stops the start."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeVar, cast

from flask import Flask, current_app, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from portal.core import clock, htmx
from portal.core.errors import Forbidden

F = TypeVar("F", bound=Callable[..., Any])

RECENT = timedelta(minutes=15)


class Access(StrEnum):
    """The levels, from open to closed."""

    PUBLIC = "public"
    LOGGED_IN = "logged_in"
    VERIFIED = "verified"
    STAFF = "staff"
    ADMIN = "admin"


class Actor(Protocol):
    """What this module needs to know of a signed-in user."""

    is_authenticated: bool
    is_verified: bool
    is_staff: bool
    is_admin: bool
    needs_second_factor: bool

    def signed_in_since(self, at: Any) -> bool: ...


def _declares(level: Access) -> Callable[[F], F]:
    def mark(view: F) -> F:
        cast("Any", view).access = level
        return view

    return mark


public = _declares(Access.PUBLIC)
logged_in = _declares(Access.LOGGED_IN)
verified = _declares(Access.VERIFIED)
staff = _declares(Access.STAFF)
admin = _declares(Access.ADMIN)


def recently_authenticated(view: F) -> F:
    """Ask for the password again when it was given more than 15 minutes ago (ASVS 7.5.1)."""
    cast("Any", view).needs_recent = True
    return view


def level_of(app: Flask, endpoint: str) -> Access | None:
    """The declared level of an endpoint; static files are public."""
    if endpoint == "static":
        return Access.PUBLIC
    return cast("Access | None", getattr(app.view_functions[endpoint], "access", None))


def init_app(app: Flask) -> None:
    """Enforce the declared levels before each request."""
    app.before_request(_enforce)


def check_all_declared(app: Flask) -> None:
    """Refuse to start with a route nobody decided about."""
    missing = sorted(endpoint for endpoint in app.view_functions if level_of(app, endpoint) is None)
    if missing:
        raise RuntimeError(f"routes without an access level: {', '.join(missing)}")


def _enforce() -> ResponseReturnValue | None:
    if request.endpoint is None:
        return None
    level = level_of(current_app, request.endpoint)
    if level is Access.PUBLIC:
        return None
    user = cast("Actor", current_user)
    if not user.is_authenticated:
        return htmx.leave(url_for("accounts.log_in", next=_return_path()))
    if level is Access.VERIFIED and not user.is_verified:
        return htmx.leave(url_for("accounts.verify_pending"))
    if level in (Access.STAFF, Access.ADMIN):
        if not (user.is_staff if level is Access.STAFF else user.is_admin):
            raise Forbidden
        if user.needs_second_factor:
            return htmx.leave(url_for("accounts.security"))
    view: Any = current_app.view_functions[request.endpoint]
    if getattr(view, "needs_recent", False) and not user.signed_in_since(clock.now() - RECENT):
        return htmx.leave(url_for("accounts.confirm_password", next=_return_path()))
    return None


def _return_path() -> str | None:
    """Where to go after logging in: only a page that can be asked for again, and only its path."""
    if request.method != "GET":
        return None
    return request.full_path.rstrip("?")
