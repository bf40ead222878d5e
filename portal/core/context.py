"""What is known about the request or job being worked on: its id and where it came from."""

import re
import secrets
from contextvars import ContextVar

_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
_client_address: ContextVar[str | None] = ContextVar("client_address", default=None)
_ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def begin(*, request_id: str | None = None, client_address: str | None = None) -> str:
    """Start a request or job; an id handed in by the proxy is kept when it is harmless, else a new one is made."""
    chosen = request_id if request_id and _ACCEPTABLE_ID.fullmatch(request_id) else secrets.token_hex(8)
    _request_id.set(chosen)
    _client_address.set(client_address)
    return chosen


def request_id() -> str | None:
    """The id that ties together log lines, audit lines and the error page."""
    return _request_id.get()


def client_address() -> str | None:
    """The network address of whoever asked, as the trusted proxy tells it."""
    return _client_address.get()
