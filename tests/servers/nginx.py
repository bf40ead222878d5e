"""A real nginx on free ports, without root's rights or Debian's configuration."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import processes

_MAIN = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  access_log {folder}/access.log;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{http}
}}
"""


class Refused(RuntimeError):
    """`nginx -t` found the configuration wrong; the message is nginx's own."""


@dataclass
class Nginx:
    """A server with its configuration in `folder`; `port` is the one it is waited for on."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def configure(self, http: str) -> None:
        """Write the configuration: `http` is what stands inside http { }."""
        (self.folder / "nginx.conf").write_text(_MAIN.format(folder=self.folder, http=http))

    def check(self) -> None:
        """`nginx -t`. Raises Refused."""
        done = subprocess.run([*self.command(), "-t", "-q"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Refused(done.stdout + done.stderr)

    def start(self) -> None:
        """Check, start, and wait until it accepts connections."""
        self.check()
        log = self.folder / "output.log"
        # Asked to end by SIGTERM it takes its workers along; killed it would leave them.
        self.process = processes.start(self.command(), log=log, death_signal=15)
        processes.wait_for_server(
            self.process, lambda: processes.accepts_connections(self.port), what="nginx", log=self.folder / "error.log"
        )

    def reload(self) -> None:
        """Check, then take the new configuration without closing a connection; nobody answers by the old one then."""
        self.check()
        before = self._workers()
        subprocess.run([*self.command(), "-s", "reload"], check=True, capture_output=True)
        processes.wait_until(lambda: not before & self._workers(), seconds=10, what="nginx to reload")

    def is_settled(self) -> bool:
        """Whether the newest configuration has the only worker: until the one before it has ended, either answers."""
        return len(self._children()) == 1

    def _workers(self) -> set[int]:
        """The processes that take connections; one that is shutting down only ends those it has."""
        found = set()
        for pid in self._children():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if "shutting down" not in Path(f"/proc/{pid}/cmdline").read_text():
                    found.add(pid)
        return found

    def _children(self) -> set[int]:
        if self.process is None:
            return set()
        master = self.process.pid
        return {int(pid) for pid in Path(f"/proc/{master}/task/{master}/children").read_text().split()}

    def stop(self) -> None:
        """End it with its workers."""
        if self.process is not None:
            processes.stop(self.process)
            self.process = None

    def errors(self) -> str:
        """What it wrote into its error log."""
        return (self.folder / "error.log").read_text(errors="replace")

    def command(self) -> list[str]:
        """What starts it, and with more words tests it or tells it something."""
        program = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or shutil.which("nginx")
        if program is None:
            raise RuntimeError("nginx is not installed: apt-get install nginx")
        return [program, "-e", str(self.folder / "error.log"), "-p", str(self.folder), "-c", "nginx.conf"]


@contextmanager
def prepared(port: int | None = None) -> Iterator[Nginx]:
    """A server that is not started yet: configure it, then `start()`. Gone with its folder at the end."""
    folder = Path(tempfile.mkdtemp(prefix="portal-nginx-", dir="/tmp"))
    folder.chmod(0o755)  # Started by root, its workers are nobody and must read what they serve.
    server = Nginx(folder, port or processes.free_port())
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(http: str, *, port: int) -> Iterator[Nginx]:
    """A server with this configuration inside http { }, which must listen on `port`."""
    with prepared(port) as server:
        server.configure(http)
        server.start()
        yield server
