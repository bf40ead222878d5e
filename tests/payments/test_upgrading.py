"""An installation that has sold something is upgraded without losing any of it, and taken back again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import inspect, text

from portal import create_app
from portal.core.db import db, dispose
from tests.conftest import settings_for
from tests.migrating import downgrade, upgrade

_SESSION = (
    "INSERT INTO payment_sessions (id, public_id, purpose, description, amount_minor, currency, mode, status, "
    "success_url, cancel_url, locale, metadata, created_at, expires_at) VALUES (1, 'a', 'test', 'x', 4900, 'PLN', "
    "'test', 'created', '', '', 'en', '{}', '2026-01-01 00:00:00', '2026-01-02 00:00:00')"
)
_ATTEMPT = (
    "INSERT INTO payment_attempts (id, session_id, number, provider, status, idempotency_key, created_at) "
    "VALUES (1, 1, 1, 'stripe', 'open', 'k', '2026-01-01 00:00:00')"
)


@pytest.fixture
def before(tmp_path: Path) -> Iterator[Flask]:
    """An installation of the time before payments repeated, with a payment under way.

    On SQLite: there a table that others refer to cannot be made anew once it has rows.
    """
    app = create_app(settings_for(f"sqlite:///{tmp_path / 'portal.db'}", "redis://127.0.0.1:9/0", tmp_path))
    with app.app_context():
        upgrade(revision="0007")
        with db.engine.begin() as connection:
            connection.execute(text(_SESSION))
            connection.execute(text(_ATTEMPT))
        yield app
        db.session.remove()
    dispose(app)


def counts() -> tuple[int, int]:
    with db.engine.connect() as connection:
        return (
            connection.execute(text("SELECT count(*) FROM payment_sessions")).scalar_one(),
            connection.execute(text("SELECT count(*) FROM payment_attempts")).scalar_one(),
        )


def checks() -> set[str]:
    return {str(check["name"]) for check in inspect(db.engine).get_check_constraints("payment_sessions")}


def test_rows_and_checks_are_kept_up_and_down(before: Flask) -> None:
    had = checks()
    upgrade(revision="0008")
    assert counts() == (1, 1)
    assert checks() == had | {"ck_payment_sessions_repeat_months"}
    downgrade(revision="0007")
    assert counts() == (1, 1)
    assert checks() == had
