"""The fake PayU's notifications: signed, sent by a thread of their own, and as unreliable as a test wants them."""

import hashlib
import heapq
import http.client
import itertools
import random
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_MINUTE, _HOUR = 60, 3600
# When a notification that was not answered with 200 is sent again, counted from the first time.
RETRIES = (
    *(minutes * _MINUTE for minutes in (1, 2, 5, 10, 30)),
    *(hours * _HOUR for hours in (1, 2, 3, 6, 9, 12, 15, 18, 21, 24, 36, 48, 60, 72)),
)
_HASHES = {
    "MD5": hashlib.md5,
    "SHA-256": hashlib.sha256,
    "SHA256": hashlib.sha256,
    "SHA": hashlib.sha256,
    "SHA-1": hashlib.sha1,
    "SHA-384": hashlib.sha384,
    "SHA-512": hashlib.sha512,
}


def sign(body: bytes, second_key: str, algorithm: str = "MD5") -> str:
    """The OpenPayu-Signature header: a plain hash of the body followed by the second key."""
    digest = _HASHES[algorithm](body + second_key.encode()).hexdigest()
    return f"sender=checkout;signature={digest};algorithm={algorithm};content=DOCUMENT"


@dataclass(frozen=True)
class Notification:
    """What is told: `key` is the object's id and its status, for PayU gives notifications no id of their own."""

    key: str
    url: str
    body: bytes


@dataclass(frozen=True)
class Delivery:
    """One try to deliver one notification. `status` is None when nothing answered."""

    key: str
    attempt: int
    status: int | None
    answer: str


@dataclass
class Switches:
    """How notifications go wrong. All off: in order, once, at once."""

    hour: float = 1.0  # How many seconds an hour of PayU's schedule takes.
    tries: int = 1 + len(RETRIES)
    copies: int = 1  # How often each one is sent although it was answered.
    order: str = "sent"  # "reversed" and "shuffled" turn the notifications of one happening around.
    lose: bool = False
    lose_rate: float = 0.0
    double_rate: float = 0.0
    timeout: float = 10.0
    algorithm: str = "MD5"


@dataclass
class Notifications:
    """Sends to one address at a time until it answers 200 or the schedule is used up."""

    url: str | None = None  # None: where each order says; "": nowhere.
    second_key: str = ""
    switches: Switches = field(default_factory=Switches)
    seed: int = 1
    sent: list[Notification] = field(default_factory=list)  # All that there was to tell, also what was lost.
    deliveries: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._condition = threading.Condition()
        self._queue: list[tuple[float, int, int, Notification]] = []
        self._count = itertools.count()
        self._in_flight = 0
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin sending."""
        self._thread = threading.Thread(target=self._run, name="fake-payu-notifications", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sending; what is queued is dropped."""
        with self._condition:
            self._is_stopping = True
            self._condition.notify_all()
        if self._thread:
            self._thread.join(self.switches.timeout)

    def announce(self, told: list[Notification], *, is_lost: bool = False) -> None:
        """Queue the notifications of one happening."""
        self.sent.extend(told)
        switches = self.switches
        if is_lost or switches.lose or self.url == "":
            return
        wanted = [one for one in told if self._random.random() >= switches.lose_rate]
        if switches.order == "reversed":
            wanted.reverse()
        elif switches.order == "shuffled":
            self._random.shuffle(wanted)
        for one in wanted:
            for _ in range(switches.copies + (self._random.random() < switches.double_rate)):
                self._put(0.0, 1, one)

    def resend(self, key: str) -> None:
        """Send one once more, as PayU's support can."""
        self._put(0.0, 1, next(one for one in reversed(self.sent) if one.key == key))

    def wait_idle(self, timeout: float = 10.0) -> None:
        """Wait until nothing is queued or under way. Raises TimeoutError."""
        with self._condition:
            if not self._condition.wait_for(lambda: not self._queue and not self._in_flight, timeout):
                raise TimeoutError(f"{len(self._queue)} notifications are still queued; last: {self.deliveries[-1:]}")

    def _put(self, delay: float, attempt: int, told: Notification) -> None:
        with self._condition:
            heapq.heappush(self._queue, (time.monotonic() + delay, next(self._count), attempt, told))
            self._condition.notify_all()

    def _next(self) -> tuple[int, Notification] | None:
        with self._condition:
            while not self._is_stopping:
                if not self._queue:
                    self._condition.wait()
                elif (wait := self._queue[0][0] - time.monotonic()) > 0:
                    self._condition.wait(wait)
                else:
                    _due, _order, attempt, told = heapq.heappop(self._queue)
                    self._in_flight += 1
                    return attempt, told
            return None

    def _run(self) -> None:
        while found := self._next():
            attempt, told = found
            status, answer = self._post(told)
            self.deliveries.append(Delivery(told.key, attempt, status, answer))
            if status != 200 and attempt < self.switches.tries:
                due = (0, *RETRIES)
                self._put((due[attempt] - due[attempt - 1]) * self.switches.hour / _HOUR, attempt + 1, told)
            with self._condition:
                self._in_flight -= 1
                self._condition.notify_all()

    def headers(self, body: bytes) -> dict[str, str]:
        """What goes along with a body."""
        signature = sign(body, self.second_key, self.switches.algorithm)
        return {
            "Content-Type": "application/json;charset=UTF-8",
            "User-Agent": "Apache-HttpClient/4.5.14 (Java/17)",
            "OpenPayu-Signature": signature,
            "X-OpenPayU-Signature": signature,
        }

    def _post(self, told: Notification) -> tuple[int | None, str]:
        parts = urlsplit(self.url or told.url)
        if not parts.hostname:
            return None, "no address is set"
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=self.switches.timeout)
        try:
            connection.request("POST", parts.path or "/", told.body, self.headers(told.body))
            response = connection.getresponse()
            return response.status, response.read(500).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return None, repr(error)
        finally:
            connection.close()
