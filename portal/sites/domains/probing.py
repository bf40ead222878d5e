"""Looking at a domain from outside, on our own addresses alone: where DNS leads at this moment is never connected to,
so no name that changes between two looks can send us anywhere."""

import hashlib
import http.client
import secrets
import socket
import ssl
import time
from collections.abc import Callable

CHALLENGES = "/.well-known/acme-challenge/"
_SECONDS = 5
_MOST_BYTES = 1_024
# A server that was told of a new configuration answers by the old one for a moment, and for another by both.
_MOMENT_SECONDS, _PAUSE_SECONDS = 2.0, 0.2


class NotReached(RuntimeError):
    """Nothing of ours answered; the message says at which address, and what was there instead."""


def patiently(look: Callable[[], str]) -> str:
    """What a look finds wrong, empty for nothing. What is right twice running, even if only in a moment, is right."""
    until = time.monotonic() + _MOMENT_SECONDS
    problem = look()
    while time.monotonic() < until:
        time.sleep(_PAUSE_SECONDS)
        before, problem = problem, look()
        if not before and not problem:
            break
    return problem


def challenge_problem(name: str, *, addresses: list[str], port: int, thumbprint: str) -> str:
    """What is wrong where an authority will look for its answer, at any of the addresses; empty for nothing."""
    asked = f"portal-{secrets.token_urlsafe(12)}"
    for address in addresses:
        connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
        try:
            connection.request("GET", f"{CHALLENGES}{asked}", headers={"Host": name, "Connection": "close"})
            answer = connection.getresponse()
            status, said = answer.status, answer.read(_MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            return f"{address}, port {port}: {_words(error)}"
        finally:
            connection.close()
        if status != 200 or said.strip() != f"{asked}.{thumbprint}".encode():
            return f"{address}, port {port}: HTTP {status}"
    return ""


def served_fingerprint(name: str, *, address: str, port: int) -> str:
    """The SHA-256 of the certificate that visitors get there. Raises NotReached.

    Whether it is valid is not asked: it is compared with the one we know.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((address, port), timeout=_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except (OSError, ssl.SSLError) as error:
        raise NotReached(f"{address}, port {port}: {_words(error)}") from None
    if shown is None:
        raise NotReached(f"{address}, port {port}: no certificate")
    return hashlib.sha256(shown).hexdigest()


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
