"""Staff keep the catalogue: create, change, publish, order, bundle, delete."""

import dataclasses
import time
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.catalogue import queries, services
from portal.catalogue.errors import (
    InvalidBundle,
    InvalidPackage,
    PackageChanged,
    PackageInUse,
    PackageNotFound,
    SlugTaken,
)
from portal.catalogue.models import Package, PackageProcess
from portal.catalogue.queries import ShelfFilter
from portal.catalogue.services import PackageValues, ProcessValues
from portal.catalogue.services.values import values_of
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from tests.crowd import all_at_once
from tests.factories import make_package
from tests.orders import shop

BY = "staff@example.com"
VALUES = PackageValues(
    slug="faktury",
    name="Faktury bez pisania",
    short_description="Wystawia faktury z zamówień.",
    category="Finanse",
    price_minor=9900,
    original_price_minor=12900,
    description="Długi opis.",
    tools=("Gmail", "n8n"),
    is_featured=True,
    processes=(ProcessValues("Odczyt zamówienia", "Z poczty."), ProcessValues("Faktura")),
)


def create(values: PackageValues = VALUES) -> Package:
    with unit_of_work():
        return services.create_package(values, by=BY, at=clock.now())


def audit_events() -> list[str]:
    return list(db.session.scalars(select(AuditEvent.event).order_by(AuditEvent.id)))


def test_a_created_package_is_kept_whole_and_is_not_yet_for_sale(app: Flask) -> None:
    package = create()
    db.session.expire_all()
    kept = queries.get_package(package.id)
    assert values_of(kept) == VALUES
    assert not kept.is_published
    assert queries.find_published("faktury") is None
    assert audit_events() == ["package.created"]


