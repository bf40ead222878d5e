"""A PostgreSQL server of the tests' own, in a temporary folder on a free loopback port."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from tests.servers import processes

# Nothing here survives the machine, so nothing waits for its disk. Commits stay synchronous: a commit that was
# answered must survive `stop("immediate")`, or a fault test would blame the portal for it. Compiling a query to machine
# code never pays here: tables are small.
_SETTINGS = ("fsync=off", "full_page_writes=off", "max_connections=200", "jit=off")
# For measurements: what a production server does at each commit.
_DURABLE_SETTINGS = ("max_connections=200",)
_STOP = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def binaries() -> Path:
    """The folder of PostgreSQL's programs: Debian's, else whatever is on the PATH."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if installed:
        return installed[-1].parent
    found = shutil.which("initdb")
    if found is None:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return Path(found).resolve().parent


def _as_postgres(command: list[str]) -> list[str]:
    """The server refuses to run as root; changing the user clears the death signal, so it is asked for anew."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig=QUIT", *command]


@dataclass
class Postgres:
    """A server that can be crashed and brought back on the same port and data."""

    folder: Path
    port: int
    settings: tuple[str, ...] = _SETTINGS
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def url(self, database: str) -> str:
        """What DATABASE_URL is for one of its databases."""
        return f"postgresql+psycopg://portal@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """A connection beside the application's, each statement a transaction."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="portal", dbname=database, autocommit=True, connect_timeout=2
        )

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, empty or a copy of `template` (which nobody may be using), and return its URL."""
        with self.connect() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def set_read_only(self, name: str, *, read_only: bool) -> None:
        """Refuse writes to a database from now on, open connections included (they are closed); or allow them."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = {}").format(
                    sql.Identifier(name), sql.Literal(read_only)
                )
            )
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])

    def start(self) -> None:
        """Start it on its port; waits until it answers."""
        command = [str(binaries() / "postgres"), "-D", str(self.folder / "data"), "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", str(self.folder)]
        for setting in self.settings:
            command += ["-c", setting]
        log = self.folder / "log"
        self.process = processes.start(_as_postgres(command), log=log, cwd=Path("/"), death_signal=signal.SIGQUIT)
        processes.wait_for_server(self.process, self._answers, what="PostgreSQL", log=log)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `fast` lets it close its books, `immediate` is a crash."""
        if self.process is not None:
            processes.stop(self.process, first=_STOP[mode])
            self.process = None

    def restart(self, mode: str = "immediate") -> None:
        """Stop and start it again on the same port and data."""
        self.stop(mode)
        self.start()

    def _answers(self) -> bool:
        try:
            with self.connect():
                return True
        except psycopg.OperationalError:
            return False


@contextmanager
def running(*, is_durable: bool = False) -> Iterator[Postgres]:
    """A fresh server with the user `portal`, gone with its data at the end."""
    # Directly under /tmp: the user postgres cannot reach into root's home or a test's private folder.
    folder = Path(tempfile.mkdtemp(prefix="portal-pg-", dir="/tmp"))
    server = Postgres(folder, processes.free_port(), settings=_DURABLE_SETTINGS if is_durable else _SETTINGS)
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        initdb = [str(binaries() / "initdb"), "-D", str(folder / "data"), "-U", "portal", "--auth=trust"]
        initdb += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        subprocess.run(_as_postgres(initdb), check=True, stdout=subprocess.DEVNULL, cwd="/")
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
