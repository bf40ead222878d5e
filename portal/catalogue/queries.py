"""Reads of the catalogue: the shelf of the shop, one package, the lists of the back office."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Integer, Row, Select, and_, bindparam, func, literal, select, tuple_
from sqlalchemy.orm import joinedload, selectinload

from portal.catalogue.errors import PackageNotFound
from portal.catalogue.models import BundleChild, Package
from portal.catalogue.wording import fold
from portal.core.db import db, read_alone

SHELF_SIZE = 24
_LONGEST_SEARCH = 100
_MOST_WORDS = 8
# Stands between the categories in one text; no category can hold a control character.
_SEPARATOR = "\x1f"

Ownership = Callable[[int], Select[int]]
_ownership: list[Ownership] = []


def register_ownership(statement: Ownership) -> None:
    """Tell the catalogue how to find the ids of the packages a user owns: who sells knows, the catalogue does not."""
    _ownership[:] = [statement]


@dataclass(frozen=True, slots=True)
class ShelfFilter:
    """What a visitor wants to see. `after` and `before` are cursors of the address bar; nonsense counts as none."""

    category: str = ""
    text: str = ""
    is_featured: bool = False
    after: str = ""
    before: str = ""

    @property
    def is_narrowed(self) -> bool:
        """Whether anything is left out on purpose."""
        return bool(self.category or self.text or self.is_featured)


@dataclass(frozen=True, slots=True)
class Shelf:
    """One page of packages, with all categories for the filter and the cursors of the neighbouring pages."""

    packages: Sequence[Row[Any]]
    categories: Sequence[str]
    previous: str | None
    next: str | None


def read_shelf(wanted: ShelfFilter, *, user_id: int | None, size: int = SHELF_SIZE) -> Shelf:
    """A page of the published packages in the order staff chose; one statement, whatever is on it."""
    backwards = _cursor(wanted.before)
    forwards = _cursor(wanted.after) if backwards is None else None
    place = tuple_(Package.position, Package.id)
    conditions = _conditions(wanted)
    if forwards is not None:
        conditions.append(place > tuple_(*map(literal, forwards)))
    if backwards is not None:
        conditions.append(place < tuple_(*map(literal, backwards)))
    rows = _rows_with_categories(conditions, user_id, size + 1, descending=backwards is not None)
    categories = sorted((rows[0].categories or "").split(_SEPARATOR), key=fold) if rows[0].categories else []
    packages = [row for row in rows if row.id is not None]
    has_more, packages = len(packages) > size, packages[:size]
    if backwards is not None:
        packages.reverse()
    has_previous = has_more if backwards is not None else forwards is not None
    has_next = has_more if backwards is None else True
    return Shelf(
        packages=packages,
        categories=categories,
        previous=_cursor_of(packages[0]) if packages and has_previous else None,
        next=_cursor_of(packages[-1]) if packages and has_next else None,
    )


def read_front(*, user_id: int | None, size: int = 6) -> Shelf:
    """What the home page shows: the featured packages first, then the others, and all categories."""
    rows = _rows_with_categories([], user_id, size, featured_first=True)
    categories = sorted((rows[0].categories or "").split(_SEPARATOR), key=fold) if rows[0].categories else []
    return Shelf([row for row in rows if row.id is not None], categories, None, None)


def _rows_with_categories(
    conditions: Sequence[Any],
    user_id: int | None,
    limit: int,
    *,
    descending: bool = False,
    featured_first: bool = False,
) -> Sequence[Row[Any]]:
    """What is published, each row with all categories in one text; one row without a package when there is none."""
    if conditions:
        statement = _shelf(conditions, user_id, limit, descending=descending, featured_first=featured_first)
        return db.session.execute(statement).all()
    whole = _whole_shelf(limit, is_known=user_id is not None, featured_first=featured_first)
    return db.session.execute(whole, {} if user_id is None else {"user_id": user_id}).all()


@lru_cache(maxsize=8)
def _whole_shelf(limit: int, *, is_known: bool, featured_first: bool) -> Select[Any]:
    """What most visitors look at, built once: building it takes as long as asking it."""
    user_id = bindparam("user_id", type_=Integer) if is_known else None
    return _shelf([], user_id, limit, descending=False, featured_first=featured_first)


def _shelf(
    conditions: Sequence[Any], user_id: Any, limit: int, *, descending: bool, featured_first: bool
) -> Select[Any]:
    """The filter's choices and the list in one round trip: the outer join starts at a row that always exists."""
    every = select(Package.category).where(Package.is_published.is_(True)).distinct().subquery()
    frame = select(func.aggregate_strings(every.c.category, _SEPARATOR).label("categories")).subquery()
    order: list[Any] = [Package.is_featured.desc()] if featured_first else []
    order += [Package.position.desc(), Package.id.desc()] if descending else [Package.position, Package.id]
    return (
        select(
            frame.c.categories,
            Package.id,
            Package.slug,
            Package.name,
            Package.short_description,
            Package.category,
            Package.tools,
            Package.price_minor,
            Package.original_price_minor,
            Package.currency,
            Package.is_featured,
            Package.is_bundle,
            Package.position,
            _is_owned(user_id).label("is_owned"),
        )
        .select_from(frame.outerjoin(Package, and_(Package.is_published.is_(True), *conditions)))
        .order_by(*order)
        .limit(limit)
    )


