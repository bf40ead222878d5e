"""The fake BTCPay Server's webhooks: signed without a time, and repeated by BTCPay's own rules.

A delivery is tried again after 10 s, a minute, and six times ten minutes, but only when nothing answered or the answer
was 5xx, 408 or 429. Any other refusal ends it for good. A repetition has an id and bytes of its own.
"""

import hashlib
import hmac
import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.btcpay.world import Object, new_id

REAL_GAPS = (10.0, 60.0, 600.0, 600.0, 600.0, 600.0, 600.0, 600.0)
_PATIENCE = 10.0


def sign(body: bytes, secret: str) -> str:
    """The BTCPay-Sig header."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Delivery:
    """One try to deliver one event. `status` is None when nothing answered."""

    event_type: str
    delivery_id: str
    original_id: str
    status: int | None


@dataclass
class Webhooks:
    """Sends events to one address, in the order they happened, by a thread of its own."""

    url: str = ""
    secret: str = ""
    gaps: tuple[float, ...] = (0.05,) * len(REAL_GAPS)  # As many as the real ones, and shorter.
    lose: bool = False
    deliveries: list[Delivery] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._condition = threading.Condition()
        self._queue: list[tuple[float, int, Object]] = []
        self._in_flight = 0
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sending."""
        self._thread = threading.Thread(target=self._run, name="fake-btcpay-webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; what is queued is dropped."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread:
            self._thread.join(_PATIENCE)

    def announce(self, event: Object) -> None:
        """Something happened."""
        self.events.append(event)
        if self.url and not self.lose:
            self._put(0.0, 1, event)

    def redeliver(self, event: Object) -> None:
        """The "redeliver" link of the dashboard."""
        self._put(0.0, 1, again(event))

    def wait_idle(self) -> None:
        """Wait until nothing is queued or under way. Raises TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: not self._queue and not self._in_flight, _PATIENCE):
                raise TimeoutError(f"{len(self._queue)} webhooks are still queued")

    def _put(self, delay: float, attempt: int, event: Object) -> None:
        with self._condition:
            self._queue.append((time.monotonic() + delay, attempt, event))
            self._condition.notify_all()

    def _next(self) -> tuple[int, Object] | None:
        with self._condition:
            while not self._is_stopping:
                if not self._queue:
                    self._condition.wait()
                    continue
                due = min(self._queue, key=lambda one: one[0])
                if (wait := due[0] - time.monotonic()) > 0:
                    self._condition.wait(wait)
                    continue
                self._queue.remove(due)
                self._in_flight += 1
                return due[1], due[2]
            return None

    def _run(self) -> None:
        while found := self._next():
            attempt, event = found
            status = self._post(event)
            self.deliveries.append(Delivery(event["type"], event["deliveryId"], event["originalDeliveryId"], status))
            is_retried = status is None or status >= 500 or status in (408, 429)
            if is_retried and attempt <= len(self.gaps):
                self._put(self.gaps[attempt - 1], attempt + 1, again(event))
            with self._condition:
                self._in_flight -= 1
                self._condition.notify_all()

    def _post(self, event: Object) -> int | None:
        parts = urlsplit(self.url)
        body = json.dumps(event, indent=2).encode()
        headers = {"Content-Type": "application/json", "BTCPay-Sig": sign(body, self.secret)}
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_PATIENCE)
        try:
            connection.request("POST", parts.path or "/", body, headers)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()


def again(event: Object) -> dict[str, Any]:
    """The same event as it is sent another time."""
    return {**event, "deliveryId": new_id(), "isRedelivery": True}
