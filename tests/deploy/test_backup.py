"""deploy/backup.py: what was backed up comes back, on both databases, and damage is noticed before it spreads."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers import postgres, processes

pytestmark = pytest.mark.xdist_group("deploy_backup")

ROOT = Path(__file__).resolve().parent.parent.parent
PICTURE = b"\x89PNG a picture"


@dataclass
class Installation:
    """A database and a folder of files, as the portal would have them."""

    url: str
    files: Path
    server: postgres.Postgres | None

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        if self.server is not None:
            with self.server.connect("backup") as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        with contextlib.closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as database, database:
            return database.execute(statement).fetchall()

    def run(self, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        env = processes.clean_environment(DATABASE_URL=self.url, STORAGE_URL=f"file://{self.files}") | environment
        command = [sys.executable, str(ROOT / "deploy" / "backup.py"), *(str(part) for part in arguments)]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def backup(self, folder: Path) -> Path:
        done = self.run("make", folder)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Installation:
    files = tmp_path / "storage"
    (files / "uploads").mkdir(parents=True)
    (files / "uploads" / "picture.png").write_bytes(PICTURE)
    if request.param == "sqlite":
        shop = Installation(f"sqlite:///{tmp_path / 'portal.db'}", files, None)
    else:
        running: postgres.Postgres = request.getfixturevalue("server")
        # A password that would break a URL pasted together by hand.
        url = running.create_database("backup").replace("portal@", "portal:p%40ss%2Fword@")
        shop = Installation(url, files, running)
    shop.execute("CREATE TABLE orders (number text PRIMARY KEY, total_minor integer NOT NULL)")
    shop.execute("INSERT INTO orders VALUES ('ORD-1', 4900), ('ORD-Ż', 12300)")
    return shop


ORDERS = [("ORD-1", 4900), ("ORD-Ż", 12300)]


def test_what_was_lost_comes_back(shop: Installation, tmp_path: Path) -> None:
    backup = shop.backup(tmp_path / "backups")
    shop.execute("DELETE FROM orders")
    shop.execute("CREATE TABLE later (number text)")
    (shop.files / "uploads" / "picture.png").write_bytes(b"broken")
    (shop.files / "later.txt").write_text("not in the backup")
    done = shop.run("restore", backup, "--replace")
    assert done.returncode == 0, done.stderr
    assert shop.execute("SELECT number, total_minor FROM orders ORDER BY number") == ORDERS
    assert (shop.files / "uploads" / "picture.png").read_bytes() == PICTURE
    assert [path.name for path in shop.files.iterdir()] == ["uploads"]


def test_a_database_in_use_is_not_overwritten_by_mistake(shop: Installation, tmp_path: Path) -> None:
    backup = shop.backup(tmp_path / "backups")
    shop.execute("INSERT INTO orders VALUES ('ORD-3', 1)")
    done = shop.run("restore", backup)
    assert done.returncode == 1
    assert "--replace" in done.stderr
    assert shop.execute("SELECT count(*) FROM orders") == [(3,)]


def test_a_damaged_backup_is_refused_before_anything_changes(shop: Installation, tmp_path: Path) -> None:
    backup = shop.backup(tmp_path / "backups")
    [dump] = backup.glob("database.*")
    content = bytearray(dump.read_bytes())
    content[len(content) // 2] ^= 1
    dump.write_bytes(content)
    done = shop.run("restore", backup, "--replace")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert shop.execute("SELECT count(*) FROM orders") == [(2,)]


def test_a_failed_backup_leaves_the_older_ones_and_no_half_one(shop: Installation, tmp_path: Path) -> None:
    good = shop.backup(tmp_path / "backups")
    broken = Installation(shop.url.replace("backup", "nowhere").replace("portal.db", "none.db"), shop.files, None)
    done = broken.run("make", tmp_path / "backups", BACKUP_DAYS="0")
    assert done.returncode == 1
    assert done.stderr.startswith("Failed: ")
    assert list((tmp_path / "backups").iterdir()) == [good]


def test_old_backups_are_removed_and_other_files_are_not(shop: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    for name in ("portal-20200101T000000Z", "portal-notes"):
        (folder / name).mkdir(parents=True)
    new = shop.backup(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted([new.name, "portal-notes"])


def test_a_backup_is_for_its_owner_only(shop: Installation, tmp_path: Path) -> None:
    backup = shop.backup(tmp_path / "backups")
    assert backup.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in backup.iterdir())


def test_the_password_is_on_no_command_line(tmp_path: Path) -> None:
    """Any user of the machine may read command lines: the programs must get the address by environment."""
    folder, seen = tmp_path / "bin", tmp_path / "seen"
    folder.mkdir()
    program = folder / "pg_dump"
    program.write_text(
        f'#!/bin/sh\necho "$* as $PGUSER at $PGHOST:$PGPORT/$PGDATABASE" > {seen}\n[ "$PGPASSWORD" = "p@ss/word" ]\n'
    )
    program.chmod(0o755)
    shop = Installation("postgresql+psycopg://portal:p%40ss%2Fword@db.example:5433/shop", tmp_path, None)
    done = shop.run("make", tmp_path / "backups", PATH=f"{folder}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert seen.read_text().endswith(" as portal at db.example:5433/shop\n")
    assert "p@ss" not in seen.read_text()
    assert "p%40ss" not in seen.read_text()
