"""PayU's REST API over HTTP: an access token shared by all threads, bounded calls, and answers that were checked.

See https://developers.payu.com/europe/api/. What is not a clear answer ends here as ProviderUnavailable.
"""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog
from flask_babel import lazy_gettext as _l

from portal.core.tls import tls_context
from portal.payments.providers.base import InvalidPayload, ProviderRejected, ProviderUnavailable
from portal.payments.providers.payloads import Fields, parse_object

log = structlog.get_logger(__name__)

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
_LARGEST_ANSWER = 1024 * 1024
# A token that ends while a call is under way costs one call more; PayU's live for half a day.
_TOKEN_MARGIN_SECONDS = 60
_LONGEST_TOKEN = 4_096
_UNAUTHORIZED, _FORBIDDEN, _TIMEOUT, _TOO_MANY, _SERVER_ERROR = 401, 403, 408, 429, 500


class NotLetIn(ProviderRejected):
    """PayU does not take our credentials; whoever asks decides whether that settles anything."""

    default = _l("PayU cannot take payments for us right now. Choose another way to pay.")


@dataclass(frozen=True, slots=True)
class Answer:
    """One JSON answer below 500; refusals are answers too."""

    http_status: int
    values: dict[str, Any]
    trace: str  # For the log and PayU's support: what was asked, and the Correlation-Id of the answer.

    @property
    def fields(self) -> Fields:
        """The body, to be read with its types."""
        return Fields(self.values)

    @property
    def code(self) -> str | None:
        """PayU's own word for how it went, such as SUCCESS or ERROR_ORDER_NOT_UNIQUE."""
        return self._status("statusCode")

    @property
    def literal(self) -> str | None:
        """The cause of a refusal, where PayU names one."""
        return self._status("codeLiteral")

    @property
    def detail(self) -> str:
        """Everything staff may want to read about it, in one line."""
        described = (self._status("statusDesc") or "")[:200]
        return f"{self.trace} HTTP {self.http_status} {self.code} {self.literal} {described}".strip()

    def _status(self, name: str) -> str | None:
        status = self.values.get("status")
        found = status.get(name) if isinstance(status, dict) else None
        return found if isinstance(found, str) else None


@dataclass(frozen=True, slots=True)
class _Token:
    value: str = field(repr=False)
    good_until: float  # By the monotonic clock.


class PayUApi:
    """The calls, with OAuth's client credentials. Safe to share between threads."""

    def __init__(
        self, url: str, *, client_id: str, client_secret: str, timeout: tuple[float, float] | None = None
    ) -> None:
        connect, read = timeout or (CONNECT_SECONDS, READ_SECONDS)
        self._client = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(read, connect=connect),
            verify=tls_context(),
            # PayU answers a new order with 302 and JSON: whoever followed it would throw the order's id away.
            follow_redirects=False,
            # A connection that PayU has closed meanwhile would make an order's fate unknown, to save 100 ms.
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        self._patience = connect + 2 * read
        self._client_id = client_id
        self._client_secret = client_secret
        self._lock = threading.Lock()
        self._token: _Token | None = None
        self._token_call: Future[_Token] | None = None

    def call(self, action: str, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Ask, with a fresh token if the one at hand is refused. `action` is for the log.

        Raises ProviderUnavailable when nobody can know what happened, NotLetIn when nothing happened.
        """
        token = self._get_token(refused=None)
        answer = self._send(action, self._request(method, path, token, body))
        if answer.http_status == _UNAUTHORIZED:
            # Refused tokens do nothing, so asking again is safe even for a payment.
            token = self._get_token(refused=token)
            answer = self._send(action, self._request(method, path, token, body))
        if answer.http_status in (_UNAUTHORIZED, _FORBIDDEN):
            raise NotLetIn(reason="not_configured", detail=answer.detail)
        return answer

    def _request(self, method: str, path: str, token: str, body: dict[str, Any] | None) -> httpx.Request:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        return self._client.build_request(method, path, json=body, headers=headers)

    def _send(self, action: str, request: httpx.Request) -> Answer:
        http_status, trace, body = self._exchange(action, request)
        if http_status >= _SERVER_ERROR or http_status in (_TIMEOUT, _TOO_MANY):
            log.warning("payu.trouble", call=trace, http_status=http_status)
            raise ProviderUnavailable(detail=f"{trace} HTTP {http_status}")
        try:
            answer = Answer(http_status, parse_object(body), trace)
        except InvalidPayload as error:
            log.warning("payu.garbled_answer", call=trace, http_status=http_status, error=error.reason)
            raise ProviderUnavailable(detail=f"{trace} HTTP {http_status}: {error.reason}") from error
        log.info("payu.answered", call=trace, http_status=http_status, code=answer.code)
        return answer

    def _exchange(self, action: str, request: httpx.Request) -> tuple[int, str, bytes]:
        """One request and its whole answer, which may be neither endless nor slow without end."""
        patient_until = time.monotonic() + self._patience
        body = bytearray()
        try:
            response = self._client.send(request, stream=True)
            try:
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _LARGEST_ANSWER or time.monotonic() > patient_until:
                        raise ProviderUnavailable(detail=f"{action}: an answer without end")
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            # The class says enough; the text of some errors repeats what was sent.
            log.warning("payu.no_answer", action=action, error=type(error).__name__)
            raise ProviderUnavailable(detail=f"{action}: {type(error).__name__}") from error
        trace = f"{action} {response.headers.get('Correlation-Id', 'without Correlation-Id')[:100]}"
        return response.status_code, trace, bytes(body)

    def _get_token(self, *, refused: str | None) -> str:
        """The token in use, or a new one; however many threads need it, PayU is asked once."""
        with self._lock:
            token = self._token
            if token is not None and token.value != refused and token.good_until > time.monotonic():
                return token.value
            under_way = self._token_call
            mine: Future[_Token] = Future()
            if under_way is None:
                self._token_call = mine
        if under_way is not None:
            return under_way.result().value
        try:
            token = self._fetch_token()
        except BaseException as error:
            self._finish_token(None)
            mine.set_exception(error)
            raise
        self._finish_token(token)
        mine.set_result(token)
        return token.value

    def _finish_token(self, token: _Token | None) -> None:
        with self._lock:
            self._token, self._token_call = token, None

    def _fetch_token(self) -> _Token:
        asked_at = time.monotonic()
        form = {
            "grant_type": "client_credentials",
            "client_id": self._client_id,
            "client_secret": self._client_secret,
        }
        request = self._client.build_request(
            "POST", "/pl/standard/user/oauth/authorize", data=form, headers={"Accept": "application/json"}
        )
        answer = self._send("authorize", request)
        # OAuth's refusals name their kind in `error` (RFC 6749, section 5.2).
        refusal = answer.values.get("error")
        if answer.http_status in (400, _UNAUTHORIZED, _FORBIDDEN) and isinstance(refusal, str):
            log.error("payu.credentials_refused", error=refusal[:100])
            raise NotLetIn(reason="not_configured", detail=f"{answer.trace} {refusal[:100]}")
        try:
            value = answer.fields.text("access_token", longest=_LONGEST_TOKEN)
            lifetime = answer.fields.whole("expires_in")
        except InvalidPayload as error:
            raise ProviderUnavailable(detail=f"{answer.trace} {error.reason}") from error
        if not value.isascii() or not value.isprintable():
            raise ProviderUnavailable(detail=f"{answer.trace} the token is no header's text")
        return _Token(value, asked_at + lifetime - _TOKEN_MARGIN_SECONDS)
