"""Asking ClamAV whether a file is harmful, by clamd's INSTREAM command.

It is told the bytes over its socket, so it needs no access to our storage. It is no guard against bombs: a file that
unpacks to gigabytes is called clean. That is the measuring child's business.
"""

import re
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

from portal.core.errors import Unavailable

_CONNECT_SECONDS, _ANSWER_SECONDS = 3, 25
_ANSWER = re.compile(rb"stream: (?:(?P<clean>OK)|(?P<virus>.{1,200}) FOUND)\0?")


class ScannerAway(Unavailable):
    """clamd does not answer, or does not take the file: nobody knows whether it is harmful."""


def find_virus(pieces: Iterable[bytes], address: str) -> str | None:
    """The name of what was found, or None for a clean file. `address` is `host:port` or a socket's path.

    Raises ScannerAway; an unknown answer never counts as clean.
    """
    try:
        with _connect(address) as connection:
            return _verdict(_ask(connection, pieces))
    except OSError as error:
        raise ScannerAway(f"clamd at {address}: {type(error).__name__}") from error


def _connect(address: str) -> socket.socket:
    if address.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
    else:
        host, _, port = address.rpartition(":")
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS)
    connection.settimeout(_ANSWER_SECONDS)
    return connection


def _ask(connection: socket.socket, pieces: Iterable[bytes]) -> bytes:
    # One that finds something, or has enough, answers and hangs up before it has heard everything.
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(b"zINSTREAM\0")
        for piece in pieces:
            if piece:
                connection.sendall(struct.pack("!L", len(piece)) + piece)
        connection.sendall(struct.pack("!L", 0))
    answer = b""
    while not answer.endswith(b"\0") and len(answer) < 1_000 and (more := connection.recv(1_000)):
        answer += more
    return answer


def _verdict(answer: bytes) -> str | None:
    found = _ANSWER.fullmatch(answer)
    if found is None:
        raise ScannerAway(f"clamd answered {answer[:200]!r}")
    virus = found["virus"]
    return None if virus is None else virus.decode("utf-8", "replace")
