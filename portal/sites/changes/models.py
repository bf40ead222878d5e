"""Change requests, and the draft that each of them has while nobody has decided about it."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy import text as words_of_sql
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.accounts.models import User
from portal.core.db import Base, UTCDateTime, status_column
from portal.core.state import Transitions
from portal.sites.changes.findings import Finding, read_findings
from portal.sites.changes.pieces import Piece, read_pieces
from portal.sites.models import Site, SiteVersion

# Names of previews begin with a version's number; no version has this one.
_NO_VERSION = 0


class ChangeStatus(StrEnum):
    """How far a change is. Accepted is decided and on its way; live is what visitors see."""

    RECEIVED = "received"
    DRAFTING = "drafting"
    PREVIEW_READY = "preview_ready"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    LIVE = "live"


CHANGE_TRANSITIONS: Transitions[ChangeStatus] = {
    ChangeStatus.RECEIVED: frozenset({ChangeStatus.DRAFTING, ChangeStatus.DECLINED}),
    ChangeStatus.DRAFTING: frozenset({ChangeStatus.PREVIEW_READY, ChangeStatus.DECLINED}),
    # Back to the drawing board: the owner wants it otherwise, or the site has changed underneath.
    ChangeStatus.PREVIEW_READY: frozenset({ChangeStatus.ACCEPTED, ChangeStatus.DECLINED, ChangeStatus.DRAFTING}),
    ChangeStatus.ACCEPTED: frozenset({ChangeStatus.LIVE}),
}  # Declined and live are final.
OPEN = (ChangeStatus.RECEIVED, ChangeStatus.DRAFTING, ChangeStatus.PREVIEW_READY)


class Drafter(StrEnum):
    """Who makes the draft."""

    EDITOR = "editor"
    STAFF = "staff"


class Trouble(StrEnum):
    """Why the editor service's draft is left to staff."""

    AWAY = "away"
    REFUSED = "refused"
    NONSENSE = "nonsense"
    CANNOT = "cannot"
    RISKY = "risky"


class ChangeRequest(Base):
    """What an owner wants changed on a site, and what became of it. `number` counts the requests of one site."""

    __tablename__ = "site_changes"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": CHANGE_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    number: Mapped[int]
    asked_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    text: Mapped[str] = mapped_column(Text)
    # The page it is about; empty: the owner did not say.
    page: Mapped[str] = mapped_column(String(200), default="")
    # The owner's picture in the storage, always a JPEG that we have written.
    picture_name: Mapped[str | None] = mapped_column(String(100))
    # What should be otherwise than in the draft that was shown.
    wish: Mapped[str] = mapped_column(Text, default="")
    status: Mapped[ChangeStatus] = mapped_column(
        status_column(ChangeStatus, "site_change_status"), default=ChangeStatus.RECEIVED
    )
    drafter: Mapped[Drafter] = mapped_column(status_column(Drafter, "site_change_drafter"), default=Drafter.STAFF)
    # How often the editor service was asked for the draft that is to come.
    tries: Mapped[int] = mapped_column(default=0)
    # Drafts come and go; their numbers are never given again.
    draft_count: Mapped[int] = mapped_column(default=0)
    trouble: Mapped[Trouble | None] = mapped_column(status_column(Trouble, "site_change_trouble"))
    # What staff say to the owner: why it was declined.
    answer: Mapped[str] = mapped_column(Text, default="")
    # What came of it, and what it was made of: gone when the version is no longer kept, the numbers stay.
    version_id: Mapped[int | None] = mapped_column(ForeignKey("site_versions.id", ondelete="SET NULL"), index=True)
    version_number: Mapped[int | None]
    accepted_count: Mapped[int | None]
    piece_count: Mapped[int | None]
    undone_by_number: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    accepted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    undone_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    site: Mapped[Site] = relationship()
    asked_by: Mapped[User] = relationship()
    version: Mapped[SiteVersion | None] = relationship()
    draft: Mapped["ChangeDraft | None"] = relationship(back_populates="change", passive_deletes="all")

    __table_args__ = (
        UniqueConstraint("site_id", "number"),
        CheckConstraint("number > 0", name="number_positive"),
        CheckConstraint(
            "status NOT IN ('accepted', 'live') OR version_number IS NOT NULL", name="decided_with_a_version"
        ),
        Index("ix_site_changes_status", "status", "id"),
        # What waits for somebody, the longest waiting first.
        Index(
            "ix_site_changes_waiting",
            "updated_at",
            "id",
            postgresql_where=words_of_sql("status IN ('received', 'drafting', 'accepted')"),
            sqlite_where=words_of_sql("status IN ('received', 'drafting', 'accepted')"),
        ),
    )

    @property
    def is_open(self) -> bool:
        """Whether nobody has decided yet."""
        return self.status in OPEN

    @property
    def is_moving(self) -> bool:
        """Whether it goes on by itself."""
        by_editor = self.status in (ChangeStatus.RECEIVED, ChangeStatus.DRAFTING) and self.drafter is Drafter.EDITOR
        return by_editor or self.status is ChangeStatus.ACCEPTED

    @property
    def picture_path(self) -> str:
        """Where on the site the owner's picture goes, if it is used."""
        return f"images/change-{self.number}.jpg"


class ChangeDraft(Base):
    """What a site would be with a change: the whole of it, and what is different, made once and never changed.

    `manifest` is as a version's. `pieces` and `findings` are what the pages show. A new draft takes the place of the
    old one; it goes when the change is decided.
    """

    __tablename__ = "site_change_drafts"

    id: Mapped[int] = mapped_column(primary_key=True)
    change_id: Mapped[int] = mapped_column(ForeignKey("site_changes.id"), unique=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"), index=True)
    # Which of the request's drafts it is: what is decided about is the one that was looked at.
    number: Mapped[int]
    # While a draft is open, what it was made from is kept.
    base_id: Mapped[int] = mapped_column(ForeignKey("site_versions.id"), index=True)
    manifest: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    pieces: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    preview_key: Mapped[str] = mapped_column(String(32))
    author: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    change: Mapped[ChangeRequest] = relationship(back_populates="draft")
    base: Mapped[SiteVersion] = relationship()

    @property
    def paths(self) -> dict[str, str]:
        """Every file's hash by its path."""
        return {entry["path"]: entry["sha256"] for entry in self.manifest}

    @property
    def sizes(self) -> dict[str, int]:
        """Every file's size in bytes by its path."""
        return {entry["path"]: entry["size"] for entry in self.manifest}

    @property
    def preview_name(self) -> str:
        """The folder of its preview on the site hosts."""
        return f"{_NO_VERSION}-{self.preview_key}"

    def read_pieces(self) -> list[Piece]:
        """What can be wanted one by one."""
        return read_pieces(self.pieces)

    def read_findings(self) -> list[Finding]:
        """What the automatic checks say."""
        return read_findings(self.findings)
