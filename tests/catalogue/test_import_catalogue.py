"""A catalogue comes from a data file: whole or not at all, as often as wanted, with every mistake named."""

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.catalogue import queries, services
from portal.catalogue.errors import ImportRefused
from portal.catalogue.models import Package
from portal.catalogue.queries import ShelfFilter
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.demo import CATALOGUE
from tests.factories import make_package

ROW: dict[str, Any] = {
    "slug": "faktury",
    "name": "Faktury",
    "short_description": "Krótko.",
    "category": "Finanse",
    "price_minor": 9900,
    "published": True,
}
# Checklist 2: slug, price, original price, category, featured.
DEMO = {
    "biuro-autopilot": (6900, 14900, "Operacje", True),
    "chatbot-rag": (14900, 24900, "Obsługa klienta", True),
    "sales-automation": (49700, None, "Sprzedaż", False),
    "content-creator": (49700, None, "Marketing", False),
    "devops-autopilot": (59700, None, "Inżynieria", False),
    "social-media": (39700, None, "Marketing", False),
}


def load(*rows: Any, **changes: Any) -> services.ImportResult:
    """Import rows; with `changes`, one row that differs from a good one."""
    content = json.dumps({"packages": [*rows, *([{**ROW, **changes}] if changes else [])]}).encode()
    with unit_of_work():
        return services.import_catalogue(content, by="command:test", at=clock.now())


def refusals(*rows: Any, **changes: Any) -> list[str]:
    with pytest.raises(ImportRefused) as refused:
        load(*rows, **changes)
    assert db.session.scalars(select(Package)).all() == []
    return refused.value.problems


def test_the_demo_catalogue_is_the_one_that_was_promised(app: Flask) -> None:
    with unit_of_work():
        result = services.import_catalogue(CATALOGUE.read_bytes(), by="command:test", at=clock.now())
    assert len(result.created) == 7
    packages = {one.slug: one for one in queries.list_packages(ShelfFilter())}
    for slug, (price, original, category, is_featured) in DEMO.items():
        package = packages[slug]
        assert (package.price_minor, package.original_price_minor, package.category) == (price, original, category)
        assert package.is_featured is is_featured
        assert package.currency == "PLN"
        assert package.is_published
        assert package.description
        assert package.tools
        assert 4 <= len(package.processes) <= 6
    (bundle,) = [one for one in packages.values() if one.is_bundle]
    contents = [child.package for child in bundle.children]
    assert [child.slug for child in contents] == ["biuro-autopilot", "chatbot-rag", "social-media"]
    assert bundle.original_price_minor == sum(child.price_minor for child in contents) > bundle.price_minor


def test_importing_again_changes_nothing(app: Flask) -> None:
    for _ in range(2):
        with unit_of_work():
            result = services.import_catalogue(CATALOGUE.read_bytes(), by="command:test", at=clock.now())
    assert (result.created, result.updated) == ((), ())
    assert len(result.unchanged) == 7
    events = list(db.session.scalars(select(AuditEvent.event)))
    assert events.count("package.created") == 7
    assert events.count("package.updated") == 0
    assert events.count("package.published") == 7


def test_a_changed_row_updates_its_package_and_leaves_the_others(app: Flask) -> None:
    load({**ROW}, {**ROW, "slug": "inne"})
    make_package(slug="poza-plikiem")
    result = load({**ROW, "price_minor": 8900}, {**ROW, "slug": "inne"})
    assert (result.created, result.updated, result.unchanged) == ((), ("faktury",), ("inne",))
    assert {one.slug for one in queries.list_packages(ShelfFilter())} == {"faktury", "inne", "poza-plikiem"}


def test_staff_keep_the_order_they_chose(app: Flask) -> None:
    rows = [{**ROW, "slug": slug} for slug in ("a", "b", "c")]
    load(*rows)
    last = queries.find_published("c")
    assert last is not None
    with unit_of_work():
        services.move_package(last.id, -2, by="staff", at=clock.now())
    load(*rows)
    assert [one.slug for one in queries.list_packages(ShelfFilter())] == ["c", "a", "b"]


