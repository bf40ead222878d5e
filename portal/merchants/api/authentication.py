"""Who asks: a key in the Authorization header, and nowhere else."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import structlog
from flask import Flask, Response, current_app, g, request
from sqlalchemy.exc import SQLAlchemyError

from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.merchants.errors import (
    ExpiredKey,
    InvalidKey,
    KeyInAddress,
    MerchantSuspended,
    MissingKey,
    MissingScope,
    RevokedKey,
)
from portal.merchants.models import ApiKey, Scope
from portal.merchants.services import keys

log = structlog.get_logger(__name__)
F = TypeVar("F", bound=Callable[..., Any])

_LONGEST_HEADER = 200
_NAMES = frozenset({"api_key", "apikey", "key", "secret", "token", "access_token", "authorization"})


def caller() -> ApiKey:
    """The key of this request, with its merchant."""
    return cast("ApiKey", g.api_key)


def authenticate() -> None:
    """Find the key of a request before anything else is read. Raises what is wrong with it.

    Looked up each time, so a revoked key is refused at the next request.
    """
    for name, value in request.args.items(multi=True):
        if name.lower() in _NAMES or keys.SECRET.search(value):
            raise KeyInAddress
    scheme, _space, secret = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise MissingKey
    key = keys.find_key(secret.strip()) if len(secret) < _LONGEST_HEADER else None
    if key is None:
        raise InvalidKey
    at = clock.now()
    state = key.state_at(at)
    if state == "revoked":
        raise RevokedKey
    if state == "expired":
        raise ExpiredKey
    if not key.merchant.is_active:
        raise MerchantSuspended
    g.api_key = key
    if key.last_used_at is None or at - key.last_used_at >= keys.SEEN_EVERY:
        g.api_key_used = (key.id, at)


def needs(scope: Scope) -> Callable[[F], F]:
    """Let only keys with this right use a route."""

    def decorate(view: F) -> F:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            if not caller().may(scope):
                raise MissingScope(scope.value)
            return view(*args, **kwargs)

        return cast("F", checked)

    return decorate


def limited_by() -> str:
    """What calls are counted by: the key, so that one program's flood does not stop another's work."""
    return f"api-key:{caller().id}"


def note_use_afterwards(response: Response) -> Response:
    """Write when the key was last used once the answer is on its way: nobody waits for it, and it may fail."""
    used = g.pop("api_key_used", None)
    if used is not None:
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # the way Flask documents
        response.call_on_close(lambda: _write_use(app, *used))
    return response


def _write_use(app: Flask, key_id: int, at: Any) -> None:
    with app.app_context():
        try:
            with unit_of_work():
                keys.note_use(key_id, at=at)
        except SQLAlchemyError as error:
            log.info("key_use_not_written", error=type(error).__name__)
        finally:
            db.session.remove()
