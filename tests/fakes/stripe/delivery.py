"""The fake Stripe's webhooks: signed, sent by a thread of their own, and as unreliable as a test wants them."""

import hashlib
import heapq
import hmac
import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.fakes.stripe.shapes import Object

# What an endpoint of the portal is subscribed to. ("*",) sends everything.
ENABLED_EVENTS = (
    "checkout.session.completed",
    "checkout.session.expired",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "payment_intent.succeeded",
    "payment_intent.processing",
    "payment_intent.payment_failed",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice.payment_failed",
    "customer.subscription.deleted",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.dispute.created",
    "charge.dispute.closed",
)


def sign(body: bytes, secrets: Sequence[str], *, at: int) -> str:
    """The Stripe-Signature header: one v1 for each secret in use, and the v0 that test mode adds."""
    message = str(at).encode() + b"." + body
    marks = [hmac.new(secret.encode(), message, hashlib.sha256).hexdigest() for secret in secrets]
    return ",".join([f"t={at}", *(f"v1={mark}" for mark in marks), f"v0={hashlib.sha256(message).hexdigest()}"])


@dataclass(frozen=True)
class Delivery:
    """One try to deliver one event. `status` is None when nothing answered."""

    event_id: str
    event_type: str
    attempt: int
    status: int | None
    answer: str


@dataclass
class Switches:
    """How webhooks go wrong. All off: in order, once, at once."""

    gaps: tuple[float, ...] = (0.2, 0.5, 1.0, 2.0, 4.0)  # Before each retry; Stripe's go up to days.
    copies: int = 1  # How often each event is sent although it was answered.
    order: str = "sent"  # "reversed" and "shuffled" turn the events of one happening around.
    delay: float = 0.0  # Before the first try; a random part of it when `order` is shuffled.
    lose: bool = False  # Nothing is sent; events wait in the events list.
    lose_rate: float = 0.0  # 0.2: one in five events is never sent.
    double_rate: float = 0.0
    skew: int = 0  # Added to the signed time.
    timeout: float = 10.0
    enabled_events: tuple[str, ...] = ENABLED_EVENTS


@dataclass
class Webhooks:
    """Sends events to one endpoint until it answers 2xx or the gaps are used up."""

    url: str = ""
    secrets: list[str] = field(default_factory=list)
    switches: Switches = field(default_factory=Switches)
    seed: int = 1
    deliveries: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._condition = threading.Condition()
        self._queue: list[tuple[float, int, int, Object]] = []
        self._count = itertools.count()
        self._in_flight = 0
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sending."""
        self._thread = threading.Thread(target=self._run, name="fake-stripe-webhooks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; what is queued is dropped."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread:
            self._thread.join(self.switches.timeout)

    def announce(self, events: list[Object], is_lost: bool = False) -> None:
        """Queue the events of one happening."""
        switches = self.switches
        wanted = []
        for event in events:
            if switches.enabled_events != ("*",) and event["type"] not in switches.enabled_events:
                event["pending_webhooks"] = 0
            elif not (is_lost or switches.lose or self._random.random() < switches.lose_rate):
                wanted.append(event)
        if switches.order == "reversed":
            wanted.reverse()
        elif switches.order == "shuffled":
            self._random.shuffle(wanted)
        for event in wanted:
            copies = switches.copies + (self._random.random() < switches.double_rate)
            for _ in range(copies):
                delay = switches.delay * (self._random.random() if switches.order == "shuffled" else 1)
                self._put(delay, 1, event)

    def resend(self, event: Object) -> None:
        """The dashboard's "resend" button."""
        self._put(0.0, 1, event)

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until nothing is queued or under way. Raises TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: not self._queue and not self._in_flight, timeout):
                raise TimeoutError(f"{len(self._queue)} webhooks are still queued; last: {self.deliveries[-1:]}")

    def _put(self, delay: float, attempt: int, event: Object) -> None:
        with self._condition:
            heapq.heappush(self._queue, (time.monotonic() + delay, next(self._count), attempt, event))
            self._condition.notify_all()

    def _next(self) -> tuple[int, Object] | None:
        with self._condition:
            while not self._is_stopping:
                if not self._queue:
                    self._condition.wait()
                elif (wait := self._queue[0][0] - time.monotonic()) > 0:
                    self._condition.wait(wait)
                else:
                    _due, _order, attempt, event = heapq.heappop(self._queue)
                    self._in_flight += 1
                    return attempt, event
            return None

    def _run(self) -> None:
        while found := self._next():
            attempt, event = found
            status, answer = self._post(event)
            self.deliveries.append(Delivery(event["id"], event["type"], attempt, status, answer))
            if status is not None and 200 <= status < 300:
                event["pending_webhooks"] = 0
            elif attempt <= len(self.switches.gaps):
                self._put(self.switches.gaps[attempt - 1], attempt + 1, event)
            with self._condition:
                self._in_flight -= 1
                self._condition.notify_all()

    def _post(self, event: Object) -> tuple[int | None, str]:
        parts = urlsplit(self.url)
        if not parts.hostname:
            return None, "no webhook address is set"
        body = json.dumps(event, indent=2).encode()
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            # A retry is signed afresh, so a late one is not refused for its age.
            "Stripe-Signature": sign(body, self.secrets, at=int(time.time()) + self.switches.skew),
        }
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=self.switches.timeout)
        try:
            connection.request("POST", parts.path or "/", body, headers)
            response = connection.getresponse()
            return response.status, response.read(500).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return None, repr(error)
        finally:
            connection.close()
