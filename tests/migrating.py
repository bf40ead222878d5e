"""The migrations, run by an application that did not come from `flask db`."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import flask_migrate
from flask import current_app

from portal import attach_migrations
from portal.core.db import db

# A migrated SQLite file.
_migrated: list[bytes] = []


def upgrade(**options: Any) -> None:
    """Bring the current application's database to the newest schema, or to `revision`."""
    _attach()
    flask_migrate.upgrade(**options)


def migrate_new() -> None:
    """Bring the current application's new database to the newest schema: migrated once, and for further SQLite files
    copied."""
    url = db.engine.url
    if url.get_backend_name() != "sqlite" or url.database is None or Path(url.database).exists():
        upgrade()
    elif _migrated:
        Path(url.database).write_bytes(_migrated[0])
    else:
        upgrade()
        with closing(sqlite3.connect(url.database)) as connection:
            _migrated.append(connection.serialize())


def downgrade(**options: Any) -> None:
    """Take the current application's database back to `revision`."""
    _attach()
    flask_migrate.downgrade(**options)


def _attach() -> None:
    if "migrate" not in current_app.extensions:
        attach_migrations(current_app._get_current_object())  # type: ignore[attr-defined]  # what the proxy stands for
