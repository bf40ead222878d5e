"""Leaving a database as the migrations made it: each of ten thousand tests begins with an empty one.

Most tables are empty already, and asking is cheap; a TRUNCATE of all would write a new file for each table and index.
"""

from functools import cache

from portal.core.db import Base, db, is_postgresql


def prepare() -> None:
    """Let PostgreSQL keep the plans of what is asked after each test: made anew they took longer than all the rest."""
    if not is_postgresql():
        return
    with db.engine.begin() as connection:
        sequences = connection.exec_driver_sql("SELECT quote_ident(sequencename) FROM pg_sequences").scalars().all()
        deletes = (f"IF EXISTS (SELECT 1 FROM {name}) THEN DELETE FROM {name}; END IF;" for name in _tables())
        resets = (
            f"IF (SELECT is_called FROM {name}) THEN PERFORM setval('{name}', 1, false); END IF;" for name in sequences
        )
        connection.exec_driver_sql(
            "CREATE FUNCTION empty_database() RETURNS void LANGUAGE plpgsql"
            f" AS $$ BEGIN {' '.join((*deletes, *resets))} END $$"
        )


def empty_database() -> None:
    """Delete every row, and number anew."""
    with db.engine.begin() as connection:
        if is_postgresql():
            connection.exec_driver_sql("SELECT empty_database()")
            return
        asked = (f"SELECT {place} WHERE EXISTS (SELECT 1 FROM {name})" for place, name in enumerate(_tables()))
        for (place,) in sorted(connection.exec_driver_sql(" UNION ALL ".join(asked))):
            connection.exec_driver_sql(f"DELETE FROM {_tables()[place]}")


@cache
def _tables() -> tuple[str, ...]:
    """Children first."""
    return tuple(table.name for table in reversed(Base.metadata.sorted_tables))
