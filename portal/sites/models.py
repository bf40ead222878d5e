"""Hosted sites, the versions of their content, and every try to bring one onto a web server."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.core.db import Base, UTCDateTime, status_column
from portal.core.money import Money
from portal.core.state import Transitions

# A deleted site can be brought back for so long; then its content goes.
UNDO = timedelta(days=30)
DEFAULT_PURCHASE_MINOR = 49_500
DEFAULT_MONTHLY_MINOR = 9_500
DEFAULT_CURRENCY = "USD"
DEFAULT_TAX_RATE = 2_300
# So long a buyer has a site to themselves, from pressing "Purchase" to paying.
RESERVED = timedelta(minutes=45)


class SiteStatus(StrEnum):
    """Whose a site is: for sale, somebody's, or somebody's with a running subscription."""

    PREVIEW = "preview"
    OWNED = "owned"
    ACTIVE = "active"


SITE_TRANSITIONS: Transitions[SiteStatus] = {
    SiteStatus.PREVIEW: frozenset({SiteStatus.OWNED}),
    SiteStatus.OWNED: frozenset({SiteStatus.ACTIVE}),
    SiteStatus.ACTIVE: frozenset({SiteStatus.OWNED}),
}


class VersionOrigin(StrEnum):
    """Where a version's content came from."""

    IMPORT = "import"
    UPLOAD = "upload"
    EDIT = "edit"
    CHANGE = "change"
    RESTORE = "restore"


class DeploymentStatus(StrEnum):
    """Where a deployment stands. Live is the one whose release is served; the one before it is then replaced."""

    QUEUED = "queued"
    RUNNING = "running"
    LIVE = "live"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


DEPLOYMENT_TRANSITIONS: Transitions[DeploymentStatus] = {
    DeploymentStatus.QUEUED: frozenset(
        {DeploymentStatus.RUNNING, DeploymentStatus.SUPERSEDED, DeploymentStatus.FAILED}
    ),
    DeploymentStatus.RUNNING: frozenset(
        {
            DeploymentStatus.LIVE,
            DeploymentStatus.FAILED,
            DeploymentStatus.ROLLED_BACK,
            DeploymentStatus.SUPERSEDED,
        }
    ),
    DeploymentStatus.LIVE: frozenset({DeploymentStatus.SUPERSEDED}),
}


class Site(Base):
    """One hosted website. Prices are in minor units: once for the purchase, and each month."""

    __tablename__ = "sites"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": SITE_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = mapped_column(String(36), unique=True)
    slug: Mapped[str] = mapped_column(String(40), unique=True)
    title: Mapped[str] = mapped_column(String(120))
    summary: Mapped[str] = mapped_column(String(300), default="")
    status: Mapped[SiteStatus] = mapped_column(status_column(SiteStatus, "site_status"), default=SiteStatus.PREVIEW)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"), index=True)
    purchase_price_minor: Mapped[int] = mapped_column(default=DEFAULT_PURCHASE_MINOR)
    monthly_price_minor: Mapped[int] = mapped_column(default=DEFAULT_MONTHLY_MINOR)
    currency: Mapped[str] = mapped_column(String(3), default=DEFAULT_CURRENCY)
    # Of both prices, which include it.
    tax_rate_basis_points: Mapped[int] = mapped_column(default=DEFAULT_TAX_RATE, server_default="2300")
    # What visitors see. Without a foreign key: the tables would point at each other, which SQLite cannot add later;
    # the one place that removes versions looks here first.
    current_version_id: Mapped[int | None]
    # Versions are removed in time, their numbers are never given again.
    last_version_number: Mapped[int] = mapped_column(default=0)
    notes: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # The undo period is over: its files are gone and its address is free again; the row stays for the books.
    purged_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    current_version: Mapped["SiteVersion | None"] = relationship(
        primaryjoin="foreign(Site.current_version_id) == SiteVersion.id", viewonly=True
    )

    __table_args__ = (
        CheckConstraint("purchase_price_minor > 0", name="purchase_price_positive"),
        CheckConstraint("monthly_price_minor > 0", name="monthly_price_positive"),
        CheckConstraint("tax_rate_basis_points BETWEEN 0 AND 10000", name="tax_rate"),
        CheckConstraint("(status = 'preview') = (owner_id IS NULL)", name="owner"),
        CheckConstraint("purged_at IS NULL OR deleted_at IS NOT NULL", name="purged_after_deleted"),
        Index("ix_sites_status", "status", "id"),
        Index(
            "ix_sites_deleted",
            "deleted_at",
            postgresql_where=text("deleted_at IS NOT NULL AND purged_at IS NULL"),
            sqlite_where=text("deleted_at IS NOT NULL AND purged_at IS NULL"),
        ),
    )

    @property
    def purchase_price(self) -> Money:
        """What the site costs once."""
        return Money(self.purchase_price_minor, self.currency)

    @property
    def monthly_price(self) -> Money:
        """What hosting and changes cost each month."""
        return Money(self.monthly_price_minor, self.currency)

    @property
    def is_deleted(self) -> bool:
        """Whether it was taken down, for now or for good."""
        return self.deleted_at is not None

    @property
    def may_be_changed(self) -> bool:
        """Whether its owner may ask for changes and have a domain of their own: while the subscription runs."""
        return self.status is SiteStatus.ACTIVE and not self.is_deleted

    def can_be_undeleted(self, at: datetime) -> bool:
        """Whether its content is still there."""
        return self.deleted_at is not None and self.purged_at is None and at < self.deleted_at + UNDO