def test_new_packages_stand_at_the_end(app: Flask) -> None:
    first, second = create(), create(dataclasses.replace(VALUES, slug="drugi"))
    assert first.position < second.position


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"slug": "Faktury"}, "slug"),
        ({"slug": "faktury--dwa"}, "slug"),
        ({"slug": "-faktury"}, "slug"),
        ({"slug": "../etc/passwd"}, "slug"),
        ({"slug": ""}, "slug"),
        ({"slug": "a" * 81}, "slug"),
        ({"slug": "faktury\n"}, "slug"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"short_description": ""}, "short_description"),
        ({"short_description": "x" * 301}, "short_description"),
        ({"category": ""}, "category"),
        ({"description": "x" * 20_001}, "description"),
        ({"price_minor": 0}, "price_minor"),
        ({"price_minor": -1}, "price_minor"),
        ({"price_minor": 10**18}, "price_minor"),
        ({"original_price_minor": 9899}, "original_price_minor"),
        ({"original_price_minor": 10**18}, "original_price_minor"),
        ({"currency": "zł"}, "currency"),
        ({"currency": "pln"}, "currency"),
        ({"tax_rate_basis_points": 10_001}, "tax_rate_basis_points"),
        ({"tax_rate_basis_points": -1}, "tax_rate_basis_points"),
        ({"tools": ("x",) * 21}, "tools"),
        ({"tools": ("x" * 41,)}, "tools"),
        ({"tools": ("",)}, "tools"),
        ({"processes": (ProcessValues(""),)}, "processes"),
        ({"processes": (ProcessValues("x"),) * 31}, "processes"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_its_field(app: Flask, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidPackage) as refused:
        create(dataclasses.replace(VALUES, **change))
    assert refused.value.field == field
    assert db.session.scalars(select(Package)).all() == []


def test_two_packages_cannot_share_an_address(app: Flask) -> None:
    create()
    with pytest.raises(SlugTaken):
        create()
    other = create(dataclasses.replace(VALUES, slug="inne"))
    with pytest.raises(SlugTaken), unit_of_work():
        services.update_package(other.id, VALUES, by=BY, at=clock.now())


def test_a_change_replaces_the_steps_and_is_written_down(app: Flask) -> None:
    package = create()
    changed = dataclasses.replace(VALUES, price_minor=7900, processes=(ProcessValues("Nowy krok"),))
    with unit_of_work():
        services.update_package(package.id, changed, by=BY, at=clock.now())
    db.session.expire_all()
    assert values_of(queries.get_package(package.id)) == changed
    assert [row.name for row in db.session.scalars(select(PackageProcess))] == ["Nowy krok"]
    line = db.session.scalars(select(AuditEvent).where(AuditEvent.event == "package.updated")).one()
    assert line.before is not None
    assert line.after is not None
    assert (line.before["price_minor"], line.after["price_minor"]) == (9900, 7900)


def test_a_change_that_changes_nothing_leaves_no_trace(app: Flask) -> None:
    package = create()
    before = package.updated_at
    with unit_of_work():
        services.update_package(package.id, VALUES, by=BY, at=clock.now())
    assert package.updated_at == before
    assert audit_events() == ["package.created"]


def test_an_editor_does_not_overwrite_what_another_one_saved(app: Flask) -> None:
    package = create()
    seen_at = package.updated_at
    with unit_of_work():
        services.update_package(
            package.id, dataclasses.replace(VALUES, name="Ich nazwa"), by="bob", at=clock.now(), seen_at=seen_at
        )
    with pytest.raises(PackageChanged), unit_of_work():
        services.update_package(
            package.id, dataclasses.replace(VALUES, name="Moja nazwa"), by=BY, at=clock.now(), seen_at=seen_at
        )
    db.session.expire_all()
    assert queries.get_package(package.id).name == "Ich nazwa"


def test_publishing_twice_is_written_down_once(app: Flask) -> None:
    package = create()
    for _ in range(2):
        with unit_of_work():
            services.publish_package(package.id, by=BY, at=clock.now())
    assert queries.find_published("faktury") is not None
    for _ in range(2):
        with unit_of_work():
            services.unpublish_package(package.id, by=BY, at=clock.now())
    assert queries.find_published("faktury") is None
    assert audit_events() == ["package.created", "package.published", "package.unpublished"]


@pytest.mark.parametrize(
    ("index", "steps", "order"),
    [
        (0, 1, ["b", "a", "c"]),
        (2, -1, ["a", "c", "b"]),
        (2, -2, ["c", "a", "b"]),
        (0, 99, ["b", "c", "a"]),
        (1, -99, ["b", "a", "c"]),
        (1, 0, ["a", "b", "c"]),
    ],
)
def test_packages_are_moved_and_stop_at_the_edges(app: Flask, index: int, steps: int, order: list[str]) -> None:
    packages = [make_package(slug=slug) for slug in ("a", "b", "c")]
    with unit_of_work():
        services.move_package(packages[index].id, steps, by=BY, at=clock.now())
    db.session.expire_all()
    assert [package.slug for package in queries.list_packages(ShelfFilter())] == order


def test_a_bundle_contains_what_it_is_given_in_that_order(app: Flask) -> None:
    first, second = make_package(slug="a"), make_package(slug="b")
    bundle = create(dataclasses.replace(VALUES, slug="zestaw"))
    for wanted in ([second.id, first.id], [first.id, second.id], [first.id]):
        with unit_of_work():
            services.set_bundle_children(bundle.id, wanted, by=BY, at=clock.now())
        db.session.expire_all()
        kept = queries.get_package(bundle.id)
        assert [child.package_id for child in kept.children] == wanted
        assert kept.is_bundle


def test_an_unpublished_bundle_without_contents_is_a_package_like_any_other(app: Flask) -> None:
    child = make_package()
    bundle = make_package(children=[child], is_published=False)
    with unit_of_work():
        services.set_bundle_children(bundle.id, [], by=BY, at=clock.now())
    db.session.expire_all()
    assert not queries.get_package(bundle.id).is_bundle


def test_bundles_that_make_no_sense_are_refused(app: Flask) -> None:
    child, other = make_package(), make_package()
    bundle, nested = make_package(children=[child]), make_package(children=[other])
    for wanted in ([], [bundle.id], [child.id, child.id], [nested.id], [10**9]):
        with pytest.raises(InvalidBundle), unit_of_work():
            services.set_bundle_children(bundle.id, wanted, by=BY, at=clock.now())
    with pytest.raises(InvalidBundle), unit_of_work():
        services.set_bundle_children(child.id, [other.id], by=BY, at=clock.now())
    db.session.expire_all()
    assert [one.package_id for one in queries.get_package(bundle.id).children] == [child.id]


def test_a_package_nobody_ordered_can_be_deleted(app: Flask) -> None:
    package = create()
    with unit_of_work():
        services.delete_package(package.id, by=BY, at=clock.now())
    assert db.session.scalars(select(Package)).all() == []
    assert db.session.scalars(select(PackageProcess)).all() == []
    assert audit_events()[-1] == "package.deleted"
    with pytest.raises(PackageNotFound), unit_of_work():
        services.delete_package(package.id, by=BY, at=clock.now())


def test_a_package_in_a_bundle_stays(app: Flask) -> None:
    child = make_package()
    make_package(children=[child])
    with pytest.raises(PackageInUse), unit_of_work():
        services.delete_package(child.id, by=BY, at=clock.now())
    assert queries.get_package(child.id) is child


def test_a_package_that_was_ordered_stays_even_unpaid(app: Flask) -> None:
    package, child = make_package(), make_package()
    bundle = make_package(children=[child])
    browser = shop.ready(app.test_client(), package, bundle)
    assert shop.place(browser).status_code == 303
    with unit_of_work():
        services.set_bundle_children(bundle.id, [package.id], by=BY, at=clock.now())
    for kept in (package, bundle, child):
        with pytest.raises(PackageInUse), unit_of_work():
            services.delete_package(kept.id, by=BY, at=clock.now())


def test_every_change_gets_a_later_stamp_whatever_the_clock_says(app: Flask) -> None:
    first, second = make_package(), make_package()
    before = queries.read_revision()
    with unit_of_work():
        services.unpublish_package(first.id, by=BY, at=clock.now() - timedelta(days=400))
    after = queries.read_revision()
    assert after != before
    with unit_of_work():
        services.unpublish_package(second.id, by=BY, at=clock.now() - timedelta(days=400))
    assert queries.read_revision() not in (before, after)


def test_editors_at_the_same_moment_never_give_two_states_one_name(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [make_package(is_published=False) for _ in range(10)]
    assert _stamps_of_a_crowd(app, packages) == len(packages)


def test_without_the_lock_two_states_get_one_name(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = [make_package(is_published=False) for _ in range(10)]

    def careless(at: Any) -> Any:
        newest = db.session.scalar(select(Package.updated_at).order_by(Package.updated_at.desc()).limit(1))
        time.sleep(0.3)
        return newest + timedelta(microseconds=1)

    monkeypatch.setattr("portal.catalogue.services.editing.lock_catalogue", careless)
    is_broken = _stamps_of_a_crowd(app, packages) < len(packages)
    # SQLite has one writer at a time by itself: there is nothing to take away.
    assert is_broken == (db.engine.dialect.name == "postgresql")


def _stamps_of_a_crowd(app: Flask, packages: list[Package]) -> int:
    """Publish each package in a thread of its own with the same time; how many different stamps came of it."""
    at, ids = clock.now(), [package.id for package in packages]

    def publish(package_id: int) -> None:
        with unit_of_work():
            services.publish_package(package_id, by=BY, at=at)

    all_at_once(app, [lambda package_id=package_id: publish(package_id) for package_id in ids])  # type: ignore[misc]  # bound now
    db.session.expire_all()
    return len(set(db.session.scalars(select(Package.updated_at))))


def test_staff_find_unpublished_packages_and_shoppers_do_not(app: Flask, staff: User) -> None:
    create()
    assert [one.slug for one in queries.list_packages(ShelfFilter(text="FAKTURY"))] == ["faktury"]
    assert queries.list_packages(ShelfFilter(), is_published=True) == []
    assert queries.read_shelf(ShelfFilter(), user_id=None).packages == []
