"""What `make run` puts into the environment when nobody else has: development defaults, data in one folder."""

import base64
import contextlib
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")


class BadEnvironmentFile(ValueError):
    """A line of the .env file is not NAME=value."""


def environment(
    *, data: Path, port: int, sites_port: int, given: Mapping[str, str], env_file: Path | None = None
) -> dict[str, str]:
    """The children's environment: what was given wins over .env, and .env over the development defaults."""
    defaults = {
        "PORTAL_ENV": "development",
        "SECRET_KEY": _kept_secret(data / "secret_key"),
        # In the form of the Standard Webhooks, which the sandbox signs by.
        "SANDBOX_WEBHOOK_SECRET": _kept_secret(data / "sandbox_webhook_secret", prefix="whsec_"),
        "DATABASE_URL": f"sqlite:///{data / 'portal.db'}",
        "PORTAL_URL": f"http://localhost:{port}",
        "SITES_URL": f"http://sites.localhost:{sites_port}",
        "SITES_CHECK_URL": f"http://127.0.0.1:{sites_port}",
        "SITES_ROOT": str(data / "sites"),
        "STORAGE_URL": f"file://{data / 'storage'}",
        "EMAIL_BACKEND": "console",
        "MAILBOX_PATH": str(data / "mailbox"),
        "PYTHONUNBUFFERED": "1",
    }
    from_file = read_env_file(env_file) if env_file and env_file.is_file() else {}
    return defaults | from_file | dict(given)


def read_env_file(path: Path) -> dict[str, str]:
    """NAME=value lines, with # comments and optional quotes, as systemd reads them. Raises BadEnvironmentFile."""
    values = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise BadEnvironmentFile(f"{path.name}, line {number}: expected NAME=value")
        name, value = match.groups()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name] = value
    return values


def _kept_secret(path: Path, *, prefix: str = "") -> str:
    """A secret of this data folder, made once: sessions survive a restart, and no two checkouts share it."""
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(prefix + base64.b64encode(secrets.token_bytes(48)).decode())
    return path.read_text().strip()
