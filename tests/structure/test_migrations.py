"""The migrations make what the models say, on both databases; they go down, up again, and survive being killed."""

import ast
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import inspect, text

from portal import create_app
from portal.core.db import Base, db, dispose
from tests.both_databases import DATABASES
from tests.conftest import settings_for
from tests.migrating import downgrade, upgrade
from tests.servers import postgres, processes
from tests.structure import source
from tests.structure.source import Finding, Source, check, lines_found

Schema = dict[str, set[str]]
# Runs the migrations and dies, as with SIGKILL, in the middle of the statement whose number is given.
_DIE_MIGRATING = """
import os, signal, sys
from tests.migrating import upgrade
from sqlalchemy import event
from portal import create_app
from portal.core.db import db
app = create_app()
with app.app_context():
    seen = []
    @event.listens_for(db.engine, "before_cursor_execute")
    def count(connection, cursor, statement, *rest):
        if statement.lstrip().upper().startswith(("CREATE", "ALTER", "INSERT")):
            seen.append(statement)
            if len(seen) == int(sys.argv[1]):
                os.kill(os.getpid(), signal.SIGKILL)
    upgrade()
print(len(seen))
"""


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database nobody has touched."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    server: postgres.Postgres = request.getfixturevalue("postgres_server")
    return server.create_database("migrated")


@pytest.fixture
def migrating(empty_url: str, tmp_path: Path) -> Iterator[Flask]:
    """An application on the untouched database, inside its context."""
    app = create_app(settings_for(empty_url, "redis://127.0.0.1:9/0", tmp_path))
    with app.app_context():
        yield app
    dispose(app)


def schema() -> Schema:
    """Everything the database knows about each table, as text: columns, defaults, checks, keys, index conditions."""
    return _postgresql_schema() if db.engine.dialect.name == "postgresql" else _sqlite_schema()


def _postgresql_schema() -> Schema:
    columns = """
        SELECT table_name, concat_ws(' ', column_name, data_type, character_maximum_length, numeric_precision,
            is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public'
    """
    constraints = """
        SELECT conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """
    indexes = "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    return _collect([columns, constraints, indexes])


def _sqlite_schema() -> Schema:
    found = _collect(["SELECT tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"])
    # One CREATE TABLE holds all columns and constraints, in whatever order: take it apart.
    return {
        table: {fact for sql in parts for part in _parts(sql) for fact in _facts(part)}
        for table, parts in found.items()
    }


def _facts(part: str) -> Iterator[str]:
    """A column that was added later carries its constraint; in a table that was made at once it stands beside."""
    inline = re.fullmatch(
        r"(?P<column>\w+) (?P<type>\w+(?: DEFAULT \S+)?(?: NOT NULL)?) "
        r"CONSTRAINT (?P<name>\w+) (?P<rule>CHECK|REFERENCES) (?P<rest>.*)",
        part,
    )
    if inline is None or inline["column"] == "CONSTRAINT":
        yield part
        return
    yield f"{inline['column']} {inline['type']}"
    key = f"FOREIGN KEY({inline['column']}) " if inline["rule"] == "REFERENCES" else ""
    yield f"CONSTRAINT {inline['name']} {key}{inline['rule']} {inline['rest']}"


def _parts(sql: str) -> Iterator[str]:
    words = re.sub(r"\s+", " ", sql).replace('"', "")
    if not words.upper().startswith("CREATE TABLE"):
        yield words
        return
    depth, part = 0, ""
    for letter in words[words.index("(") + 1 : words.rindex(")")]:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield part.strip()
            part = ""
        else:
            part += letter
    yield part.strip()


def _collect(queries: list[str]) -> Schema:
    found: Schema = {}
    with db.engine.connect() as connection:
        for query in queries:
            for table, fact in connection.execute(text(query)):
                found.setdefault(table, set()).add(fact)
    found.pop("alembic_version", None)
    return found


def difference(left: Schema, right: Schema) -> list[str]:
    """What one side has and the other has not."""
    tables = sorted(left.keys() | right.keys())
    return [f"{table}: {fact}" for table in tables for fact in sorted(left.get(table, set()) ^ right.get(table, set()))]


