"""State machines: the one function that writes a status, and the history it leaves."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Protocol, TypeVar, cast

from flask_babel import lazy_gettext as _l
from sqlalchemy import Index, String, Table, Text, Update, bindparam, inspect, text, update
from sqlalchemy.orm import Mapped, attributes, mapped_column

from portal.core.audit import current_cause
from portal.core.db import Base, UTCDateTime, db
from portal.core.errors import Conflict

S = TypeVar("S", bound=StrEnum)
Transitions = Mapping[S, frozenset[S]]


class InvalidTransition(Conflict):
    """The table has no arrow from where the row is to where it should go."""

    default = _l("This is not possible in the current state.")

    def __init__(self, row: "Stateful", to: StrEnum, column: str = "status") -> None:
        super().__init__()
        self.row, self.to, self.was = row, to, getattr(row, column)


class StaleState(Conflict):
    """Somebody else moved the row first: load it again and decide again."""

    def __init__(self, row: "Stateful", to: StrEnum) -> None:
        super().__init__()
        self.row, self.to = row, to


class Stateful(Protocol):
    """A mapped row with one or more status columns, each with its table of transitions."""

    __tablename__: str
    MACHINES: ClassVar[Mapping[str, Transitions[Any]]]

    @property
    def id(self) -> int:
        """The row's primary key."""


class StatusChange(Base):
    """One arrow that was taken: which row, from where to where, by whom, when and why."""

    __tablename__ = "status_changes"

    id: Mapped[int] = mapped_column(primary_key=True)
    entity: Mapped[str] = mapped_column(String(64))
    entity_id: Mapped[int]
    column: Mapped[str] = mapped_column("column_name", String(32))
    was: Mapped[str] = mapped_column(String(32))
    became: Mapped[str] = mapped_column(String(32))
    actor: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str | None] = mapped_column(Text)
    cause: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (
        Index("ix_status_changes_entity", "entity", "entity_id", "id"),
        # What one webhook brought about; most changes have no cause and cost the index nothing.
        Index(
            "ix_status_changes_cause",
            "cause",
            postgresql_where=text("cause IS NOT NULL"),
            sqlite_where=text("cause IS NOT NULL"),
        ),
    )


def transition(
    row: Stateful,
    to: StrEnum,
    *,
    by: str,
    at: datetime,
    reason: str | None = None,
    column: str = "status",
    values: Mapping[str, Any] | None = None,
) -> None:
    """Move a row along one arrow of its table, compare-and-set, and record the change.

    `values` are other columns that change with it, written by the same statement. Raises InvalidTransition when the
    table has no such arrow, StaleState when another transaction was faster.
    """
    was: StrEnum = getattr(row, column)
    if to not in row.MACHINES[column].get(was, frozenset()):
        raise InvalidTransition(row, to, column)
    if inspect(row).pending:
        db.session.flush()
    changes = {**(values or {}), column: to}
    # On the connection: through the session, everything else that is pending would be written out row by row first.
    table = cast("Table", inspect(type(row)).local_table)
    statement = _compare_and_set(table, column, tuple(changes))
    bound = {f"new_{name}": value for name, value in changes.items()}
    result = db.session.connection().execute(statement, {"row_id": row.id, "was": was, **bound})
    if result.rowcount != 1:
        raise StaleState(row, to)
    for name, value in changes.items():
        attributes.set_committed_value(row, name, value)
    db.session.add(
        StatusChange(
            entity=row.__tablename__,
            entity_id=row.id,
            column=column,
            was=was.value,
            became=to.value,
            actor=by,
            reason=reason,
            cause=current_cause(),
            at=at,
        )
    )


@lru_cache(maxsize=512)
def _compare_and_set(table: Table, column: str, names: tuple[str, ...]) -> Update:
    """The statement of one kind of transition: building it takes a quarter as long as the whole transition."""
    return (
        update(table)
        .where(table.c.id == bindparam("row_id"), table.c[column] == bindparam("was"))
        .values({name: bindparam(f"new_{name}") for name in names})
    )


def history(row: Stateful) -> list[StatusChange]:
    """Every change of the row's statuses, oldest first."""
    return list(
        db.session.scalars(
            db.select(StatusChange)
            .where(StatusChange.entity == row.__tablename__, StatusChange.entity_id == row.id)
            .order_by(StatusChange.id)
        )
    )
