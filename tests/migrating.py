"""The migrations, run by an application that did not come from `flask db`."""

from typing import Any

import flask_migrate
from flask import current_app

from portal import attach_migrations


def upgrade(**options: Any) -> None:
    """Bring the current application's database to the newest schema, or to `revision`."""
    _attach()
    flask_migrate.upgrade(**options)


def downgrade(**options: Any) -> None:
    """Take the current application's database back to `revision`."""
    _attach()
    flask_migrate.downgrade(**options)


def _attach() -> None:
    if "migrate" not in current_app.extensions:
        attach_migrations(current_app._get_current_object())  # type: ignore[attr-defined]  # what the proxy stands for
