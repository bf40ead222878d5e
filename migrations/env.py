"""How Alembic reaches the database: through the application, with bounded waits for locks."""

from alembic import context
from flask import current_app
from sqlalchemy import text
from sqlalchemy.engine import Connection

from portal.core.db import UTCDateTime

_LOCK_TIMEOUT = "5s"
_STATEMENT_TIMEOUT = "10min"


def _render_item(kind: str, item: object, _context: object) -> str | bool:
    """Spell our column types in SQLAlchemy's own words: a migration outlives the code it was made from."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _configure(connection: Connection) -> None:
    extension = current_app.extensions["migrate"]
    context.configure(
        connection=connection,
        target_metadata=extension.db.metadata,
        transaction_per_migration=True,
        render_item=_render_item,
        **extension.configure_args,
    )


def run() -> None:
    """Run the migrations on the configured database."""
    engine = current_app.extensions["migrate"].db.engine
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            # A migration that cannot get its lock gives up instead of queueing all traffic behind it.
            connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
            connection.execute(text(f"SET statement_timeout = '{_STATEMENT_TIMEOUT}'"))
            connection.commit()
        _configure(connection)
        try:
            with context.begin_transaction():
                context.run_migrations()
        finally:
            # Its patience is a migration's own: whoever is lent this connection next gets another one.
            connection.invalidate()


run()
