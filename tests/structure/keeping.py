"""One world for many tests: built through the shop's pages once a language, later put back as it was (on SQLite)."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core.db import Base, db
from tests.structure import world
from tests.structure.world import World


@dataclass
class Kept:
    """Everything of a world that a test's clean start takes away."""

    emails: dict[str, str]
    values: dict[str, str]
    rows: dict[str, list[dict[str, Any]]]
    files: Path


_kept: dict[str, Kept] = {}


def house(app: Flask, locale: str = "en") -> World:
    """The world as `world.build` leaves it, in an empty database."""
    if locale in _kept:
        return _put_back(app, _kept[locale])
    built = world.build(app, locale)
    _kept[locale] = _keep(built)
    return built


def _keep(built: World) -> Kept:
    with db.engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(table.select()).mappings()]
            for table in Base.metadata.sorted_tables
        }
    db.session.rollback()
    copy = Path(tempfile.mkdtemp(prefix="world-", dir=_folder(built.app).parent)) / "files"
    shutil.copytree(_folder(built.app), copy, symlinks=True)
    return Kept({name: user.email for name, user in built.users.items()}, built.values, rows, copy)


def _put_back(app: Flask, kept: Kept) -> World:
    with db.engine.begin() as connection:
        # Rows that point at each other have no right order.
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = on")
        for table in Base.metadata.sorted_tables:
            if kept.rows[table.name]:
                connection.execute(table.insert(), kept.rows[table.name])
    shutil.rmtree(_folder(app))
    shutil.copytree(kept.files, _folder(app), symlinks=True)
    people = {user.email: user for user in db.session.scalars(select(User))}
    return World(app, {name: people[email] for name, email in kept.emails.items()}, dict(kept.values))


def _folder(app: Flask) -> Path:
    """Where its mailbox, its models and its sites are."""
    return Path(app.config["MAILBOX_PATH"]).parent
