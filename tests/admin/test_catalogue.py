"""The catalogue: making, changing, publishing, ordering and deleting packages."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import User
from portal.catalogue.models import Package
from portal.core import clock
from portal.core.db import db, unit_of_work
from tests import factories
from tests.admin import support
from tests.admin.reading import FRAGMENT, audited, page, rows, words
from tests.browser_like import post_form

PACKAGE: dict[str, Any] = {
    "name": "Asystent faktur",
    "slug": "asystent-faktur",
    "category": "Finanse",
    "short_description": "Czyta faktury.",
    "description": "Czyta faktury.\r\n\r\nI księguje.",
    "price": "1 234,50",
    "original_price": "1999",
    "currency": "PLN",
    "tax_rate": "8.5",
    "tools": "Gmail\r\nn8n, Slack",
    "is_featured": "y",
    "processes-0-name": "Odbiór",
    "processes-0-description": "Z poczty",
    "processes-1-name": "",
    "processes-2-name": "Zapis",
}


def _all() -> list[Package]:
    db.session.rollback()
    return list(db.session.scalars(db.select(Package).order_by(Package.position, Package.id)))


def _form(package: Package, **changes: Any) -> dict[str, Any]:
    """What the form of a package sends back unchanged."""
    return {
        "name": package.name, "slug": package.slug, "category": package.category,
        "short_description": package.short_description, "description": package.description, "price": "69.00",
        "currency": "PLN", "tax_rate": "23", "seen_at": package.updated_at.isoformat(), **changes,
    }  # fmt: skip


def test_a_new_package_has_everything_that_was_typed_and_waits_to_be_published(
    office: FlaskClient, staff: User
) -> None:
    answer = post_form(office, "/admin/catalogue/new", PACKAGE)
    [package] = _all()
    assert (answer.status_code, answer.location) == (303, f"/admin/catalogue/{package.id}")
    assert (package.name, package.slug, package.category) == ("Asystent faktur", "asystent-faktur", "Finanse")
    assert (package.price_minor, package.original_price_minor, package.currency) == (123450, 199900, "PLN")
    assert package.tax_rate_basis_points == 850
    assert package.description == "Czyta faktury.\n\nI księguje."
    assert package.tools == ["Gmail", "n8n", "Slack"]
    assert [(step.name, step.description) for step in package.processes] == [("Odbiór", "Z poczty"), ("Zapis", "")]
    assert (package.is_featured, package.is_published, package.is_bundle) == (True, False, False)
    assert audited("package.created")[0].actor == staff.email
    assert "not published yet" in page(office, answer.location)


def test_sending_the_form_twice_makes_one_package(office: FlaskClient) -> None:
    post_form(office, "/admin/catalogue/new", PACKAGE)
    again = post_form(office, "/admin/catalogue/new", PACKAGE)
    assert again.status_code == 422
    assert "already uses this address" in words(again)
    assert len(_all()) == 1


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("price", "0.005", "Write an amount"),
        ("price", "-5", "Write an amount"),
        ("price", "1e3", "Write an amount"),
        ("price", "NaN", "Write an amount"),
        ("price", "٣", "Write an amount"),
        ("price", "0", "above zero"),
        ("price", "99999999999", "at most 10 million"),
        ("original_price", "5", "cannot be lower"),
        ("original_price", "abc", "Write an amount"),
        ("currency", "zł", "Three capital letters"),
        ("tax_rate", "101", "between 0 and 100"),
        ("tax_rate", "1e1", "Write a percentage"),
        ("slug", "../etc", "small letters"),
        ("name", "", "required"),
        ("name", "x" * 121, "longer than"),
        ("tools", "\n".join("abcdefghijklmnopqrstuvwxyz"), "at most 20"),
        ("processes-0-name", "x" * 161, "One of the rows"),
        ("children-0", "12345", "One of these packages"),
    ],
)
def test_what_cannot_be_kept_is_said_at_its_field(office: FlaskClient, field: str, value: str, sentence: str) -> None:
    answer = post_form(office, "/admin/catalogue/new", {**PACKAGE, field: value})
    assert answer.status_code == 422
    assert sentence in words(answer)
    assert "Asystent faktur" in answer.get_data(as_text=True) or field == "name"
    assert _all() == []


def test_more_rows_keep_what_was_typed_and_save_nothing(office: FlaskClient) -> None:
    answer = post_form(office, "/admin/catalogue/new", {**PACKAGE, "more": "1"})
    body = answer.get_data(as_text=True)
    assert answer.status_code == 200
    assert "Odbiór" in body
    assert 'name="processes-3-name"' in body
    assert _all() == []


def test_a_package_is_changed(office: FlaskClient) -> None:
    package = factories.make_package(price_minor=6900)
    address = f"/admin/catalogue/{package.id}"
    answer = post_form(office, address, _form(package, name="Nowa nazwa", price="79.90"))
    assert answer.status_code == 303
    [changed] = _all()
    assert (changed.name, changed.price_minor) == ("Nowa nazwa", 7990)
    [line] = audited("package.updated")
    assert (line.before["price_minor"], line.after["price_minor"]) == (6900, 7990)


def test_what_somebody_else_saved_meanwhile_is_not_overwritten(office: FlaskClient) -> None:
    package = factories.make_package(name="Before")
    stale = _form(package, name="Mine")
    address = f"/admin/catalogue/{package.id}"
    post_form(office, address, _form(package, name="Theirs"))
    answer = post_form(office, address, stale)
    assert answer.status_code == 409
    body = answer.get_data(as_text=True)
    assert 'value="Mine"' in body
    assert "Theirs" in body
    assert [one.name for one in _all()] == ["Theirs"]


def test_a_bundle_gets_its_contents_in_order(office: FlaskClient) -> None:
    first, second = factories.make_package(name="First"), factories.make_package(name="Second")
    values = {**PACKAGE, "children-0": str(second.id), "children-1": "", "children-2": str(first.id)}
    answer = post_form(office, "/admin/catalogue/new", values)
    bundle = db.session.scalars(db.select(Package).where(Package.slug == "asystent-faktur")).one()
    assert bundle.is_bundle
    assert [child.package_id for child in bundle.children] == [second.id, first.id]
    shown = office.get(answer.location).get_data(as_text=True)
    assert f'<option selected value="{second.id}">' in shown


def test_a_bundle_in_a_bundle_is_refused(office: FlaskClient) -> None:
    child = factories.make_package()
    bundle = factories.make_package(children=[child])
    answer = post_form(office, "/admin/catalogue/new", {**PACKAGE, "children-0": str(bundle.id)})
    assert answer.status_code == 422
    assert len(_all()) == 2


def test_publishing_and_taking_out_again(office: FlaskClient) -> None:
    package = factories.make_package(is_published=False)
    address = f"/admin/catalogue/{package.id}"
    for _ in range(2):
        assert post_form(office, f"{address}/publish", page=address).status_code == 303
    assert office.get(f"/packages/{package.slug}").status_code == 200
    for _ in range(2):
        assert post_form(office, f"{address}/unpublish", page=address).status_code == 303
    assert office.get(f"/packages/{package.slug}").status_code == 404
    assert (len(audited("package.published")), len(audited("package.unpublished"))) == (1, 1)


def test_packages_are_moved_up_and_down(office: FlaskClient) -> None:
    names = [factories.make_package(name=name, position=place).name for place, name in enumerate("ABC", start=1)]
    last = db.session.scalars(db.select(Package.id).where(Package.name == "C")).one()
    assert rows(office.get("/admin/catalogue")) == names
    assert post_form(office, f"/admin/catalogue/{last}/move", {"to": "up"}, page="/admin/catalogue").status_code == 303
    assert rows(office.get("/admin/catalogue")) == ["A", "C", "B"]
    fragment = post_form(office, f"/admin/catalogue/{last}/move", {"to": "down"}, page="/admin/catalogue", htmx=True)
    assert rows(fragment) == ["A", "B", "C"]


def test_a_package_nobody_ordered_is_deleted(office: FlaskClient) -> None:
    package = factories.make_package(is_published=False)
    address = f"/admin/catalogue/{package.id}"
    assert post_form(office, f"{address}/delete", page=address).location == "/admin/catalogue"
    assert _all() == []
    assert post_form(office, f"{address}/delete", page="/admin/catalogue/new").status_code == 404


def test_a_package_that_was_ordered_stays(office: FlaskClient, alice: User) -> None:
    package = factories.make_package(is_published=False)
    support.make_order(alice, package=package)
    address = f"/admin/catalogue/{package.id}"
    answer = post_form(office, f"{address}/delete", page=address)
    assert answer.status_code == 409
    assert "Unpublish it instead" in words(answer)
    assert len(_all()) == 1


def test_the_list_shows_everything_and_can_be_narrowed(office: FlaskClient) -> None:
    factories.make_package(name="Żabka", category="Sprzedaż", position=1)
    factories.make_package(name="Ukryty", is_published=False, position=2)
    assert rows(office.get("/admin/catalogue")) == ["Żabka", "Ukryty"]
    assert rows(office.get("/admin/catalogue?q=zabka")) == ["Żabka"]
    assert rows(office.get("/admin/catalogue?state=unpublished")) == ["Ukryty"]
    # Moving within a part of the list would move past packages nobody sees.
    assert "/move" not in office.get("/admin/catalogue?q=zabka").get_data(as_text=True)
    assert "Nothing fits these filters" in page(office, "/admin/catalogue?q=nothing")


def test_a_large_catalogue_is_shown_in_pages(office: FlaskClient, count_queries: Callable[[], int]) -> None:
    factories.make_package(name="P000", position=1)
    count_queries()
    office.get("/admin/catalogue")
    with_one = count_queries()
    at = clock.now()
    with unit_of_work():
        db.session.add_all(
            Package(
                slug=f"p-{place}", name=f"P{place:03d}", short_description="x", category="x", tools=[],
                price_minor=100, position=place, created_at=at, updated_at=at,
            )
            for place in range(2, 121)
        )  # fmt: skip
    names = [one.name for one in _all()]
    count_queries()
    first = office.get("/admin/catalogue")
    assert count_queries() == with_one <= 3
    assert rows(first) == names[:50]
    packages = _all()
    fiftieth, hundredth = packages[49], packages[99]
    assert rows(office.get(f"/admin/catalogue?before={fiftieth.position}-{fiftieth.id}")) == names[50:100]
    assert rows(office.get(f"/admin/catalogue?before={hundredth.position}-{hundredth.id}")) == names[100:]
    back = office.get(f"/admin/catalogue?after={packages[100].position}-{packages[100].id}")
    assert rows(back) == names[50:100]
    assert rows(office.get("/admin/catalogue?before=-1&after=x-y")) == names[:50]


def test_the_form_costs_the_same_for_small_and_large_packages(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    small = factories.make_package(steps=1)
    children = [factories.make_package() for _ in range(10)]
    large = factories.make_package(steps=25, children=children)
    count_queries()
    office.get(f"/admin/catalogue/{small.id}")
    with_little = count_queries()
    office.get(f"/admin/catalogue/{large.id}")
    assert count_queries() == with_little <= 6


def test_the_list_alone_is_sent_to_htmx(office: FlaskClient) -> None:
    factories.make_package()
    assert office.get("/admin/catalogue", headers=FRAGMENT).get_data(as_text=True).lstrip().startswith("<div id=")