def test_a_bundle_may_name_packages_that_are_here_already(app: Flask) -> None:
    make_package(slug="dawny")
    load({**ROW, "slug": "zestaw", "children": ["dawny"]})
    bundle = queries.find_published("zestaw")
    assert bundle is not None
    assert bundle.is_bundle


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"slug": "Faktury!"}, "row 1 (Faktury!), slug: Use up to 80"),
        ({"slug": 7}, "row 1, slug: This must be text"),
        ({"name": None}, "row 1 (faktury), name: This must be text"),
        ({"name": ""}, "row 1 (faktury), name: This is needed."),
        ({"name": "\ud800"}, "row 1 (faktury), name: This must be text"),
        ({"name": "a\u0000"}, "row 1 (faktury), name: Remove the invisible"),
        ({"price_minor": 69.0}, "row 1 (faktury), price_minor: This must be a whole number in the smallest unit"),
        ({"price_minor": "6900"}, "row 1 (faktury), price_minor: This must be a whole number"),
        ({"price_minor": True}, "row 1 (faktury), price_minor: This must be a whole number"),
        ({"price_minor": 0}, "row 1 (faktury), price_minor: The price must be above zero"),
        ({"price_minor": 10**30}, "row 1 (faktury), price_minor: The price must be above zero"),
        ({"original_price_minor": 1}, "row 1 (faktury), original_price_minor: The original price cannot be lower"),
        ({"tax_rate_basis_points": 23.0}, "row 1 (faktury), tax_rate_basis_points: This must be a whole number of"),
        ({"currency": "zl"}, "row 1 (faktury), currency: Use a currency code"),
        ({"featured": "yes"}, "row 1 (faktury), featured: This must be true or false."),
        ({"published": 1}, "row 1 (faktury), published: This must be true or false."),
        ({"tools": "Gmail"}, "row 1 (faktury), tools: This must be a list of texts."),
        ({"tools": [1]}, "row 1 (faktury), tools: This must be a list of texts."),
        ({"processes": ["x"]}, "row 1 (faktury), processes: This must be a list of"),
        ({"processes": [{"name": "x", "note": "y"}]}, "row 1 (faktury), processes: This must be a list of"),
        ({"processes": [{"name": ""}]}, "row 1 (faktury), processes: This is needed."),
        ({"children": ["nie-ma"]}, "row 1 (faktury), children: There is no package nie-ma."),
        ({"children": ["faktury"]}, "row 1 (faktury), children: A bundle cannot contain itself."),
        ({"price": 69}, "row 1 (faktury), price: This field is not known."),
        ({"is_admin": True}, "row 1 (faktury), is_admin: This field is not known."),
    ],
)
def test_a_mistake_is_named_with_row_and_field(app: Flask, changes: dict[str, Any], problem: str) -> None:
    (found,) = refusals(**changes)
    assert found.startswith(problem)


def test_every_mistake_is_named_at_once_and_nothing_is_kept(app: Flask) -> None:
    problems = refusals(
        {**ROW, "slug": "dobry"},
        {key: value for key, value in ROW.items() if key != "price_minor"},
        "text",
        {**ROW, "name": "", "category": ""},
    )
    assert problems == [
        "row 2 (faktury), price_minor: This field is missing.",
        "row 3: must be an object",
        "row 4 (faktury), name: This is needed.",
        "row 4 (faktury), category: This is needed.",
    ]


def test_an_address_that_is_used_twice_names_both_rows(app: Flask) -> None:
    assert refusals({**ROW}, {**ROW, "slug": "inne"}, {**ROW}) == [
        "row 3 (faktury), slug: This address is used in row 1 as well."
    ]


def test_a_mistake_that_only_the_database_knows_undoes_what_was_written_before_it(app: Flask) -> None:
    assert refusals({**ROW}, {**ROW, "slug": "zestaw", "children": ["faktury", "faktury"]}) == [
        "row 2 (zestaw), children: Name each package once, and at most 20 of them."
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"packages": []}',
        b'{"packages": {}}',
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"packages": [NaN]}',
        b'{"packages": [{"price_minor": ' + b"9" * 5_000 + b"}]}",
        b" " * (5 * 1024 * 1024 + 1),
    ],
)
def test_what_is_no_catalogue_is_refused(app: Flask, content: bytes) -> None:
    with pytest.raises(ImportRefused) as refused, unit_of_work():
        services.import_catalogue(content, by="command:test", at=clock.now())
    assert refused.value.problems


def test_the_command_imports_and_says_what_it_did(app: Flask) -> None:
    run = app.test_cli_runner()
    first = run.invoke(args=["import-catalogue", str(CATALOGUE)])
    assert first.exit_code == 0
    assert "7 created, 0 updated, 0 unchanged" in first.output
    assert "http://localhost/packages/biuro-autopilot" in first.output
    second = run.invoke(args=["import-catalogue", str(CATALOGUE)])
    assert "0 created, 0 updated, 7 unchanged" in second.output


def test_the_command_names_every_mistake_and_fails(app: Flask, tmp_path: Path) -> None:
    file = tmp_path / "katalog.json"
    file.write_text(json.dumps({"packages": [{**ROW}, {**ROW, "slug": "b", "price_minor": "x"}]}), encoding="utf-8")
    result = app.test_cli_runner().invoke(args=["import-catalogue", str(file)])
    assert result.exit_code == 1
    assert "nothing was imported, 1 to mend" in result.stderr
    assert "row 2 (b), price_minor: This must be a whole number" in result.stderr
    assert db.session.scalars(select(Package)).all() == []


def test_the_command_says_when_there_is_no_file(app: Flask, tmp_path: Path) -> None:
    result = app.test_cli_runner().invoke(args=["import-catalogue", str(tmp_path / "nichts.json")])
    assert result.exit_code == 1
    assert "cannot be read" in result.stderr