def test_migrations_make_exactly_what_the_models_say(migrating: Flask) -> None:
    """Checks, partial indexes and defaults too, which autogenerate does not compare."""
    upgrade()
    migrated = schema()
    assert len(migrated) >= len(Base.metadata.tables)
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    with db.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        Base.metadata.drop_all(connection)
        Base.metadata.create_all(connection)
    assert difference(migrated, schema()) == []


def test_every_check_of_the_models_is_in_the_database(migrating: Flask) -> None:
    upgrade()
    reader = inspect(db.engine)
    missing = []
    for table in Base.metadata.sorted_tables:
        there = {check["name"] for check in reader.get_check_constraints(table.name)}
        wanted = {str(one.name) for one in table.constraints if type(one).__name__ == "CheckConstraint"}
        missing += [f"{table.name}: {name}" for name in wanted - there]
    assert missing == []


def test_migrations_go_down_and_up_again(migrating: Flask) -> None:
    upgrade()
    first = schema()
    downgrade(revision="base")
    assert set(inspect(db.engine).get_table_names()) <= {"alembic_version"}
    upgrade()
    assert difference(first, schema()) == []
    upgrade()
    assert difference(first, schema()) == []


def test_each_migration_can_be_taken_back_by_itself(migrating: Flask) -> None:
    scripts = ScriptDirectory.from_config(_alembic())
    for revision in reversed(list(scripts.walk_revisions())):
        upgrade(revision=revision.revision)
        after = schema()
        downgrade(revision="-1")
        upgrade(revision=revision.revision)
        assert difference(after, schema()) == [], revision.revision


@pytest.mark.parametrize("statement", [1, 2, 12, -1])
def test_a_migration_that_was_killed_can_be_run_again(migrating: Flask, empty_url: str, statement: int) -> None:
    """A deploy that dies half-way leaves a database that the next try brings to the same schema."""
    upgrade()
    expected = schema()
    downgrade(revision="base")
    with db.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    db.engine.dispose()
    number = statement if statement > 0 else _count_statements(empty_url)
    assert _migrate(empty_url, die_at=number).returncode == -signal.SIGKILL
    upgrade()
    assert difference(expected, schema()) == []


def _count_statements(url: str) -> int:
    done = _migrate(url, die_at=0)
    assert done.returncode == 0, done.stderr
    count = int(done.stdout.split()[-1])
    downgrade(revision="base")
    with db.engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
    db.engine.dispose()
    assert count > 20
    return count


def _migrate(url: str, *, die_at: int) -> "subprocess.CompletedProcess[str]":
    environment = processes.clean_environment(PORTAL_ENV="testing", DATABASE_URL=url, REDIS_URL="redis://127.0.0.1:9/0")
    return subprocess.run(
        [sys.executable, "-c", _DIE_MIGRATING, str(die_at)],
        cwd=source.ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(source.ROOT / "migrations"))
    return config


def test_there_is_one_line_of_migrations_with_numbered_names() -> None:
    scripts = ScriptDirectory.from_config(_alembic())
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert len(scripts.get_heads()) == 1
    assert sorted(revisions) == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    for script in scripts.walk_revisions():
        assert re.fullmatch(rf"{script.revision}_[a-z0-9_]+\.py", Path(script.path).name)
        assert script.doc


def needs_the_code_of_its_day(file: Source) -> Iterator[Finding]:
    """A migration spells out its tables: the models it was made from will have moved on."""
    for node in ast.walk(file.tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.split(".")[0] in ("portal", "tests"):
                yield file.at(node.lineno, f"imports {name}")


def test_migrations_import_nothing_of_ours() -> None:
    check(needs_the_code_of_its_day, source.files("migrations/versions"))
    assert lines_found(needs_the_code_of_its_day, "import sqlalchemy\nfrom portal.core.db import Base\n") == [2]


def test_the_comparison_can_fail(migrating: Flask) -> None:
    upgrade()
    before = schema()
    with db.engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_provider_events_due"))
        connection.execute(text("CREATE INDEX ix_provider_events_due ON provider_events (available_at, id)"))
    found = difference(before, schema())
    assert len(found) == 2
    assert all("ix_provider_events_due" in fact for fact in found)
