"""Certificates on the disk of a site host: each under a name of its own, complete or not there, and private.

They lie beside nginx's generated files, outside of what is served. A new certificate is written before nginx is told
of it, and the old one is removed once nginx runs with the new one.
"""

import contextlib
import os
from pathlib import Path

from portal.config import Settings

_FOLDER = "certificates"
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600


def write(settings: Settings, domain_id: int, fingerprint: str, *, chain_pem: str, key_pem: str) -> tuple[Path, Path]:
    """The files of a certificate, its chain and its key; what is there already is left alone. Raises OSError."""
    folder = Path(settings.nginx_config_dir, _FOLDER)
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    chain, key = (folder / f"{_prefix(domain_id)}{fingerprint[:32]}.{ending}" for ending in ("crt", "key"))
    _write(key, key_pem)
    _write(chain, chain_pem)
    return chain, key


def keep_only(settings: Settings, domain_id: int, *paths: Path | None) -> None:
    """Remove a domain's other files, and what was never finished."""
    for found in Path(settings.nginx_config_dir, _FOLDER).glob(f"{_prefix(domain_id)}*"):
        if found not in paths:
            found.unlink(missing_ok=True)


def _prefix(domain_id: int) -> str:
    return f"{domain_id}-"


def _write(path: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if path.read_text() == text and path.stat().st_mode & 0o777 == _FILE_MODE:
            return
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
