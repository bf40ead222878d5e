"""Talking to Recurrente's REST API: keys in headers, JSON both ways, and every way in which that can go wrong."""

import json
import logging
import weakref
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import httpx
import structlog

from portal.core.tls import tls_context
from portal.payments.providers.base import InvalidPayload, ProviderRejected, ProviderUnavailable
from portal.payments.providers.payloads import Fields, parse_object

log = structlog.get_logger(__name__)
# It would otherwise write a line for every call; ours say what went wrong.
logging.getLogger("httpx").setLevel(logging.WARNING)

LIVE_URL = "https://app.recurrente.com/api"
CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
# How many checkouts a list gives at once, and how many pages of it are read at most.
PAGE_ITEMS, MOST_PAGES = 100, 50
_LARGEST_ANSWER = 4 * 1024 * 1024
_LONGEST_MESSAGE = 300


class RecurrenteApi:
    """The calls we make. Safe to share between threads. Raises ProviderUnavailable or ProviderRejected."""

    def __init__(self, *, public_key: str, secret_key: str, url: str, timeout: tuple[float, float]) -> None:
        connect, read = timeout
        # The documentation asks for the secret key; its older pages for both.
        keys = {"X-SECRET-KEY": secret_key, **({"X-PUBLIC-KEY": public_key} if public_key else {})}
        self._client = httpx.Client(
            base_url=url.rstrip("/"),
            headers={**keys, "Accept": "application/json"},
            timeout=httpx.Timeout(read, connect=connect),
            verify=tls_context(),
            follow_redirects=False,
            # A proxy of the environment would see the keys.
            trust_env=False,
        )
        # Connections are kept for the next call, and end with us.
        weakref.finalize(self, self._client.close)

    def create_checkout(self, values: Mapping[str, Any]) -> Fields:
        """POST /checkouts."""
        return self._object("start", "POST", "/checkouts", values)

    def get_checkout(self, reference: str) -> Fields:
        """GET /checkouts/{id}."""
        return self._object("fetch", "GET", f"/checkouts/{_safe(reference)}")

    def list_checkouts(self, action: str, *, since: datetime, until: datetime) -> Iterator[Fields]:
        """GET /checkouts between two times, page by page."""
        for page in range(1, MOST_PAGES + 1):
            window = {"from_time": since.isoformat(), "until_time": until.isoformat()}
            answer = self._send(action, "GET", "/checkouts", params={**window, "page": page, "items": PAGE_ITEMS})
            found = _read_list(action, answer.content)
            yield from found
            if page >= _total_pages(answer) or not found:
                return
        log.warning("recurrente.too_many_checkouts", action=action, pages=MOST_PAGES)
        raise ProviderUnavailable(detail=f"{action}: the list of checkouts does not end")

    def create_refund(self, payment_reference: str) -> Fields:
        """POST /refunds: the whole payment."""
        return self._object("refund", "POST", "/refunds", {"payment_intent_id": payment_reference})

    def get_subscription(self, reference: str) -> Fields:
        """GET /subscriptions/{id}."""
        return self._object("fetch", "GET", f"/subscriptions/{_safe(reference)}")

    def delete_subscription(self, reference: str) -> None:
        """DELETE /subscriptions/{id}; what it answers with is not documented."""
        self._send("cancel", "DELETE", f"/subscriptions/{_safe(reference)}")

    def _object(self, action: str, method: str, path: str, values: Mapping[str, Any] | None = None) -> Fields:
        answer = self._send(action, method, path, values=values)
        try:
            return Fields(parse_object(answer.content))
        except InvalidPayload as error:
            raise garbled(action, error) from error

    def _send(
        self,
        action: str,
        method: str,
        path: str,
        *,
        values: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> httpx.Response:
        try:
            answer = self._client.request(method, path, json=values, params=params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            log.warning("recurrente.no_answer", action=action, error=repr(error)[:_LONGEST_MESSAGE])
            raise ProviderUnavailable(detail=f"{action}: {type(error).__name__}") from error
        if answer.is_success and len(answer.content) <= _LARGEST_ANSWER:
            return answer
        raise _refused(action, answer)


def _safe(reference: str) -> str:
    """An id as a part of an address. Raises ProviderRejected for what is none, such as `../refunds`."""
    if not reference.replace("_", "").replace("-", "").isalnum() or not reference.isascii():
        raise ProviderRejected(reason="resource_missing", detail="not an id")
    return reference


def _read_list(action: str, body: bytes) -> list[Fields]:
    try:
        # The strict reader takes objects only; a list is read as the field of one.
        found = json.loads(body)
        entries = parse_object(b'{"found":' + body + b"}")["found"] if isinstance(found, list) else None
    except (ValueError, RecursionError, InvalidPayload) as error:
        raise garbled(action, error) from error
    if entries is None or not all(isinstance(entry, dict) for entry in entries):
        raise garbled(action, InvalidPayload("not a list of objects"))
    return [Fields(entry) for entry in entries]


def _total_pages(answer: httpx.Response) -> int:
    text = answer.headers.get("Total-Pages", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else MOST_PAGES + 1


def garbled(action: str, error: Exception) -> ProviderUnavailable:
    """Half an answer, a proxy's page, another shape: what happened there is unknown."""
    log.warning("recurrente.garbled_answer", action=action, error=repr(error)[:_LONGEST_MESSAGE])
    return ProviderUnavailable(detail=f"{action}: garbled answer")


def _refused(action: str, answer: httpx.Response) -> ProviderUnavailable | ProviderRejected:
    message = _message(answer)
    detail = f"{action}: {answer.status_code} {message}".strip()
    log.warning("recurrente.refused", action=action, status=answer.status_code, message=message)
    if answer.status_code in (401, 403):
        return ProviderRejected(reason="not_configured", detail=detail)
    if answer.status_code == 404:
        return ProviderRejected(reason="resource_missing", detail=detail)
    if answer.status_code in (400, 409, 410, 422):
        return ProviderRejected(reason="refused", detail=detail)
    # A failure, too many requests, a redirect: nothing is kept under a key there, so what happened is unknown.
    return ProviderUnavailable(detail=detail)


def _message(answer: httpx.Response) -> str:
    """What an error says: `message` and `errors`, or nothing."""
    try:
        body = parse_object(answer.content[:_LARGEST_ANSWER])
    except InvalidPayload:
        return ""
    parts = [body.get("message"), body.get("errors")]
    return " ".join(part if isinstance(part, str) else json.dumps(part) for part in parts if part)[:_LONGEST_MESSAGE]
