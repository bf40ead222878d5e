"""The visitor's cookie session: what goes into it at log-in, what stays of it, and where a request comes from."""

import json
from datetime import datetime, timedelta
from typing import Any

from flask import request, session
from flask_login import login_user

from portal.accounts.models import LoginSession, User
from portal.accounts.services.throttling import Origin
from portal.core import sealed

# What a visitor chose before logging in and finds again afterwards. Nothing else crosses over.
_KEPT_AT_LOG_IN = ("cart_token", "locale")
_KEPT_AT_LOG_OUT = ("locale",)


def origin() -> Origin:
    """Where this request comes from, as the trusted proxies tell it."""
    return Origin(address=request.remote_addr, user_agent=request.headers.get("User-Agent", ""))


def begin(user: User, login_session: LoginSession, token: str) -> None:
    """Make this browser the user's: everything in its cookie from before is gone, a planted CSRF token included."""
    _keep_only(*_KEPT_AT_LOG_IN)
    session.permanent = login_session.is_remembered
    user.login_session = login_session
    user.session_token = token
    login_user(user, force=True)


def renew(user: User, token: str) -> None:
    """Put a session's new token into the cookie."""
    user.session_token = token
    session["_user_id"] = token


def end() -> None:
    """Make this browser a visitor's again."""
    _keep_only(*_KEPT_AT_LOG_OUT)
    session.permanent = False


def put_sealed(name: str, values: dict[str, Any], *, at: datetime) -> None:
    """Keep something in the cookie that its owner must not read or change, such as a half-finished log-in."""
    session[name] = sealed.seal(json.dumps({**values, "at": at.timestamp()}), purpose=f"cookie-{name}")


def get_sealed(name: str, *, younger_than: timedelta, at: datetime) -> dict[str, Any] | None:
    """What `put_sealed` kept, when it is not too old."""
    text = session.get(name)
    if not isinstance(text, str):
        return None
    try:
        values: dict[str, Any] = json.loads(sealed.unseal(text, purpose=f"cookie-{name}"))
    except ValueError:
        return None
    age = at.timestamp() - values.pop("at", 0)
    return values if 0 <= age < younger_than.total_seconds() else None


def drop(name: str) -> None:
    """Forget a value of the cookie."""
    session.pop(name, None)


def _keep_only(*names: str) -> None:
    kept = {name: session[name] for name in names if name in session}
    session.clear()
    session.update(kept)
