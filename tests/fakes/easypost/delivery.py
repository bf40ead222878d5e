"""Its webhooks: signed over the body, and over time, method and path; repeated until somebody says 2xx.

Written without the portal's own module, so that one cannot hide a mistake of the other.
"""

import hashlib
import hmac
import http.client
import json
import threading
import time
import unicodedata
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import urlsplit

# EasyPost waits seven seconds for an answer, and tries again up to six times.
TIMEOUT, TRIES = 7.0, 6
GAPS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def sign(secret: str, message: bytes) -> str:
    """One signature as its headers carry them."""
    key = unicodedata.normalize("NFKD", secret).encode()
    return "hmac-sha256-hex=" + hmac.new(key, message, hashlib.sha256).hexdigest()


def headers(secret: str, body: bytes, *, path: str, at: float | None = None, scheme: str = "both") -> dict[str, str]:
    """The headers of a delivery; `scheme` is "both", "body" (the older one alone) or "timed"."""
    stamp = formatdate(time.time() if at is None else at, usegmt=False)
    told = {"Content-Type": "application/json", "User-Agent": "EasyPost/v2"}
    if scheme in ("both", "body"):
        told["X-Hmac-Signature"] = sign(secret, body)
    if scheme in ("both", "timed"):
        told |= {
            "X-Timestamp": stamp,
            "X-Path": path,
            "X-Hmac-Signature-V2": sign(secret, f"{stamp}POST{path}".encode() + body),
        }
    return told


@dataclass
class Switches:
    """How webhooks are treated; nothing is sent until somebody switches it on."""

    is_on: bool = False
    copies: int = 1
    scheme: str = "both"
    gaps: tuple[float, ...] = GAPS


@dataclass
class Webhooks:
    """Sends events in the background."""

    url: str
    secret: str
    switches: Switches = field(default_factory=Switches)
    sent: list[tuple[str, int | None]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    _threads: list[threading.Thread] = field(default_factory=list)
    _is_over: threading.Event = field(default_factory=threading.Event)

    def announce(self, event: dict[str, Any]) -> None:
        """Something happened."""
        self.events.append(event)
        if not self.switches.is_on:
            return
        for _copy in range(self.switches.copies):
            thread = threading.Thread(target=self._deliver, args=(event,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self) -> None:
        """Until everything that was announced has been delivered or given up."""
        for thread in list(self._threads):
            thread.join()

    def stop(self) -> None:
        """Try nothing again."""
        self._is_over.set()
        self.wait()

    def post(self, event: dict[str, Any]) -> int | None:
        """One try; the status of the answer, None when there was none."""
        parts = urlsplit(self.url)
        body = json.dumps(event, separators=(",", ":")).encode()
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=TIMEOUT)
        try:
            path = parts.path or "/"
            told = headers(self.secret, body, path=path, scheme=self.switches.scheme)
            connection.request("POST", path, body, told)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def _deliver(self, event: dict[str, Any]) -> None:
        for gap in (*self.switches.gaps[:TRIES], 0.0):
            status = self.post(event)
            self.sent.append((event["id"], status))
            if status is not None and 200 <= status < 300:
                return
            if self._is_over.wait(gap):
                return
