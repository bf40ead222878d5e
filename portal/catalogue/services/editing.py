"""Keeping the catalogue: create, change, publish, order, bundle, delete. Each function takes who acts and when."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from portal.catalogue.errors import InvalidBundle, PackageChanged, PackageInUse, PackageNotFound, SlugTaken
from portal.catalogue.models import BundleChild, Package, PackageProcess
from portal.catalogue.services.values import PackageValues, ProcessValues, check, values_of
from portal.core import audit
from portal.core.db import db, is_postgresql

MAX_CHILDREN = 20
# The transaction-level lock all writers of the catalogue take: any number, but the same one.
_LOCK_NUMBER = 7_261_001


def create_package(values: PackageValues, *, by: str, at: datetime) -> Package:
    """Put a new, unpublished package at the end of the catalogue.

    Raises InvalidPackage, naming the field; SlugTaken.
    """
    check(values)
    at = lock_catalogue(at)
    _require_free_slug(values.slug)
    package = Package(
        slug=values.slug, is_published=False, is_bundle=False, position=_last_position() + 1, created_at=at
    )
    _fill(package, values, at)
    db.session.add(package)
    db.session.flush()
    audit.record("package.created", actor=by, subject=_subject(package), after=_facts(package))
    return package


def update_package(
    package_id: int, values: PackageValues, *, by: str, at: datetime, seen_at: datetime | None = None
) -> Package:
    """Change what a package is. Orders that were placed keep what they were placed with.

    `seen_at` is the `updated_at` the editor's form was made from: somebody else's change since then is not
    overwritten. Raises PackageNotFound, PackageChanged, InvalidPackage or SlugTaken.
    """
    check(values)
    at = lock_catalogue(at)
    package = _load(package_id)
    if seen_at is not None and package.updated_at != seen_at:
        raise PackageChanged
    if values == values_of(package):
        return package
    if values.slug != package.slug:
        _require_free_slug(values.slug)
    before = _facts(package)
    _fill(package, values, at)
    db.session.flush()
    audit.record("package.updated", actor=by, subject=_subject(package), before=before, after=_facts(package))
    return package


def publish_package(package_id: int, *, by: str, at: datetime) -> Package:
    """Show a package in the shop; publishing again changes nothing. Raises PackageNotFound."""
    return _set_published(package_id, by=by, at=at, is_published=True)


def unpublish_package(package_id: int, *, by: str, at: datetime) -> Package:
    """Take a package out of the shop; whoever bought it keeps it. Raises PackageNotFound."""
    return _set_published(package_id, by=by, at=at, is_published=False)


def _set_published(package_id: int, *, by: str, at: datetime, is_published: bool) -> Package:
    at = lock_catalogue(at)
    package = _load(package_id)
    if package.is_published is is_published:
        return package
    package.is_published = is_published
    package.updated_at = at
    event = "package.published" if is_published else "package.unpublished"
    audit.record(event, actor=by, subject=_subject(package))
    return package


def move_package(package_id: int, steps: int, *, by: str, at: datetime) -> Package:
    """Move a package towards the front (negative) or the end of the catalogue; past the edge is the edge.

    Raises PackageNotFound.
    """
    at = lock_catalogue(at)
    packages = list(
        db.session.scalars(
            select(Package).order_by(Package.position, Package.id).execution_options(populate_existing=True)
        )
    )
    place = next((index for index, one in enumerate(packages) if one.id == package_id), None)
    if place is None:
        raise PackageNotFound
    package = packages.pop(place)
    target = min(max(place + steps, 0), len(packages))
    packages.insert(target, package)
    for position, one in enumerate(packages, start=1):
        if one.position != position:
            one.position = position
            one.updated_at = at
    if target != place:
        audit.record(
            "package.moved", actor=by, subject=_subject(package), before={"place": place + 1},
            after={"place": target + 1},
        )  # fmt: skip
    return package


def set_bundle_children(package_id: int, child_ids: Sequence[int], *, by: str, at: datetime) -> Package:
    """Decide what a bundle contains, in this order; without contents it is a package like any other.

    Orders that were placed keep the contents of their day. Raises PackageNotFound or InvalidBundle.
    """
    at = lock_catalogue(at)
    package = _load(package_id)
    before = [child.package_id for child in package.children]
    wanted = list(child_ids)
    if wanted == before:
        return package
    _check_children(package, wanted)
    # In two steps: the unique pair (bundle, package) must not be met by an old row that is about to go.
    package.children = []
    db.session.flush()
    package.children = [BundleChild(package_id=child, position=place) for place, child in enumerate(wanted, start=1)]
    package.is_bundle = bool(wanted)
    package.updated_at = at
    db.session.flush()
    audit.record(
        "package.contents_changed",
        actor=by,
        subject=_subject(package),
        before={"packages": before},
        after={"packages": wanted},
    )
    return package


def delete_package(package_id: int, *, by: str, at: datetime) -> None:
    """Remove a package that nobody ever ordered. Raises PackageNotFound or PackageInUse.

    The database decides: order lines, enrolments and bundles refer to a package without ON DELETE, so an order that
    is being placed at this moment and this deletion cannot both succeed.
    """
    lock_catalogue(at)
    package = _load(package_id)
    subject, before = _subject(package), _facts(package)
    try:
        with db.session.begin_nested():
            db.session.delete(package)
            db.session.flush()
    except IntegrityError:
        raise PackageInUse from None
    audit.record("package.deleted", actor=by, subject=subject, before=before)


def lock_catalogue(at: datetime) -> datetime:
    """Wait for other writers of the catalogue, and return the instant to stamp on what changes.

    The stamp is later than every other in the catalogue, also when two hosts' clocks disagree: `max(updated_at)` and
    the number of rows then name the catalogue's state, which is what lets a visitor's browser keep a page.
    SQLite needs no lock here: its unit of work is alone from BEGIN on.
    """
    if is_postgresql():
        db.session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
    newest: datetime | None = db.session.scalar(select(func.max(Package.updated_at)))
    return at if newest is None else max(at, newest + timedelta(microseconds=1))


def _load(package_id: int) -> Package:
    package: Package | None = db.session.get(Package, package_id, populate_existing=True)
    if package is None:
        raise PackageNotFound
    return package


def _require_free_slug(slug: str) -> None:
    if db.session.scalar(select(Package.id).where(Package.slug == slug)) is not None:
        raise SlugTaken(field="slug")


def _last_position() -> int:
    return db.session.scalar(select(func.max(Package.position))) or 0


def _fill(package: Package, values: PackageValues, at: datetime) -> None:
    package.slug = values.slug
    package.name = values.name.strip()
    package.short_description = values.short_description.strip()
    package.description = values.description.strip()
    package.category = values.category.strip()
    package.tools = list(values.tools)
    package.price_minor = values.price_minor
    package.original_price_minor = values.original_price_minor
    package.currency = values.currency
    package.tax_rate_basis_points = values.tax_rate_basis_points
    package.is_featured = values.is_featured
    if [ProcessValues(one.name, one.description) for one in package.processes] != list(values.processes):
        package.processes = [
            PackageProcess(position=place, name=one.name, description=one.description)
            for place, one in enumerate(values.processes, start=1)
        ]
    package.updated_at = at


def _check_children(package: Package, child_ids: list[int]) -> None:
    if not child_ids and package.is_published:
        raise InvalidBundle(_l("A published bundle needs at least one package. Unpublish it first."), field="children")
    if len(child_ids) > MAX_CHILDREN or len(set(child_ids)) != len(child_ids):
        raise InvalidBundle(_l("Name each package once, and at most 20 of them."), field="children")
    if package.id in child_ids:
        raise InvalidBundle(_l("A bundle cannot contain itself."), field="children")
    if child_ids and db.session.scalar(select(BundleChild.id).where(BundleChild.package_id == package.id).limit(1)):
        raise InvalidBundle(_l("This package is part of a bundle, so it cannot be a bundle itself."), field="children")
    found = list(db.session.scalars(select(Package).where(Package.id.in_(child_ids))))
    if len(found) != len(child_ids):
        raise InvalidBundle(_l("One of these packages does not exist."), field="children")
    if any(child.is_bundle for child in found):
        raise InvalidBundle(_l("A bundle cannot contain another bundle."), field="children")


def _subject(package: Package) -> str:
    return f"packages:{package.id}"


def _facts(package: Package) -> dict[str, Any]:
    """What the audit log keeps: what customers decide by, not the long texts."""
    return {
        "slug": package.slug,
        "name": package.name,
        "category": package.category,
        "price_minor": package.price_minor,
        "original_price_minor": package.original_price_minor,
        "currency": package.currency,
        "tax_rate_basis_points": package.tax_rate_basis_points,
        "is_featured": package.is_featured,
        "steps": len(package.processes),
    }
