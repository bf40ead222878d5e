"""Talking JSON over HTTP to another company: bounded in time and size, and honest about what was not answered."""

import json
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import httpx

from portal.core.tls import tls_context

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
# The longest answer anybody has a reason to give; a list of two thousand blocks' events fits.
LARGEST_ANSWER = 8 * 1024 * 1024
_NO_PARAMETERS: Mapping[str, Any] = MappingProxyType({})


class NoAnswer(Exception):
    """Nothing came back, or not all of it: whether the other side did anything is unknown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and the JSON value beside it; `value` is None when the body is not JSON."""

    status: int
    value: Any

    @property
    def is_success(self) -> bool:
        """Whether the other side did what was asked."""
        return 200 <= self.status < 300


class Caller:
    """Calls one server. Safe to share between threads; it never follows a redirect."""

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] = _NO_PARAMETERS,
        timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS),
    ) -> None:
        """`timeout` is for connecting and for each wait afterwards, in seconds."""
        connect, read = timeout
        self._client = httpx.Client(
            base_url=base_url,
            headers=dict(headers),
            timeout=httpx.Timeout(read, connect=connect),
            verify=tls_context(),
        )
        # Providers live as long as their application; whoever drops one drops its connections.
        weakref.finalize(self, self._client.close)

    def call(self, method: str, path: str, *, params: Mapping[str, Any] = _NO_PARAMETERS, body: Any = None) -> Answer:
        """Send one request, its body as JSON. Raises NoAnswer."""
        arguments: dict[str, Any] = {"params": dict(params)} if params else {}
        if body is not None:
            arguments["json"] = body
        try:
            with self._client.stream(method, path, **arguments) as response:
                return Answer(response.status_code, _read(response))
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from error


def _read(response: httpx.Response) -> Any:
    """The JSON in a response; fractions keep every digit. Raises NoAnswer for a body without end."""
    taken = bytearray()
    for chunk in response.iter_bytes():
        taken += chunk
        if len(taken) > LARGEST_ANSWER:
            raise NoAnswer("the answer is too long")
    try:
        return json.loads(taken.decode("utf-8"), parse_float=Decimal)
    except (ValueError, RecursionError):
        return None
