"""One HTTP request to a merchant's program: to a checked address, within a limited time, answered by anything at all.

By the standard library's connection: it follows no redirect, reads no proxy from the environment, asks no resolver
when it is handed a connected socket, and sends what it is given.
"""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from flask_babel import force_locale

from portal.merchants.outbound import guard
from portal.merchants.outbound.errors import RefusedAddress
from portal.merchants.outbound.wording import REFUSED

SECONDS = 10.0
MOST_READ = 64 * 1024
KEPT = 4 * 1024
_PIECE = 8 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a request went: a code when there was an answer, else what was wrong."""

    http_code: int | None
    body: str
    error: str | None
    duration_ms: int

    @property
    def is_delivered(self) -> bool:
        """Any 2xx says that the event was taken."""
        return self.http_code is not None and 200 <= self.http_code < 300 and self.error is None

    @property
    def is_gone(self) -> bool:
        """410: nobody wants to be told any more."""
        return self.http_code == 410


class _Deadline:
    """Shuts a socket down when its time is over: a time-out of each read alone lets a drip go on for hours."""

    def __init__(self, seconds: float) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self.is_over = False
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def guards(self, connection: socket.socket) -> None:
        with self._lock:
            self._socket = connection
        if self.is_over:
            raise TimeoutError

    def _end(self) -> None:
        with self._lock:
            self.is_over = True
            if self._socket is not None:
                try:
                    # Past TLS, which would want to say goodbye first.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                except OSError:
                    return

    def cancel(self) -> None:
        self._timer.cancel()
        with self._lock:
            self._socket = None


def post(url: str, body: bytes, headers: Mapping[str, str], *, mode: str, loopback: bool) -> Outcome:
    """Send a body to an address. Never raises for what is at the other end. Call it outside any transaction."""
    began = time.monotonic()
    code, text, error = None, "", None
    deadline = _Deadline(SECONDS)
    try:
        code, text = _exchange(url, body, headers, deadline, mode=mode, loopback=loopback)
    except RefusedAddress as refusal:
        with force_locale("en"):
            error = f"{REFUSED}{refusal}"
    except (OSError, http.client.HTTPException, ValueError) as trouble:
        error = _words(trouble)
    finally:
        deadline.cancel()
    if deadline.is_over and code is None:
        error = f"no complete answer within {SECONDS:.0f} seconds"
    return Outcome(code, text, error[:300] if error else None, round((time.monotonic() - began) * 1000))


def _exchange(
    url: str, body: bytes, headers: Mapping[str, str], deadline: _Deadline, *, mode: str, loopback: bool
) -> tuple[int, str]:
    target = guard.read_url(url, mode=mode, loopback=loopback)
    addresses = guard.addresses_of(target, mode=mode, loopback=loopback)
    connected = _connect(addresses, target, deadline)
    connection = http.client.HTTPConnection(target.host, target.port)
    connection.sock = connected
    try:
        connection.putrequest("POST", target.path, skip_host=True, skip_accept_encoding=True)
        sent = {"Host": target.host_header, **headers, "Content-Length": str(len(body)), "Connection": "close"}
        for name, value in sent.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        with connection.getresponse() as response:
            return response.status, _read(response)
    finally:
        connection.close()
        connected.close()


def _connect(addresses: list[str], target: guard.Target, deadline: _Deadline) -> socket.socket:
    """Connect to the first address that takes the connection; each was checked, and none is resolved again."""
    trouble: OSError = OSError("the host has no address")
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(SECONDS)
            deadline.guards(plain)
            plain.connect((address, target.port))
            return plain if target.scheme == "http" else _secured(plain, target.host, deadline)
        except OSError as error:
            plain.close()
            trouble = error
            if deadline.is_over or isinstance(error, ssl.SSLError):
                break
    raise trouble


def _secured(plain: socket.socket, host: str, deadline: _Deadline) -> socket.socket:
    """TLS for the name in the address, whichever machine it was resolved to."""
    wrapped = strangers_tls().wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
    try:
        deadline.guards(wrapped)
        wrapped.do_handshake()
    except OSError:
        wrapped.close()
        raise
    return wrapped


def strangers_tls() -> ssl.SSLContext:
    """For servers that anybody may run: the system's authorities, certificates and names verified."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _read(response: http.client.HTTPResponse) -> str:
    """The beginning of an answer as text that a database takes. An answer that breaks off still had its code."""
    kept, total = b"", 0
    try:
        while total < MOST_READ:
            piece = response.read1(min(_PIECE, MOST_READ - total))
            if not piece:
                break
            total += len(piece)
            kept += piece[: KEPT - len(kept)]
    except (OSError, http.client.HTTPException, ValueError):
        pass
    return kept.decode("utf-8", "replace").replace("\x00", "\ufffd")


def _words(trouble: Exception) -> str:
    """What went wrong, without anything of the inside."""
    if isinstance(trouble, ssl.SSLCertVerificationError):
        return f"TLS: {trouble.verify_message}"
    if isinstance(trouble, ssl.SSLError):
        return f"TLS: {trouble.reason or 'the connection could not be secured'}"
    if isinstance(trouble, TimeoutError):
        return f"no complete answer within {SECONDS:.0f} seconds"
    if isinstance(trouble, http.client.HTTPException | ValueError):
        return f"the answer is not HTTP ({type(trouble).__name__})"
    return str(getattr(trouble, "strerror", None) or trouble)
