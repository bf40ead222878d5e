"""A merchant's program that listens to webhooks: real HTTP on loopback, and it answers as it is told to.

The signature is checked as https://www.standardwebhooks.com writes it, with nothing of the portal's.
"""

import base64
import hashlib
import hmac
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.fakes.serving import Serving


@dataclass(frozen=True)
class Received:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        """The spec: base64 of HMAC-SHA256 over id.timestamp.body; any of the signatures may match."""
        key = base64.b64decode(secret.split("_", 1)[1])
        text = f"{self.webhook_id}.{self.headers['webhook-timestamp']}.{self.body.decode()}"
        mine = base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()
        return f"v1,{mine}" in self.headers["webhook-signature"].split(" ")


@dataclass
class Receiver:
    """`with Receiver() as shop:` listens until the block ends; `answers` are used up, then `answer` is given."""

    answer: str = "200"
    host: str = "127.0.0.1"
    answers: list[str] = field(default_factory=list)
    location: str = ""
    received: list[Received] = field(default_factory=list)
    on_request: Callable[[], object] | None = None
    tls: Any = None

    def __enter__(self) -> Self:
        self._let_go = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer._serve(self)

            def do_GET(self) -> None:
                outer._serve(self)

            def log_message(self, *_args: object) -> None:
                return

        self._server = ThreadingHTTPServer((self.host, 0), Handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._serving = Serving(self._server, "receiver")
        return self

    def __exit__(self, *_error: object) -> None:
        self._let_go.set()
        self._serving.end()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hooks"

    @property
    def ids(self) -> list[str]:
        return [one.webhook_id for one in self.received]

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.received.append(Received(request.path, dict(request.headers.items()), body))
        if self.on_request is not None:
            self.on_request()
        answer = self.answers.pop(0) if self.answers else self.answer
        try:
            self._answer(request, answer)
        except OSError:
            return

    def _answer(self, request: BaseHTTPRequestHandler, answer: str) -> None:
        request.close_connection = True
        if answer == "hang":
            self._let_go.wait()
        elif answer == "drip":
            while not self._let_go.wait(0.02):
                request.wfile.write(b"H")
                request.wfile.flush()
        elif answer == "garbage":
            request.wfile.write(b"\x00\xff not http at all\r\n\r\n")
        elif answer == "close":
            return
        elif answer == "huge":
            request.send_response(200)
            request.end_headers()
            piece = b"\x00<script>x</script>" + b"a" * 8_000
            while not self._let_go.is_set():
                request.wfile.write(piece)
        else:
            request.send_response(int(answer))
            if self.location:
                request.send_header("Location", self.location)
            request.end_headers()
            request.wfile.write(b"taken <b>\x00\xff" if answer == "200" else b"no")
