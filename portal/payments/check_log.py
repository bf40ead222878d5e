"""What asking the providers came to, by provider and hour: small enough to be kept, enough to see who is silent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, String, UniqueConstraint, delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.db import Base, UTCDateTime, db, is_postgresql, unit_of_work

KEPT = timedelta(days=90)


class ProviderCheck(Base):
    """How often one provider was asked about payments within an hour, and what came of it.

    `unanswered` are those of `asked` that nobody answered; `found` the answers that told something we did not know;
    `recoveries` how often its list of undelivered events was read, `recovered` the new events in it.
    """

    __tablename__ = "provider_checks"

    id: Mapped[int] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(String(32))
    hour: Mapped[datetime] = mapped_column(UTCDateTime)
    asked: Mapped[int] = mapped_column(default=0)
    unanswered: Mapped[int] = mapped_column(default=0)
    found: Mapped[int] = mapped_column(default=0)
    recoveries: Mapped[int] = mapped_column(default=0)
    recovered: Mapped[int] = mapped_column(default=0)
    last_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_error: Mapped[str | None] = mapped_column(String(64))

    __table_args__ = (UniqueConstraint("provider", "hour"), Index("ix_provider_checks_hour", "hour"))


@dataclass(frozen=True, slots=True)
class CheckSums:
    """What asking one provider came to since some instant; `last_error` is that of the latest time, if it failed."""

    provider: str
    asked: int
    unanswered: int
    found: int
    recoveries: int
    recovered: int
    last_at: datetime
    last_error: str | None

    @property
    def answered(self) -> int:
        """How often an answer came."""
        return self.asked - self.unanswered


def note_asked(provider: str, *, at: datetime, has_found: bool = False, error: str | None = None) -> None:
    """A provider was asked about one attempt; `error` when it did not answer. Opens its own unit of work."""
    counts = {"asked": 1, "unanswered": int(error is not None), "found": int(has_found)}
    with unit_of_work():
        _add(provider, counts, error, at)


def note_recovery(provider: str, *, new: int, error: str | None, at: datetime) -> None:
    """A provider's list of undelivered events was read, or could not be. Opens its own unit of work."""
    with unit_of_work():
        _add(provider, {"recoveries": 1, "recovered": new}, error, at)


def _add(provider: str, counts: dict[str, int], error: str | None, at: datetime) -> None:
    """Count in the row of the hour. The sum is made by the database, so two workers lose nothing."""
    hour = at.replace(minute=0, second=0, microsecond=0)
    none: dict[str, Any] = dict.fromkeys(("asked", "unanswered", "found", "recoveries", "recovered"), 0)
    row = {**none, **counts, "provider": provider, "hour": hour, "last_at": at, "last_error": error}
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    sums: dict[str, Any] = {name: getattr(ProviderCheck, name) + count for name, count in counts.items()}
    db.session.execute(
        insert(ProviderCheck)
        .values(row)
        .on_conflict_do_update(index_elements=["provider", "hour"], set_={**sums, "last_at": at, "last_error": error})
    )


def sums_since(since: datetime) -> dict[str, CheckSums]:
    """What asking came to since an instant, by provider."""
    rows = db.session.scalars(
        db.select(ProviderCheck).where(ProviderCheck.hour >= since).order_by(ProviderCheck.provider, ProviderCheck.hour)
    )
    found: dict[str, CheckSums] = {}
    for row in rows:
        before = found.get(row.provider)
        found[row.provider] = CheckSums(
            provider=row.provider,
            asked=row.asked + (before.asked if before else 0),
            unanswered=row.unanswered + (before.unanswered if before else 0),
            found=row.found + (before.found if before else 0),
            recoveries=row.recoveries + (before.recoveries if before else 0),
            recovered=row.recovered + (before.recovered if before else 0),
            last_at=row.last_at,
            last_error=row.last_error,
        )
    return found


def forget_old(*, at: datetime) -> int:
    """Delete the hours of long ago; returns how many."""
    result: Any = db.session.execute(
        delete(ProviderCheck).where(ProviderCheck.hour < at - KEPT).execution_options(synchronize_session=False)
    )
    return int(result.rowcount)
