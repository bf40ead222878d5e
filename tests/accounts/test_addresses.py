"""The billing and the shipping address."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts import services
from portal.accounts.countries import CODES, country_choices
from portal.accounts.models import Address, AddressKind, User
from portal.core.db import db, unit_of_work
from tests import factories
from tests.accounts import support
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]
HOME = {
    "name": "Alice Nowak",
    "company": "Nowak Studio",
    "tax_id": "PL5260001246",
    "line1": "ul. Prosta 20",
    "line2": "m. 7",
    "city": "Warszawa",
    "state": "",
    "postal_code": "00-850",
    "country": "PL",
}


def kept(user: User, kind: AddressKind = AddressKind.BILLING) -> Address | None:
    db.session.expire_all()
    return services.list_addresses(user).get(kind)


@pytest.mark.parametrize("kind", list(AddressKind))
def test_an_address_is_kept_and_shown(login: Login, alice: User, kind: AddressKind) -> None:
    browser = login(alice)
    response = post_form(browser, f"/account/addresses/{kind}", HOME)
    assert response.status_code == 303
    assert response.location == "/account/addresses"
    address = kept(alice, kind)
    assert address is not None
    assert {name: getattr(address, name) for name in HOME} == HOME
    page = browser.get("/account/addresses").get_data(as_text=True)
    assert "ul. Prosta 20" in page
    assert "Poland" in page
    assert page.count("None yet.") == 1


def test_saving_again_replaces_it(login: Login, alice: User) -> None:
    browser = login(alice)
    post_form(browser, "/account/addresses/billing", HOME)
    post_form(browser, "/account/addresses/billing", {**HOME, "city": "Kraków"})
    assert [row.city for row in db.session.scalars(select(Address))] == ["Kraków"]


def test_the_other_address_is_the_first_guess(login: Login, alice: User) -> None:
    browser = login(alice)
    post_form(browser, "/account/addresses/billing", HOME)
    assert 'value="ul. Prosta 20"' in browser.get("/account/addresses/shipping").get_data(as_text=True)


@pytest.mark.parametrize("htmx", [False, True])
def test_an_address_is_removed_and_removing_twice_is_fine(login: Login, alice: User, htmx: bool) -> None:
    browser = login(alice)
    post_form(browser, "/account/addresses/billing", HOME)
    for _ in range(2):
        response = post_form(browser, "/account/addresses/billing/remove", page="/account/addresses/billing", htmx=htmx)
        assert response.status_code == (200 if htmx else 303)
    if htmx:
        assert 'id="address-billing"' in response.get_data(as_text=True)
        assert "None yet." in response.get_data(as_text=True)
    assert kept(alice) is None
    assert [event for event, _ in support.audit_lines()] == ["address.changed", "address.removed"]


@pytest.mark.parametrize("typed", ["00850", "00 850", " 00-850 "])
def test_a_polish_postal_code_is_written_one_way(login: Login, alice: User, typed: str) -> None:
    post_form(login(alice), "/account/addresses/billing", {**HOME, "postal_code": typed})
    address = kept(alice)
    assert address is not None
    assert address.postal_code == "00-850"


def test_other_countries_have_their_own_postal_codes(login: Login, alice: User) -> None:
    browser = login(alice)
    values = {**HOME, "country": "GB", "postal_code": "SW1A 1AA"}
    assert post_form(browser, "/account/addresses/billing", values).status_code == 303


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("line1", "  "),
        ("city", ""),
        ("postal_code", ""),
        ("postal_code", "850"),
        ("postal_code", "x" * 17),
        ("country", ""),
        ("country", "pl"),
        ("country", "XX"),
        ("country", "<script>"),
        ("line1", "x" * 121),
        ("tax_id", "x" * 33),
    ],
)
def test_bad_input_is_explained_and_kept_out(login: Login, alice: User, field: str, value: str) -> None:
    response = post_form(login(alice), "/account/addresses/billing", {**HOME, field: value})
    assert response.status_code == 422
    assert f'id="{field}-error"' in response.get_data(as_text=True)
    assert kept(alice) is None


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}"])
def test_what_is_typed_is_text(login: Login, alice: User, text: str) -> None:
    browser = login(alice)
    post_form(browser, "/account/addresses/billing", {**HOME, "company": text, "line1": text})
    for page in ("/account/addresses", "/account/addresses/billing"):
        shown = browser.get(page).get_data(as_text=True)
        assert "<script>alert" not in shown
        assert "<img src=x" not in shown


def test_everyone_sees_and_changes_their_own(login: Login, alice: User, mallory: User) -> None:
    post_form(login(alice), "/account/addresses/billing", HOME)
    stranger = login(mallory)
    assert "ul. Prosta 20" not in stranger.get("/account/addresses").get_data(as_text=True)
    post_form(stranger, "/account/addresses/billing", {**HOME, "city": "Evil", "user_id": str(alice.id)})
    post_form(stranger, "/account/addresses/billing/remove", page="/account/addresses/billing")
    address = kept(alice)
    assert address is not None
    assert address.city == "Warszawa"


@pytest.mark.parametrize("address", ["/account/addresses", "/account/addresses/billing"])
def test_only_proven_users_have_addresses(client: FlaskClient, login: Login, address: str) -> None:
    assert client.get(address).location == f"/login?next={address}"
    assert login(factories.make_user(is_verified=False)).get(address).location == "/verify"


@pytest.mark.parametrize("kind", ["home", "billing'--", "%00"])
def test_there_is_no_other_kind(login: Login, alice: User, kind: str) -> None:
    assert login(alice).get(f"/account/addresses/{kind}").status_code == 404


@pytest.mark.parametrize("address", ["billing", "billing/remove"])
def test_without_a_token_nothing_changes(login: Login, alice: User, address: str) -> None:
    browser = login(alice)
    post_form(browser, "/account/addresses/billing", HOME)
    response = browser.post(f"/account/addresses/{address}", data={**HOME, "city": "Evil"})
    assert response.status_code == 400
    assert kept(alice) is not None


def test_two_tabs_saving_the_first_address_at_one_moment_keep_one(app: Flask, alice: User) -> None:
    def save() -> None:
        with unit_of_work():
            user = db.session.get_one(User, alice.id)
            services.save_address(user, AddressKind.BILLING, services.AddressDetails(**HOME))

    support.all_at_once(app, 6, save)
    assert len(db.session.scalars(select(Address)).all()) == 1


def test_the_list_of_countries(app: Flask) -> None:
    names = [name for _, name in country_choices()]
    assert len(names) == len(CODES) > 230
    assert {"PL", "ES", "US", "DE", "GB", "JP"} <= CODES
    assert not {"EU", "ZZ", "UN", "AQ"} & CODES
    assert names.index("Åland Islands") < names.index("Zimbabwe")
