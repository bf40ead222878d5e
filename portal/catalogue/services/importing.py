"""Taking a catalogue from a data file: everything is checked first, then everything is kept, or nothing.

The file is `{"packages": [{...}]}`. A row is found again by its slug, so the same file can be imported any number of
times; rows that are not in the file are left alone. Text fields that are missing are empty.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_babel import lazy_gettext as _l
from sqlalchemy import select

from portal.catalogue.errors import ImportRefused, InvalidBundle
from portal.catalogue.models import Package
from portal.catalogue.services import editing
from portal.catalogue.services.values import PackageValues, ProcessValues, problems_of
from portal.core.db import db

MAX_BYTES = 5 * 1024 * 1024
_REQUIRED = ("slug", "name", "short_description", "category", "price_minor")


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did, as slugs."""

    created: tuple[str, ...]
    updated: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the file, read; `line` is its place, counted from 1 as people do."""

    line: int
    values: PackageValues
    is_published: bool
    children: tuple[str, ...]


def import_catalogue(content: bytes, *, by: str, at: datetime) -> ImportResult:
    """Create and update packages from a data file; importing the same file again changes nothing.

    Raises ImportRefused with every mistake, naming row and field; then nothing was changed.
    """
    rows = _read(content)
    known = {
        package.slug: package
        for package in db.session.scalars(
            select(Package).where(Package.slug.in_([row.values.slug for row in rows]))
        ).all()
    }
    outcome: dict[str, list[str]] = {"created": [], "updated": [], "unchanged": []}
    packages: dict[str, Package] = {}
    before: dict[str, datetime] = {}
    for row in rows:
        package = known.get(row.values.slug)
        if package is None:
            package = editing.create_package(row.values, by=by, at=at)
        else:
            before[row.values.slug] = package.updated_at
            package = editing.update_package(package.id, row.values, by=by, at=at)
        packages[row.values.slug] = package
    for row in rows:
        package = packages[row.values.slug]
        _set_contents(row, package, packages, by=by, at=at)
        change = editing.publish_package if row.is_published else editing.unpublish_package
        change(package.id, by=by, at=at)
        was = before.get(row.values.slug)
        outcome["created" if was is None else "unchanged" if was == package.updated_at else "updated"].append(
            package.slug
        )
    return ImportResult(**{name: tuple(slugs) for name, slugs in outcome.items()})


def _set_contents(row: _Row, package: Package, packages: dict[str, Package], *, by: str, at: datetime) -> None:
    """Give a bundle its children; what only the database can know to be wrong is a mistake of the row as well."""
    ids: list[int] = []
    for slug in row.children:
        child = packages.get(slug) or db.session.scalar(select(Package).where(Package.slug == slug))
        if child is None:
            raise ImportRefused(
                [_named(row.line, row.values.slug, "children", _l("There is no package %(slug)s.", slug=slug))]
            )
        ids.append(child.id)
    try:
        editing.set_bundle_children(package.id, ids, by=by, at=at)
    except InvalidBundle as error:
        raise ImportRefused([_named(row.line, row.values.slug, "children", error)]) from None


def _read(content: bytes) -> list[_Row]:
    if len(content) > MAX_BYTES:
        raise ImportRefused([_l("The file is larger than 5 MB.")])
    try:
        document = json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ImportRefused([_l("This is not JSON: %(reason)s", reason=str(error))]) from None
    entries = document.get("packages") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise ImportRefused([_l('The file must be an object with a list "packages" that is not empty.')])
    problems: list[str] = []
    rows: list[_Row] = []
    for line, entry in enumerate(entries, start=1):
        row = _read_row(line, entry, problems)
        if row is not None:
            rows.append(row)
    problems.extend(_duplicates(rows))
    if problems:
        raise ImportRefused(problems)
    return rows


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _read_row(line: int, entry: Any, problems: list[str]) -> _Row | None:
    if not isinstance(entry, dict):
        problems.append(_named(line, None, None, _l("must be an object")))
        return None
    slug = entry.get("slug") if isinstance(entry.get("slug"), str) else None
    found = [(name, _l("This field is not known.")) for name in sorted(set(entry) - set(_FIELDS))]
    found += [(name, _l("This field is missing.")) for name in _REQUIRED if name not in entry]
    read: dict[str, Any] = {}
    for name, (reader, sentence) in _FIELDS.items():
        if name not in entry:
            continue
        try:
            read[name] = reader(entry[name])
        except (TypeError, ValueError):
            found.append((name, sentence))
    if not found:
        is_published = read.pop("published", False)
        read["is_featured"] = read.pop("featured", False)
        children = read.pop("children", ())
        row = _Row(line, PackageValues(**read), is_published, children)
        found = list(problems_of(row.values))
        if not found:
            return row
    problems.extend(_named(line, slug, name, sentence) for name, sentence in found)
    return None


def _duplicates(rows: list[_Row]) -> Iterator[str]:
    first: dict[str, int] = {}
    for row in rows:
        slug = row.values.slug
        if slug in first:
            yield _named(row.line, slug, "slug", _l("This address is used in row %(row)s as well.", row=first[slug]))
        first.setdefault(slug, row.line)


def _named(line: int, slug: str | None, name: str | None, sentence: object) -> str:
    place = f"row {line}" + (f" ({slug})" if slug else "")
    return f"{place}, {name}: {sentence}" if name else f"{place}: {sentence}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode("utf-8")  # Half a surrogate pair is no text; no database would take it.
    return value.strip()


def _whole(value: Any) -> int:
    # bool is an int to Python, and 69.0 would be read as 69 groszy by one reader and 69 zł by another.
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value


def _whole_or_none(value: Any) -> int | None:
    return None if value is None else _whole(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_text(item) for item in value)


def _processes(value: Any) -> tuple[ProcessValues, ...]:
    if not isinstance(value, list):
        raise TypeError
    return tuple(_process(item) for item in value)


def _process(item: Any) -> ProcessValues:
    if not isinstance(item, dict) or not {"name"} <= set(item) <= {"name", "description"}:
        raise TypeError
    return ProcessValues(_text(item["name"]), _text(item.get("description", "")))


_Reader = tuple[Callable[[Any], Any], Any]
_TEXT: _Reader = (_text, _l("This must be text in quotation marks."))
_MONEY = _l("This must be a whole number in the smallest unit: 6900 for 69.00.")
_FIELDS: dict[str, _Reader] = {
    "slug": _TEXT,
    "name": _TEXT,
    "short_description": _TEXT,
    "description": _TEXT,
    "category": _TEXT,
    "currency": _TEXT,
    "price_minor": (_whole, _MONEY),
    "original_price_minor": (_whole_or_none, _MONEY),
    "tax_rate_basis_points": (_whole, _l("This must be a whole number of hundredths of a percent: 2300 for 23 %%.")),
    "tools": (_texts, _l("This must be a list of texts.")),
    "featured": (_flag, _l("This must be true or false.")),
    "published": (_flag, _l("This must be true or false.")),
    "processes": (_processes, _l('This must be a list of {"name": "…", "description": "…"}.')),
    "children": (_texts, _l("This must be a list of texts.")),
}
