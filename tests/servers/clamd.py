"""A ClamAV daemon of the tests' own, which knows one signature: that of the harmless EICAR test file."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import processes

# In two halves, so that no scanner takes this file for the test file.
EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*").encode()
SIGNATURE = "Test.EICAR.Body"


def _program() -> str:
    program = shutil.which("clamd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        raise RuntimeError("ClamAV is not installed: apt-get install clamav-daemon")
    return program


@contextmanager
def running() -> Iterator[tuple[str, str]]:
    """A running daemon: its socket's path, and host:port, as CLAMD_ADDRESS takes them."""
    folder = Path(tempfile.mkdtemp(prefix="portal-clamd-", dir="/tmp"))
    port, path = processes.free_port(), folder / "clamd.sock"
    database = folder / "database"
    database.mkdir()
    (database / "local.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
    config = folder / "clamd.conf"
    config.write_text(
        f"DatabaseDirectory {database}\nLocalSocket {path}\nTCPSocket {port}\nTCPAddr 127.0.0.1\n"
        f"TemporaryDirectory {folder}\nStreamMaxLength 110M\nMaxScanSize 120M\nMaxFileSize 110M\nForeground yes\n"
    )
    log = folder / "log"
    process: subprocess.Popen[bytes] = processes.start([_program(), "--config-file", str(config)], log=log)
    try:
        processes.wait_for_server(process, lambda: _answers(port), seconds=60, what="clamd", log=log)
        yield str(path), f"127.0.0.1:{port}"
    finally:
        processes.stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
        connection.sendall(b"zPING\0")
        return connection.recv(10).startswith(b"PONG")