class SiteVersion(Base):
    """The whole content of a site at one time. Rows are never changed.

    `manifest` is a list of `{"path", "size", "sha256"}`, sorted by path; the bytes are found by their hash.
    """

    __tablename__ = "site_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    number: Mapped[int]
    manifest: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    # SHA-256 of the manifest: two versions with the same one are the same to the byte.
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    # The folder of its files in the storage.
    storage_prefix: Mapped[str] = mapped_column(String(80))
    # Part of the address of its preview, which nobody can guess.
    preview_key: Mapped[str] = mapped_column(String(32))
    file_count: Mapped[int]
    size_bytes: Mapped[int]
    note: Mapped[str] = mapped_column(Text, default="")
    author: Mapped[str] = mapped_column(String(255))
    origin: Mapped[VersionOrigin] = mapped_column(status_column(VersionOrigin, "site_version_origin"))
    based_on_id: Mapped[int | None] = mapped_column(ForeignKey("site_versions.id", ondelete="SET NULL"))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)

    site: Mapped[Site] = relationship(foreign_keys=[site_id])

    __table_args__ = (
        UniqueConstraint("site_id", "number"),
        CheckConstraint("number > 0", name="number_positive"),
        Index("ix_site_versions_based_on", "based_on_id"),
    )

    @property
    def paths(self) -> dict[str, str]:
        """Every file's hash by its path."""
        return {entry["path"]: entry["sha256"] for entry in self.manifest}

    @property
    def preview_name(self) -> str:
        """The folder of its preview on the site hosts."""
        return f"{self.number}-{self.preview_key}"


class SitePurchase(Base):
    """A site that is being bought, or was: the order that has it. Released when nothing came of it.

    The unique index is what decides between two buyers, before either of them pays.
    """

    __tablename__ = "site_purchases"

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    # Of the orders, whose rows name no site.
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), unique=True)
    reserved_at: Mapped[datetime] = mapped_column(UTCDateTime)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)
    released_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    site: Mapped[Site] = relationship()

    __table_args__ = (
        Index(
            "uq_site_purchases_standing",
            "site_id",
            unique=True,
            postgresql_where=text("released_at IS NULL"),
            sqlite_where=text("released_at IS NULL"),
        ),
    )


class SiteBlob(Base):
    """Bytes that versions of one site consist of: `name` is where the storage has them.

    Whoever makes a version touches the blobs it needs first; only those that nobody has touched for a day and no
    version names are removed. A removed hash that comes back gets another name, so that removing the old bytes, however
    late, never takes the new ones.
    """

    __tablename__ = "site_blobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    sha256: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(200), unique=True)
    size_bytes: Mapped[int]
    touched_at: Mapped[datetime] = mapped_column(UTCDateTime)

    __table_args__ = (UniqueConstraint("site_id", "sha256"),)


class Deployment(Base):
    """One version on its way onto one site host."""

    __tablename__ = "deployments"

    MACHINES: ClassVar[Mapping[str, Transitions[Any]]] = {"status": DEPLOYMENT_TRANSITIONS}

    id: Mapped[int] = mapped_column(primary_key=True)
    site_id: Mapped[int] = mapped_column(ForeignKey("sites.id"))
    version_id: Mapped[int] = mapped_column(ForeignKey("site_versions.id"), index=True)
    host: Mapped[str] = mapped_column(String(16))
    status: Mapped[DeploymentStatus] = mapped_column(
        status_column(DeploymentStatus, "deployment_status"), default=DeploymentStatus.QUEUED
    )
    # The folder that is served once this is live, and the one that was served before; empty: none was.
    release: Mapped[str | None] = mapped_column(String(60))
    previous_release: Mapped[str | None] = mapped_column(String(60))
    error: Mapped[str | None] = mapped_column(Text)
    asked_by: Mapped[str] = mapped_column(String(255))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    # Of a live one: when its host last compared what lies there with the version, and since when that differs.
    inspected_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    damaged_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    site: Mapped[Site] = relationship()
    version: Mapped[SiteVersion] = relationship()
    steps: Mapped[list["DeploymentStep"]] = relationship(order_by="DeploymentStep.id")

    __table_args__ = (
        Index("ix_deployments_site", "site_id", "host", "id"),
        # A host serves one release of a site.
        Index(
            "uq_deployments_live",
            "site_id",
            "host",
            unique=True,
            postgresql_where=text("status = 'live'"),
            sqlite_where=text("status = 'live'"),
        ),
    )

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.status not in (DeploymentStatus.QUEUED, DeploymentStatus.RUNNING)


class DeploymentStep(Base):
    """One line of a deployment's log, written while it happens."""

    __tablename__ = "deployment_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    deployment_id: Mapped[int] = mapped_column(ForeignKey("deployments.id"), index=True)
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    # What happened, as a word that the page translates, and what a program said about it.
    step: Mapped[str] = mapped_column(String(32))
    detail: Mapped[str] = mapped_column(Text, default="")