def _conditions(wanted: ShelfFilter) -> list[Any]:
    conditions: list[Any] = []
    if wanted.category:
        conditions.append(Package.category == wanted.category)
    if wanted.is_featured:
        conditions.append(Package.is_featured.is_(True))
    words = fold(wanted.text[:_LONGEST_SEARCH]).split()[:_MOST_WORDS]
    return [*conditions, *(Package.search_text.contains(word, autoescape=True) for word in words)]


def _is_owned(user_id: Any) -> Any:
    if user_id is None or not _ownership:
        return literal(value=False)
    return Package.id.in_(_ownership[0](user_id))


def _cursor(text: str) -> tuple[int, int] | None:
    parts = text.split("-")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _cursor_of(row: Row[Any]) -> str:
    return f"{row.position}-{row.id}"


_REVISION = select(func.max(Package.updated_at), func.count(Package.id))


def read_revision() -> tuple[datetime | None, int]:
    """What names the catalogue's state: it changes with every change of a package, and with nothing else."""
    row = read_alone(_REVISION)
    return row[0], row[1]


@dataclass(frozen=True, slots=True)
class ProductPage:
    """One package with its steps and contents, and whether the visitor has it."""

    package: Package
    is_owned: bool

    @property
    def contents(self) -> list[Package]:
        """What a bundle contains, in order."""
        return [child.package for child in self.package.children]


def get_product(slug: str, *, user_id: int | None) -> ProductPage:
    """A published package, in one statement. Raises PackageNotFound."""
    row = (
        db.session.execute(
            select(Package, _is_owned(user_id))
            .where(Package.slug == slug, Package.is_published.is_(True))
            .options(joinedload(Package.processes), joinedload(Package.children).joinedload(BundleChild.package))
        )
        .unique()
        .one_or_none()
    )
    if row is None:
        raise PackageNotFound
    return ProductPage(row[0], bool(row[1]))


def find_published(slug: str) -> Package | None:
    """A package that can be bought."""
    package: Package | None = db.session.scalar(
        select(Package).where(Package.slug == slug, Package.is_published.is_(True))
    )
    return package


def get_package(package_id: int) -> Package:
    """Any package, with its steps and contents, for staff. Raises PackageNotFound."""
    package: Package | None = db.session.scalar(
        select(Package)
        .where(Package.id == package_id)
        .options(selectinload(Package.processes), selectinload(Package.children).joinedload(BundleChild.package))
    )
    if package is None:
        raise PackageNotFound
    return package


def list_packages(wanted: ShelfFilter, *, is_published: bool | None = None, limit: int = 200) -> list[Package]:
    """Packages for staff, published or not, in the catalogue's order."""
    statement = select(Package).where(*_conditions(wanted)).order_by(Package.position, Package.id).limit(limit)
    if is_published is not None:
        statement = statement.where(Package.is_published.is_(is_published))
    return list(db.session.scalars(statement))


def list_bundle_candidates(package_id: int) -> list[Package]:
    """What a bundle may contain: every package that is no bundle and not itself."""
    return list(
        db.session.scalars(
            select(Package)
            .where(Package.is_bundle.is_(False), Package.id != package_id)
            .order_by(Package.position, Package.id)
        )
    )
