"""Pebble, the ACME server of Let's Encrypt for tests: it looks at domains through our name server and at our nginx."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers import certificates, processes


@dataclass
class Pebble:
    """An authority; its directory is at `url`, and `root` is what clients must trust to speak to it."""

    folder: Path
    port: int
    root: Path
    dns: str
    http_port: int
    # Of a hundred requests so many are refused for their nonce, as a busy authority does; two refusals running are
    # trouble of its own, and waited for.
    refused_nonces: int = 1
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def url(self) -> str:
        """Its directory."""
        return f"https://localhost:{self.port}/dir"

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        program = shutil.which("pebble")
        if program is None:
            raise RuntimeError("pebble is not installed: apt-get install pebble")
        log = self.folder / "pebble.log"
        # Each order looks at its names anew: what was seen an hour ago says nothing here.
        environment = processes.clean_environment(
            PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT=str(self.refused_nonces), PEBBLE_AUTHZREUSE="0"
        )
        command = [program, "-config", str(self.folder / "pebble.json"), "-dnsserver", self.dns]
        self.process = processes.start(command, log=log, environment=environment)
        processes.wait_for_server(
            self.process, lambda: processes.accepts_connections(self.port), what="pebble", log=log
        )

    def stop(self) -> None:
        """End it: an authority that is away."""
        if self.process is not None:
            processes.stop(self.process)
            self.process = None

    def orders(self) -> int:
        """How many orders it took; one with a nonce that it refused was none."""
        return self.log().count("Added order ")

    def log(self) -> str:
        """What it wrote."""
        return (self.folder / "pebble.log").read_text(errors="replace")


@contextmanager
def running(*, dns: str, http_port: int, refused_nonces: int = 1) -> Iterator[Pebble]:
    """An authority that asks this name server, and looks at domains on this port."""
    folder = Path(tempfile.mkdtemp(prefix="portal-pebble-", dir="/tmp"))
    own = certificates.make(folder)
    server = Pebble(folder, processes.free_port(), own.root, dns, http_port, refused_nonces)
    (folder / "pebble.json").write_text(
        json.dumps(
            {
                "pebble": {
                    "listenAddress": f"127.0.0.1:{server.port}",
                    "managementListenAddress": f"127.0.0.1:{processes.free_port()}",
                    "certificate": str(own.chain),
                    "privateKey": str(own.key),
                    "httpPort": http_port,
                    "tlsPort": processes.free_port(),
                    "ocspResponderURL": "",
                    "externalAccountBindingRequired": False,
                }
            }
        )
    )
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
