"""Price books: every version that was ever in force, so that an old quote gives the same cents again."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from portal.core.db import Base, UTCDateTime


class PriceBookVersion(Base):
    """One version of the price book. A draft can be edited; once published it never changes.

    The version in force is the one that was published last.
    """

    __tablename__ = "price_book_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(unique=True)
    content: Mapped[dict[str, Any]] = mapped_column(JSON)
    # The number of the version it was made from: only while that is the one in force can it be published.
    based_on: Mapped[int | None]
    note: Mapped[str] = mapped_column(Text, default="")
    created_by_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    published_by: Mapped[str | None] = mapped_column(String(255))
    published_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    __table_args__ = (
        CheckConstraint("number > 0", name="number_positive"),
        Index("ix_price_book_versions_published_at", "published_at"),
    )
