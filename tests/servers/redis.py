"""A Redis server of the tests' own: Debian's redis-server or the embedded Valkey, with an append-only file."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from portal.dev import valkey
from tests.servers import processes


class Kind(StrEnum):
    """Which server: the one of production's distribution, or the one `make run` embeds."""

    DEBIAN = "redis-server"
    EMBEDDED = "valkey"


@dataclass
class RedisServer:
    """A running server that can be killed and brought back on the same address and data."""

    folder: Path
    port: int
    kind: Kind = Kind.DEBIAN
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        """What REDIS_URL is for it: the embedded one listens on a socket only."""
        if self.kind is Kind.EMBEDDED:
            return f"unix://{self.folder / 'valkey.sock'}"
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "Redis":
        """A client of it."""
        return Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=1)

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.folder / "log"
        self.process = processes.start(self._command(), log=log)
        processes.wait_for_server(self.process, self._answers, what=f"Redis ({self.kind})", log=log)

    def kill(self) -> None:
        """End it at once, as a crash does."""
        if self.process is not None:
            processes.kill(self.process)
            self.process = None

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            processes.stop(self.process)
            self.process = None

    def _command(self) -> list[str]:
        if self.kind is Kind.EMBEDDED:
            parts = valkey.command(valkey.find_server(), self.folder / "valkey.sock", self.folder)
            return [str(part) for part in parts]
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("Redis is not installed: apt-get install redis-server")
        return [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
            "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
        ]  # fmt: skip

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except RedisError:
            return False


@contextmanager
def running(kind: Kind = Kind.DEBIAN) -> Iterator[RedisServer]:
    """A fresh, empty server, gone with its data at the end."""
    folder = Path(tempfile.mkdtemp(prefix="portal-redis-", dir="/tmp"))
    server = RedisServer(folder, processes.free_port(), kind)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
