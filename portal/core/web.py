"""What every request and answer shares: its id, the client's address, the language, security headers, error pages."""

import time
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit, urlunsplit

import structlog
from flask import Flask, Response, current_app, g, jsonify, make_response, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from redis.exceptions import RedisError
from sqlalchemy.exc import DataError, DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from portal.core import context, htmx, metrics
from portal.core.cookies import MACHINE_PATHS
from portal.core.db import db
from portal.core.errors import PortalError

log = structlog.get_logger(__name__)

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_NOT_LOGGED = {"static", "health.healthz", "health.readyz", "health.metrics_page"}
# PostgreSQL: deadlock, serialization failure, lock time-out, statement time-out.
_BUSY_STATES = {"40P01", "40001", "55P03", "57014"}
# What kind of trouble a status stands for, for programs that decide by it what to do next.
_KINDS = {
    400: "invalid_request", 401: "authentication", 403: "permission", 404: "not_found", 405: "invalid_request",
    409: "conflict", 410: "not_found", 413: "invalid_request", 415: "invalid_request", 422: "invalid_values",
    429: "rate_limit",
}  # fmt: skip


def init_app(app: Flask) -> None:
    """Attach the hooks and the error pages."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(PortalError, _portal_error)
    app.register_error_handler(CSRFError, _csrf_error)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(DBAPIError, _database_error)
    app.register_error_handler(PoolTimeout, _unavailable)
    app.register_error_handler(RedisError, _unavailable)
    app.register_error_handler(Exception, _crash)


def _begin() -> None:
    g.started = time.perf_counter()
    context.begin(request_id=request.headers.get("X-Request-ID"), client_address=request.remote_addr)


def _finish(response: Response) -> Response:
    headers = response.headers
    path, endpoint, status = request.path, request.endpoint, response.status_code
    if status == 308:
        _keep_on_this_site(response)
    request_id = context.request_id()
    wanted = {**_SECURITY_HEADERS, "X-Request-ID": request_id} if request_id else dict(_SECURITY_HEADERS)
    if current_app.config["PORTAL_URL"].startswith("https://"):
        wanted["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if path.startswith(MACHINE_PATHS):
        wanted["Cache-Control"] = "no-store"
    elif endpoint != "static" or status >= 400:
        htmx.mark_varying(response)
        wanted["Cache-Control"] = "no-store" if session.get("_user_id") else "no-cache, private"
    there = {name.lower() for name in headers.keys()}  # noqa: SIM118  # a list of pairs, not a mapping
    headers.extend((name, value) for name, value in wanted.items() if name.lower() not in there)
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    metrics.observe_request(request.method, endpoint, status, seconds)
    if endpoint not in _NOT_LOGGED:
        log.info(
            "request",
            method=request.method,
            endpoint=endpoint,
            status=status,
            milliseconds=round(seconds * 1000, 1),
            client=request.remote_addr,
        )
    return response


def _keep_on_this_site(response: Response) -> None:
    """Werkzeug's own redirects, for a missing slash, name whatever host the request claimed to be for."""
    parts = urlsplit(response.location or "/")
    response.location = urlunsplit(("", "", "/" + parts.path.lstrip("/"), parts.query, ""))
    response.set_data(b"")


def answer_error(
    status: int, code: str, message: str, *, field: str | None = None, fields: Sequence[Mapping[str, str]] = ()
) -> Response:
    """An error in the form the asker reads: JSON for programs, a page for people.

    `fields` are the wrong fields of a program's request, each with `field`, `code` and `message`.
    """
    if request.path.startswith(MACHINE_PATHS) or request.accept_mimetypes.best == "application/json":
        error = {
            "type": _KINDS.get(status, "server_error"),
            "code": code,
            "message": message,
            "field": field,
            "fields": list(fields),
            "request_id": context.request_id(),
        }
        return make_response(jsonify(error=error), status)
    page = render_template(
        "errors/error.html", status=status, code=code, message=message, request_id=context.request_id()
    )
    return make_response(page, status)


def _portal_error(error: PortalError) -> ResponseReturnValue:
    return answer_error(error.status, error.code, str(error), field=error.field)


def _csrf_error(_error: CSRFError) -> ResponseReturnValue:
    return answer_error(400, "csrf", _("This page was open for too long. Go back, reload it and try again."))


def _http_error(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if status < 400:
        return error
    messages = {
        400: _("We could not read that request."),
        404: _("We could not find that page."),
        405: _("This address cannot be used that way."),
        413: _("That is too large to send."),
        429: _("Too many tries. Wait a moment and try again."),
    }
    message = messages.get(status) or _("That did not work. Check what you entered and try again.")
    response = answer_error(status, error.name.lower().replace(" ", "_"), message)
    retry_after = getattr(error, "retry_after", None)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def is_unavailable(error: DBAPIError) -> bool:
    """Whether the database refused because it is away, read-only, full or busy, rather than for a bug of ours."""
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        # Classes 08 connection, 25006 read-only, 53 resources, 57 operator intervention, 58 system error.
        return state in _BUSY_STATES or state == "25006" or state[:2] in ("08", "53", "57", "58")
    return isinstance(error, OperationalError)


def _database_error(error: DBAPIError) -> ResponseReturnValue:
    if isinstance(error, DataError):
        # A NUL in an address, a number of thirty digits: PostgreSQL takes neither, and no page has such a name.
        log.info("impossible_value", path=_loggable_path())
        _forget_transaction()
        return answer_error(400, "bad_request", _("We could not read that request."))
    if not is_unavailable(error):
        return _crash(error)
    return _unavailable(error)


def _unavailable(error: Exception) -> ResponseReturnValue:
    log.error("unavailable", error=type(error).__name__, path=_loggable_path())
    _forget_transaction()
    message = _("This is not available right now. Nothing was lost. Please try again in a moment.")
    response = answer_error(503, "unavailable", message)
    response.headers["Retry-After"] = "5"
    return response


def _crash(error: Exception) -> ResponseReturnValue:
    log.error("unhandled", path=_loggable_path(), exc_info=error)
    _forget_transaction()
    if current_app.config.get("PROPAGATE_EXCEPTIONS"):
        raise error
    return answer_error(500, "internal", _("Something went wrong on our side. We have been told."))


def _loggable_path() -> str:
    """The route rather than the address: a mailed link's token is part of its address and must not reach a log."""
    return str(request.url_rule) if request.url_rule is not None else request.path


def _forget_transaction() -> None:
    try:
        db.session.rollback()
    except DBAPIError:
        db.session.remove()
