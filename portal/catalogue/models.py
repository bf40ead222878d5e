"""What the shop sells as packages. A bundle is a package with children."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, String, Text, UniqueConstraint, event
from sqlalchemy.orm import Mapped, mapped_column, relationship

from portal.catalogue.wording import fold
from portal.core.db import Base, UTCDateTime
from portal.core.money import Money


class Package(Base):
    """One automation package or bundle. Prices include tax and are in minor units."""

    __tablename__ = "packages"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(80), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    short_description: Mapped[str] = mapped_column(String(300))
    description: Mapped[str] = mapped_column(Text, default="")
    category: Mapped[str] = mapped_column(String(60))
    tools: Mapped[list[str]] = mapped_column(JSON, default=list)
    price_minor: Mapped[int]
    original_price_minor: Mapped[int | None]
    currency: Mapped[str] = mapped_column(String(3), default="PLN")
    tax_rate_basis_points: Mapped[int] = mapped_column(default=2300)
    is_featured: Mapped[bool] = mapped_column(default=False)
    is_published: Mapped[bool] = mapped_column(default=False)
    is_bundle: Mapped[bool] = mapped_column(default=False)
    position: Mapped[int] = mapped_column(default=0)
    # Everything a search looks at, without case and accents; kept by the listener below.
    search_text: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    updated_at: Mapped[datetime] = mapped_column(UTCDateTime)

    processes: Mapped[list["PackageProcess"]] = relationship(
        order_by="PackageProcess.position", cascade="all, delete-orphan"
    )
    children: Mapped[list["BundleChild"]] = relationship(
        foreign_keys="BundleChild.bundle_id", order_by="BundleChild.position", cascade="all, delete-orphan"
    )

    __table_args__ = (
        CheckConstraint("price_minor > 0", name="price_positive"),
        CheckConstraint(
            "original_price_minor IS NULL OR original_price_minor >= price_minor", name="original_price_not_lower"
        ),
        CheckConstraint("tax_rate_basis_points BETWEEN 0 AND 10000", name="tax_rate"),
        Index("ix_packages_published", "is_published", "position", "id"),
        Index("ix_packages_category", "category", "position", "id"),
    )

    @property
    def price(self) -> Money:
        """What one licence costs, tax included."""
        return Money(self.price_minor, self.currency)

    @property
    def original_price(self) -> Money | None:
        """The price before a reduction, if there was one."""
        return None if self.original_price_minor is None else Money(self.original_price_minor, self.currency)


@event.listens_for(Package, "before_insert")
@event.listens_for(Package, "before_update")
def _index_words(_mapper: Any, _connection: Any, package: Package) -> None:
    """No writer can forget it: the two databases fold letters differently, so we do it before they see the text."""
    words = [package.name, package.short_description, package.category, *(package.tools or []), package.description]
    package.search_text = fold(" ".join(word for word in words if word))


class PackageProcess(Base):
    """One step of what a package automates."""

    __tablename__ = "package_processes"

    id: Mapped[int] = mapped_column(primary_key=True)
    package_id: Mapped[int] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"), index=True)
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(160))
    description: Mapped[str] = mapped_column(Text, default="")


class BundleChild(Base):
    """A package that a bundle contains. A bundle contains no bundles."""

    __tablename__ = "bundle_children"

    id: Mapped[int] = mapped_column(primary_key=True)
    bundle_id: Mapped[int] = mapped_column(ForeignKey("packages.id", ondelete="CASCADE"))
    package_id: Mapped[int] = mapped_column(ForeignKey("packages.id"), index=True)
    position: Mapped[int]

    package: Mapped[Package] = relationship(foreign_keys=[package_id])

    __table_args__ = (
        UniqueConstraint("bundle_id", "package_id"),
        CheckConstraint("bundle_id <> package_id", name="not_itself"),
    )
