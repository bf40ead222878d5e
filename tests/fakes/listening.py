"""What the fakes with pages share: a server on a free port of 127.0.0.1 that leaves no thread behind."""

import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Dropped(Exception):
    """The connection ends without an answer."""


@dataclass
class Request:
    """What came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # With names in lower case.
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        """The fields of a posted form."""
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}


@dataclass
class Answer:
    """What goes out."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    is_half: bool = False  # The connection ends in the middle of the body.


def json_answer(status: int, value: Any, **headers: str) -> Answer:
    """An answer in JSON; header names are written with underscores."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


def html_answer(status: int, text: str) -> Answer:
    """A page."""
    return Answer(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def redirect(target: str) -> Answer:
    """Go there, with GET."""
    return Answer(303, b"", {"Location": target})


class Server(ThreadingHTTPServer):
    """Answers each request in a thread of its own by `handle_with`, which may raise Dropped."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handle_with: Callable[[Request], Answer]) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.handle_with = handle_with
        self._open: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end(self) -> None:
        """Stop listening, and close what clients keep open."""
        self.shutdown()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not worth a traceback; a bug of a fake is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        named = {name.lower(): value for name, value in self.headers.items()}
        try:
            answer = self.server.handle_with(Request(self.command, parts.path, query, named, body))
        except Dropped:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body[: len(answer.body) // 2] if answer.is_half else answer.body)
        if answer.is_half:
            self.close_connection = True

    def do_POST(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The base class's name.
        """Stay quiet."""
