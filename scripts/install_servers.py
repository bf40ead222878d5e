"""Sees to the programs that the tests start (Redis, PostgreSQL, nginx, ClamAV, pebble, Chromium), from Debian.

As root it installs what is missing. Otherwise it names the one command to run and ends with an error:
a test that cannot reach its server must not pass for one that did.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

APT = ["apt-get", "-o", "DPkg::Lock::Timeout=300"]


def on_path(program: str) -> Callable[[], bool]:
    """Whether a program is installed; Debian keeps servers in folders that a user's PATH may lack."""
    return lambda: shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin") is not None


def has_postgresql() -> bool:
    """Whether any version's server is installed; Debian keeps these off the PATH."""
    return any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def has_font() -> bool:
    """Whether the browser has a font to fall back to; without one its text is empty boxes."""
    return any(Path("/usr/share/fonts").rglob("*.ttf"))


NEEDED: dict[str, Callable[[], bool]] = {
    "redis-server": on_path("redis-server"),
    "postgresql": has_postgresql,
    "nginx": on_path("nginx"),
    "chromium-headless-shell": on_path("chromium-headless-shell"),
    "clamav-daemon": on_path("clamd"),
    "pebble": on_path("pebble"),  # An ACME server: certificates for domains of customers.
    "wrk": on_path("wrk"),  # Load: for `make bench`, and for a site while it is deployed.
    "fonts-dejavu-core": has_font,
    "systemd": on_path("systemd-analyze"),  # Checks deploy/systemd; nothing of it runs.
}


def main() -> None:
    """Install what is missing, or say how to."""
    missing = [package for package, is_there in NEEDED.items() if not is_there()]
    if not missing:
        return
    install = [*APT, "install", "-y", "--no-install-recommends", *missing]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(
            f"The tests need these Debian packages: {', '.join(missing)}. Install them with\n\n"
            f"    sudo apt-get update && sudo {' '.join(install)}\n"
        )
    print(f"Installing {', '.join(missing)} with apt-get", flush=True)
    apt([*APT, "update", "-q"])
    apt([*install, "-q"])
    still = [package for package in missing if not NEEDED[package]()]
    if still:
        sys.exit(f"apt-get ended well, but there is still no {', '.join(still)}.")


def apt(command: list[str]) -> None:
    """Run apt-get without questions and stop at its failure."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed (exit code {done.returncode}).")


if __name__ == "__main__":
    main()
