"""Backs up the portal's database and stored files, and restores them.

    backup.py make FOLDER        write FOLDER/portal-<time>/, then remove backups older than BACKUP_DAYS (14)
    backup.py restore BACKUP     put one back; an existing database is replaced only with --replace

Reads DATABASE_URL and STORAGE_URL from the environment, as the portal does. Redis is not backed up: it holds
nothing that the database does not. Files in S3 are not copied either: switch on the bucket's versioning.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

PREFIX = "portal-"
TIME = "%Y%m%dT%H%M%SZ"
SUMS = "SHA256SUMS"
FILES = "files.tar.gz"
POSTGRES_DUMP, SQLITE_COPY = "database.dump", "database.sqlite3"


class Failed(Exception):
    """The backup was not made, or not restored; the message says why."""


def main() -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make", help="make a backup")
    making.add_argument("folder", type=Path)
    restoring = commands.add_parser("restore", help="put a backup back")
    restoring.add_argument("backup", type=Path)
    restoring.add_argument("--replace", action="store_true", help="even if the database has tables already")
    arguments = parser.parse_args()
    try:
        if arguments.command == "make":
            print(make(arguments.folder, datetime.now(UTC)))
        else:
            restore(arguments.backup, replace=arguments.replace)
            print(f"{arguments.backup.name} is restored. Start the portal; its worker takes up what was left open.")
    except Failed as error:
        sys.exit(f"Failed: {error}")


def make(folder: Path, at: datetime) -> Path:
    """Make a backup and remove the old ones; answers where it is. Raises Failed, and then leaves the old ones."""
    os.umask(0o077)  # Everybody's names and addresses are in it.
    folder.mkdir(parents=True, exist_ok=True)
    finished = folder / f"{PREFIX}{at.strftime(TIME)}"
    partial = folder / f".{finished.name}.partial"
    partial.mkdir()
    try:
        # The database first: every file that its rows name is then in the later copy of the files.
        _dump_database(partial)
        _pack_files(partial)
        _write_sums(partial)
        partial.rename(finished)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    _remove_old(folder, at - timedelta(days=int(os.environ.get("BACKUP_DAYS", "14"))))
    return finished


def restore(backup: Path, *, replace: bool) -> None:
    """Check a backup and put it back. Raises Failed before anything is changed when it is damaged."""
    _check_sums(backup)
    if not replace and _has_tables():
        raise Failed("the database has tables already. Give --replace to overwrite it")
    _load_database(backup)
    _unpack_files(backup)


def _dump_database(target: Path) -> None:
    url = _setting("DATABASE_URL")
    if url.startswith("sqlite:///"):
        source = Path(url.removeprefix("sqlite:///"))
        if not source.is_file():
            raise Failed(f"there is no database at {source}")
        # SQLite's own online copy: consistent, though the portal goes on writing.
        with (
            contextlib.closing(sqlite3.connect(source)) as original,
            contextlib.closing(sqlite3.connect(target / SQLITE_COPY)) as copy,
        ):
            original.backup(copy)
    else:
        _run(["pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--file", str(target / POSTGRES_DUMP)])


def _load_database(backup: Path) -> None:
    url = _setting("DATABASE_URL")
    if url.startswith("sqlite:///"):
        copy = backup / SQLITE_COPY
        _expect(copy)
        target = Path(url.removeprefix("sqlite:///"))
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            contextlib.closing(sqlite3.connect(copy)) as original,
            contextlib.closing(sqlite3.connect(target)) as database,
        ):
            original.backup(database)
    else:
        _expect(backup / POSTGRES_DUMP)
        _run(
            ["pg_restore", "--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction",
             "--exit-on-error", "--dbname", _postgres_environment()["PGDATABASE"], str(backup / POSTGRES_DUMP)]
        )  # fmt: skip


def _has_tables() -> bool:
    url = _setting("DATABASE_URL")
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not path.exists():
            return False
        with contextlib.closing(sqlite3.connect(path)) as database:
            return database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    query = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"
    return _run(["psql", "--no-psqlrc", "--tuples-only", "--no-align", "--command", query]).strip() != "0"


def _pack_files(target: Path) -> None:
    folder = _files_folder()
    if folder is not None and folder.is_dir():
        with tarfile.open(target / FILES, "w:gz") as archive:
            archive.add(folder, arcname=".")


def _unpack_files(backup: Path) -> None:
    folder = _files_folder()
    archive_path = backup / FILES
    if folder is None or not archive_path.exists():
        return
    # Beside, then swapped: a restore that breaks off leaves the files that were there.
    arriving, leaving = folder.with_name(f"{folder.name}.restoring"), folder.with_name(f"{folder.name}.replaced")
    for path in (arriving, leaving):
        shutil.rmtree(path, ignore_errors=True)
    arriving.mkdir(parents=True)
    with tarfile.open(archive_path) as archive:
        # Python before 3.11.4 has no filters; the checksums say that the archive is our own.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _path: member)
        archive.extractall(arriving)  # noqa: S202  # filtered by the line above
    if folder.exists():
        folder.rename(leaving)
    arriving.rename(folder)
    shutil.rmtree(leaving, ignore_errors=True)


def _files_folder() -> Path | None:
    url = _setting("STORAGE_URL")
    return Path(unquote(urlsplit(url).path)) if url.startswith("file://") else None


def _write_sums(folder: Path) -> None:
    lines = [f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / SUMS).write_text("".join(lines))


def _check_sums(folder: Path) -> None:
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except OSError as error:
        raise Failed(f"{folder} is not a finished backup ({error.strerror})") from error
    for line in lines:
        digest, _, name = line.partition("  ")
        path = folder / Path(name).name
        if not path.is_file() or _digest(path) != digest:
            raise Failed(f"{path} is damaged or missing")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_old(folder: Path, before: datetime) -> None:
    for path in folder.glob(f"{PREFIX}*"):
        with contextlib.suppress(ValueError):  # Somebody else's file is not ours to remove.
            if datetime.strptime(path.name.removeprefix(PREFIX), TIME).replace(tzinfo=UTC) < before:
                shutil.rmtree(path)


def _expect(path: Path) -> None:
    if not path.exists():
        raise Failed(f"this backup is of the other kind of database: it has no {path.name}")


def _setting(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise Failed(f"{name} is not set; on a server it is in /etc/portal/portal.env")
    return value


def _postgres_environment() -> dict[str, str]:
    """The address for PostgreSQL's programs, by environment: on a command line everybody could read the password."""
    parts = urlsplit(_setting("DATABASE_URL"))
    host = unquote(parts.hostname or "") or parse_qs(parts.query).get("host", [""])[0]
    values = {
        "PGHOST": host,
        "PGPORT": str(parts.port or ""),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.removeprefix("/")),
    }
    return {name: value for name, value in values.items() if value}


def _run(command: list[str]) -> str:
    environment = {**os.environ, **_postgres_environment()}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failed(f"{command[0]} cannot be started ({error.strerror}); apt-get install postgresql-client") from error
    if done.returncode:
        raise Failed(f"{command[0]} ended with code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
