"""A sender of Standard Webhooks: signed over `<id>.<time>.<body>`, and again until the receiver says 2xx.

Written without the portal's own module, so that one cannot hide a mistake of the other.
"""

import base64
import hashlib
import hmac
import http.client
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.fakes.stripe.delivery import Switches, Webhooks

# Seconds from each failure to the next try; what Svix documents, and what the guide for One.com asks for.
GAPS = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
# How much faster a test lives.
FASTER = 1_000.0


def signature(secret: str, webhook_id: str, at: int, body: bytes) -> str:
    """One `v1,` signature with a `whsec_` secret."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    message = f"{webhook_id}.{at}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode()


def headers(secrets: list[str], webhook_id: str, body: bytes, *, at: int, prefix: str = "webhook") -> dict[str, str]:
    """The three headers of a delivery, with a signature for each secret in use."""
    marks = [signature(secret, webhook_id, at, body) for secret in secrets]
    return {f"{prefix}-id": webhook_id, f"{prefix}-timestamp": str(at), f"{prefix}-signature": " ".join(marks)}


def quick_switches(**changes: Any) -> Switches:
    """Everything is sent, and retried in the documented rhythm, a thousand times faster."""
    usual: dict[str, Any] = {
        "gaps": tuple(max(0.02, gap / FASTER) for gap in GAPS), "enabled_events": ("*",), "timeout": 15.0,
    }  # fmt: skip
    return Switches(**{**usual, **changes})


@dataclass
class StandardWebhooks(Webhooks):
    """Each event is `{"id", "type", "body"}`: the bytes of the body and the id are the same on every try."""

    prefix: str = "webhook"
    agent: str = "Svix-Webhooks/1.56.0"

    def _post(self, event: dict[str, Any]) -> tuple[int | None, str]:
        parts = urlsplit(self.url)
        if not parts.hostname:
            return None, "no webhook address is set"
        body: bytes = event["body"]
        # A retry is signed afresh, so that a late one is not refused for its age.
        signed = headers(self.secrets, event["id"], body, at=int(time.time()) + self.switches.skew, prefix=self.prefix)
        connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=self.switches.timeout)
        try:
            told = {"Content-Type": "application/json", "User-Agent": self.agent, **signed}
            connection.request("POST", parts.path or "/", body, told)
            response = connection.getresponse()
            # A redirect is a failure, as it is for Svix.
            return response.status, response.read(500).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            return None, repr(error)
        finally:
            connection.close()
