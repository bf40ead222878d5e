"""Gap-free numbers such as INV-2026-00001: drawn inside the transaction that uses them, so a rollback gives it back."""

from collections.abc import Collection

from sqlalchemy import String, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.db import Base, db, is_postgresql


class NumberSequence(Base):
    """The last number drawn of one series."""

    __tablename__ = "number_sequences"

    series: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int]


def next_number(prefix: str, *, year: int, width: int) -> str:
    """Draw the next number of `prefix` and year: `INV-2026-00001` for width 5. The width is a minimum.

    The row stays locked until the transaction ends, so two drawers follow one another and neither leaves a gap.
    """
    series = f"{prefix}-{year}"
    value = _draw(series)
    if value is None:
        insert = postgresql.insert if is_postgresql() else sqlite.insert
        first = insert(NumberSequence).values(series=series, value=0)
        db.session.execute(first.on_conflict_do_nothing(index_elements=["series"]))
        value = _draw(series)
    return f"{series}-{value:0{width}d}"


def _draw(series: str) -> int | None:
    return db.session.execute(
        update(NumberSequence)
        .where(NumberSequence.series == series)
        .values(value=NumberSequence.value + 1)
        .returning(NumberSequence.value)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()


def hold(prefixes: Collection[str], years: Collection[int]) -> None:
    """Draw nothing, and let nobody else draw from these series, until the transaction ends.

    A series that no number was ever drawn from, as far as anybody can see, is nothing to hold.
    """
    wanted = [f"{prefix}-{year}" for prefix in prefixes for year in years]
    db.session.execute(
        select(NumberSequence.series)
        .where(NumberSequence.series.in_(wanted))
        .order_by(NumberSequence.series)
        .with_for_update()
    ).all()
