"""What a package is made of, checked before any of it is kept; the same for the back office and for the importer."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from portal.catalogue.errors import InvalidPackage
from portal.catalogue.models import Package

# 99 licences of the dearest package must fit any provider's and PostgreSQL's integers with room to spare.
MAX_PRICE_MINOR = 1_000_000_000
MAX_TOOLS = 20
MAX_PROCESSES = 30
_SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_CURRENCY = re.compile(r"[A-Z]{3}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Problem = tuple[str, LazyString]


@dataclass(frozen=True, slots=True)
class ProcessValues:
    """One step of what a package automates."""

    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class PackageValues:
    """Everything staff decide about a package, except whether it is published and what a bundle contains."""

    slug: str
    name: str
    short_description: str
    category: str
    price_minor: int
    currency: str = "PLN"
    original_price_minor: int | None = None
    description: str = ""
    tools: tuple[str, ...] = ()
    tax_rate_basis_points: int = 2300
    is_featured: bool = False
    processes: tuple[ProcessValues, ...] = field(default=())


def values_of(package: Package) -> PackageValues:
    """A package as values, for a form to start from and for the audit log to compare."""
    return PackageValues(
        slug=package.slug,
        name=package.name,
        short_description=package.short_description,
        category=package.category,
        price_minor=package.price_minor,
        currency=package.currency,
        original_price_minor=package.original_price_minor,
        description=package.description,
        tools=tuple(package.tools),
        tax_rate_basis_points=package.tax_rate_basis_points,
        is_featured=package.is_featured,
        processes=tuple(ProcessValues(process.name, process.description) for process in package.processes),
    )


def check(values: PackageValues) -> None:
    """Raise InvalidPackage for the first value that cannot be kept, naming its field."""
    for name, sentence in problems_of(values):
        raise InvalidPackage(sentence, field=name)


def problems_of(values: PackageValues) -> Iterator[Problem]:
    """Everything that is wrong with the values, as (field, sentence)."""
    if not _SLUG.fullmatch(values.slug) or len(values.slug) > 80:
        yield "slug", _l("Use up to 80 small letters, digits and single hyphens, such as sales-automation.")
    for name, text, longest, required in (
        ("name", values.name, 120, True),
        ("short_description", values.short_description, 300, True),
        ("category", values.category, 60, True),
        ("description", values.description, 20_000, False),
    ):
        yield from _text_problems(name, text, longest, required=required)
    yield from _price_problems(values)
    yield from _list_problems(values)


def _text_problems(name: str, text: str, longest: int, *, required: bool) -> Iterator[Problem]:
    if required and not text.strip():
        yield name, _l("This is needed.")
    if len(text) > longest:
        yield name, _l("Use at most %(count)s characters.", count=longest)
    if _CONTROL.search(text):
        yield name, _l("Remove the invisible control characters.")


def _price_problems(values: PackageValues) -> Iterator[Problem]:
    if not 0 < values.price_minor <= MAX_PRICE_MINOR:
        yield "price_minor", _l("The price must be above zero and at most 10 million.")
    original = values.original_price_minor
    if original is not None and original < values.price_minor:
        yield "original_price_minor", _l("The original price cannot be lower than the price.")
    if original is not None and original > MAX_PRICE_MINOR:
        yield "original_price_minor", _l("The price must be above zero and at most 10 million.")
    if not _CURRENCY.fullmatch(values.currency):
        yield "currency", _l("Use a currency code of three capital letters, such as PLN.")
    if not 0 <= values.tax_rate_basis_points <= 10_000:
        yield "tax_rate_basis_points", _l("The tax rate must be between 0 and 100 percent.")


def _list_problems(values: PackageValues) -> Iterator[Problem]:
    if len(values.tools) > MAX_TOOLS:
        yield "tools", _l("Name at most %(count)s tools.", count=MAX_TOOLS)
    for tool in values.tools:
        yield from _text_problems("tools", tool, 40, required=True)
    if len(values.processes) > MAX_PROCESSES:
        yield "processes", _l("Describe at most %(count)s steps.", count=MAX_PROCESSES)
    for process in values.processes:
        yield from _text_problems("processes", process.name, 160, required=True)
        yield from _text_problems("processes", process.description, 2_000, required=False)
