"""A site host for tests: a real nginx that includes what the deploy worker writes, and visitors who never stop."""

import http.client
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.servers import nginx, processes

HOST = "sites.localhost"


@dataclass
class SiteHost:
    """nginx with an empty folder for generated files; not started before it is told to."""

    server: nginx.Nginx
    root: Path
    check_port: int
    idle_port: int

    @property
    def port(self) -> int:
        """Where visitors come."""
        return self.server.port

    @property
    def config(self) -> Path:
        """Where the generated files go."""
        return self.server.folder / "sites.d"

    def settings(self, **changes: str) -> dict[str, str]:
        """What the portal's settings say about this host."""
        command = " ".join(self.server.command())
        return {
            "sites_root": str(self.root),
            "sites_url": f"http://{HOST}:{self.port}",
            "sites_check_url": f"http://127.0.0.1:{self.check_port}",
            "nginx_config_dir": str(self.config),
            "nginx_test_command": f"{command} -t -q",
            "nginx_reload_command": f"{command} -s reload",
            "nginx_listen": f"127.0.0.1:{self.port}",
            **changes,
        }


@contextmanager
def site_host(*, start: bool = True) -> Iterator[SiteHost]:
    """A site host; gone with its folders at the end."""
    with nginx.prepared() as server:
        host = SiteHost(server, server.folder / "sites", processes.free_port(), processes.free_port())
        host.config.mkdir()
        host.root.mkdir()
        # nginx listens somewhere before the first deployment: a test of configuration needs a running one to reload.
        server.configure(f"include {host.config}/*.conf;\nserver {{ listen 127.0.0.1:{host.idle_port}; return 204; }}")
        if start:
            begin(host)
        yield host


def begin(host: SiteHost) -> None:
    """Start nginx and wait on its idle port: it serves no sites yet."""
    wanted, host.server.port = host.server.port, host.idle_port
    host.server.start()
    host.server.port = wanted


def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request on a connection of its own: status, headers, body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": HOST, "Connection": "close", **headers})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def secure_get(
    port: int, name: str, path: str = "/", *, address: str = "127.0.0.1"
) -> tuple[int, dict[str, str], bytes]:
    """One request by HTTPS; whether the certificate is one of the authority's is not asked, its name is."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection(address, port, timeout=10, context=context)
    try:
        connection.sock = context.wrap_socket(
            socket.create_connection((address, port), timeout=10), server_hostname=name
        )
        connection.request("GET", path, headers={"Host": name, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@dataclass
class Visitors:
    """Loads one page again and again, each time on a fresh connection, and keeps count of what came."""

    port: int
    path: str
    answers: Counter[tuple[int, bytes]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for _ in range(2):
            thread = threading.Thread(target=self._visit)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_problem: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _visit(self) -> None:
        while not self._stop.is_set():
            try:
                status, _headers, body = get(self.port, self.path)
                self.answers[status, body] += 1
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            time.sleep(0.005)


@dataclass
class Load:
    """wrk at one page, as fast as it is answered on connections that stay open; its verdict when it has ended."""

    requests: int = 0
    failed: list[str] = field(default_factory=list)


@contextmanager
def load(port: int, path: str, folder: Path) -> Iterator[Load]:
    """Visitors without end while the block runs, five minutes at most."""
    log, found = folder / "wrk.log", Load()
    command = [
        "wrk",
        "-t1",
        "-c4",
        "-d300s",
        "--timeout",
        "10s",
        "-H",
        f"Host: {HOST}",
        f"http://127.0.0.1:{port}{path}",
    ]
    process = processes.start(command, log=log)
    try:
        yield found
        assert process.poll() is None, log.read_text()
    finally:
        processes.stop(process, first=signal.SIGINT)
    report = log.read_text()
    [count] = re.findall(r"(\d+) requests in", report)
    found.requests = int(count)
    # wrk is silent about what did not happen.
    found.failed = re.findall(r"Non-2xx or 3xx responses: .*|Socket errors: .*", report)


@contextmanager
def small_disk(folder: Path, *, kilobytes: int) -> Iterator[Path]:
    """A file system of its own that is soon full. Needs the right to mount, as in the containers tests run in."""
    folder.mkdir(parents=True, exist_ok=True)
    mount, umount = shutil.which("mount") or "mount", shutil.which("umount") or "umount"
    subprocess.run([mount, "-t", "tmpfs", "-o", f"size={kilobytes}k,mode=755", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run([umount, str(folder)], check=False)
        if sys.exc_info()[0] is None:
            assert not folder.is_mount()
