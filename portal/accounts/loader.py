"""Who is signed in: the user of the cookie's session, loaded once a request, and when they were last seen."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from flask import Flask, Response, current_app, g
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from portal.accounts.models import LoginSession, User
from portal.accounts.services import sessions
from portal.core import clock
from portal.core.db import WRITES, db
from portal.extensions import login_manager

log = structlog.get_logger(__name__)

SEEN_EVERY = timedelta(minutes=1)
_PATIENCE_MS = 250


def init_app(app: Flask) -> None:
    """Attach the loader to the application."""
    # Flask-Login's guard compares a hash of address and browser, and marks the session when a phone changes networks.
    # Our sessions live in a table and can be ended there instead.
    login_manager.session_protection = None
    login_manager.user_loader(load_user)
    app.after_request(_note_seen)


def load_user(token: str) -> User | None:
    """The user whose session this token is; None for a session that has ended."""
    if g.get("user_load_failed"):
        # The error page asks too who is there; with the database away it shows what a visitor sees.
        return None
    at = clock.now()
    try:
        found = sessions.find_session(token, at=at)
    except SQLAlchemyError:
        g.user_load_failed = True
        raise
    if found is None:
        return None
    login_session, user = found
    user.login_session = login_session
    user.session_token = token
    settings = current_app.config["SETTINGS"]
    user.needs_second_factor = settings.staff_second_factor and user.is_staff and not user.has_second_factor
    if at - login_session.last_seen_at >= SEEN_EVERY:
        g.session_seen = (login_session.id, at)
    return user


def _note_seen(response: Response) -> Response:
    """Write when the session was last used, at most once a minute, after the request's own work.

    Best effort with little patience: a busy or read-only database must neither fail nor hold up the answer. The next
    request tries again.
    """
    seen = g.pop("session_seen", None)
    if seen is None:
        return response
    try:
        # Gives the request's connection back first: a request that held two could starve the pool.
        db.session.rollback()
        _write_seen(*seen)
    except SQLAlchemyError as error:
        log.info("last_seen_not_written", error=type(error).__name__)
    return response


def _write_seen(session_id: int, at: datetime) -> None:
    with db.engine.connect().execution_options(**{WRITES: True}) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        driver: Any = connection.connection.driver_connection
        usual = 0
        if is_sqlite:
            usual = driver.execute("PRAGMA busy_timeout").fetchone()[0]
            driver.execute(f"PRAGMA busy_timeout={_PATIENCE_MS}")
        else:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
        try:
            connection.execute(
                update(LoginSession)
                .where(LoginSession.id == session_id, LoginSession.last_seen_at < at)
                .values(last_seen_at=at)
            )
            connection.commit()
        finally:
            if is_sqlite:
                driver.execute(f"PRAGMA busy_timeout={usual}")
