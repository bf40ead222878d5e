"""The sockets under a fake company: a threading HTTP server that ends when it is told to."""

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any


class Dropped(Exception):
    """The connection ends without an answer."""


class Serving:
    """A server in a thread of its own. It ends at once: `shutdown` of the standard library waits until somebody looks,
    which a thousand tests would feel."""

    def __init__(self, server: TCPServer, name: str) -> None:
        self._server = server
        self._is_ending = False
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Take no connection any more; those that are open stay."""
        self._is_ending = True
        _shut(self._server.socket)  # Whoever waits for a connection wakes.
        self._thread.join()
        self._server.server_close()

    def _serve(self) -> None:
        while not self._is_ending:
            self._server.handle_request()


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(server: TCPServer) -> Iterator[str]:
    """Let a server of a test's own answer while the block lasts; gives its address."""
    running = Serving(server, "server of a test")
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        running.end()


class Server(ThreadingHTTPServer):
    """Listens on 127.0.0.1; `owner` is the fake that its handler speaks for."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler], owner: Any) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.owner = owner
        self._open: set[socket.socket] = set()

    def run(self, name: str) -> None:
        """Serve in a thread."""
        self._serving = Serving(self, name)

    def end(self) -> None:
        """Stop serving, open connections included: clients keep them, and their threads would outlive the server."""
        self._serving.end()
        for connection in list(self._open):
            _shut(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is not worth a traceback; a bug of the fake is."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Reads a request whole, and hands it to `answer`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # Or each answer waits 40 ms for the client's acknowledgement of its headers.
    server: Server

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_DELETE(self) -> None:
        self._handle("DELETE")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # The name is the base class's.
        """Stay quiet."""

    def answer(self, method: str, body: bytes) -> None:
        """Answer the request. May raise Dropped."""
        raise NotImplementedError

    def send(self, status: int, body: bytes, headers: dict[str, str], *, is_half: bool = False) -> None:
        """Send an answer, or the first half of it."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_half else body)
        if is_half:
            self.close_connection = True

    def _handle(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.answer(method, body)
        except Dropped:
            self.close_connection = True
