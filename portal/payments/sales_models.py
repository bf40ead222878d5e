"""What came in and what went back, added up by day as it happens: statistics read these few rows."""

from sqlalchemy import String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.db import Base


class SalesDay(Base):
    """The money of one line of business on one day (of the business's zone, "2026-11-30"), in one currency and mode.

    Written in the transaction that counts the money or books its return. What came in and what went back are rows of
    their own: the first is only ever changed by whoever holds the numbers of invoices, the second by whoever holds
    those of credit notes, so these rows add no way for two transactions to wait for each other.
    """

    __tablename__ = "sales_days"

    id: Mapped[int] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(String(10))
    line: Mapped[str] = mapped_column(String(32))
    currency: Mapped[str] = mapped_column(String(3))
    mode: Mapped[str] = mapped_column(String(4))
    is_return: Mapped[bool]
    count: Mapped[int]
    amount_minor: Mapped[int]

    __table_args__ = (UniqueConstraint("day", "line", "currency", "mode", "is_return"),)
