"""Accounts that a purchase makes, and the link with which their owner takes them over."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from portal.accounts import hooks, services
from portal.accounts.models import Address, AddressKind, Role, TokenPurpose, User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.errors import Invalid
from tests import factories
from tests.accounts import support
from tests.accounts.support import GOOD_PASSWORD, is_signed_in, issue, log_in
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]


@pytest.fixture
def buyer(app: Flask) -> User:
    """Somebody who has paid and has no password yet."""
    with unit_of_work():
        return services.create_paid_user("Buyer@Example.com", "Jan Kowalski", "pl", clock.now())


def link_for(user: User, purpose: TokenPurpose = TokenPurpose.SET_UP_ACCOUNT, at: datetime | None = None) -> str:
    return f"/set-up/{issue(user, purpose, at=at)}"


# --- The account a purchase makes -------------------------------------------------------------------------------------


def test_a_paid_account_has_no_password_and_nothing_is_mailed(client: FlaskClient, buyer: User) -> None:
    assert (buyer.email, buyer.role, buyer.locale, buyer.name) == ("buyer@example.com", Role.PAID, "pl", "Jan Kowalski")
    assert buyer.password_hash is None
    assert not buyer.is_verified
    assert buyer.is_active
    assert support.deliver() == []
    assert log_in(client, "buyer@example.com", "").status_code == 422


def test_a_known_address_keeps_its_account(alice: User) -> None:
    with unit_of_work():
        found = services.create_paid_user("ALICE@example.com", "Somebody", "es", clock.now())
    assert found.id == alice.id
    assert (found.name, found.role, found.password_hash) == ("Alice Nowak", Role.CUSTOMER, alice.password_hash)


def test_two_purchases_at_one_moment_make_one_account(app: Flask) -> None:
    def buy() -> int:
        with unit_of_work():
            return services.create_paid_user("new@example.com", "New", "en", clock.now()).id

    assert len(set(support.all_at_once(app, 8, buy))) == 1
    assert db.session.scalar(select(func.count(User.id))) == 1


def test_what_is_no_address_gets_no_account(app: Flask) -> None:
    with pytest.raises(Invalid), unit_of_work():
        services.create_paid_user("nonsense", "X", "en", clock.now())
    assert db.session.scalars(select(User)).all() == []


def test_an_unknown_language_and_an_endless_name_are_mended(app: Flask) -> None:
    with unit_of_work():
        user = services.create_paid_user("x@example.com", "x" * 500, "klingon", clock.now())
    assert (user.locale, len(user.name)) == ("en", 120)


@pytest.mark.parametrize("typed", ["buyer@example.com", " BUYER@EXAMPLE.COM "])
def test_find_user(buyer: User, typed: str) -> None:
    assert services.find_user(typed) is buyer
    assert services.find_user("nobody@example.com") is None
    assert services.find_user("not an address") is None


# --- The link ---------------------------------------------------------------------------------------------------------


def test_the_link_is_mailed_in_the_buyers_language(buyer: User) -> None:
    with unit_of_work():
        assert services.send_set_up_link(buyer, clock.now())
    letter = support.deliver()[-1]
    assert letter["To"] == "buyer@example.com"
    assert support.link_in(letter).startswith("/set-up/")


def test_a_second_link_a_moment_later_is_not_sent_but_a_later_one_is(buyer: User) -> None:
    with unit_of_work():
        services.send_set_up_link(buyer, clock.now())
        assert not services.send_set_up_link(buyer, clock.now())
    with clock.shifted(timedelta(minutes=2)), unit_of_work():
        assert services.send_set_up_link(buyer, clock.now())


def test_no_link_goes_to_a_proven_or_closed_account(alice: User, buyer: User) -> None:
    with unit_of_work():
        buyer.is_active = False
        assert not services.send_set_up_link(alice, clock.now())
        assert not services.send_set_up_link(buyer, clock.now())
    assert support.deliver() == []


def test_looking_does_not_use_the_link_up(client: FlaskClient, buyer: User) -> None:
    link = link_for(buyer)
    for _ in range(3):
        response = client.get(link)
        assert response.status_code == 200
        assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "Jan Kowalski" in response.get_data(as_text=True)


def test_setting_up_opens_the_account(client: FlaskClient, buyer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def claim(user: User, *, at: datetime) -> None:
        heard.append(user.email)

    monkeypatch.setattr(hooks, "_verified", {"claim": claim})
    response = post_form(client, link_for(buyer), {"name": "Janina Kowalska", "password": GOOD_PASSWORD})
    assert response.status_code == 303
    owner = support.fresh(buyer)
    assert owner.is_verified
    assert owner.name == "Janina Kowalska"
    assert owner.role is Role.PAID
    assert heard == ["buyer@example.com"]
    assert "Your account is ready." in client.get("/account").get_data(as_text=True)
    assert is_signed_in(client)
    assert log_in(client.application.test_client(), "buyer@example.com", GOOD_PASSWORD).status_code == 303
    assert ("account.set_up", "buyer@example.com") in support.audit_lines()
    assert [letter["To"] for letter in support.deliver()] == ["buyer@example.com"]


def test_a_squatter_gains_nothing(client: FlaskClient, login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mallory registers the victim's address and signs in; the victim buys as a guest and uses the mailed link."""
    heard: list[str] = []
    monkeypatch.setattr(hooks, "_verified", {"claim": lambda user, at: heard.append(user.email)})
    squatted = factories.make_user(email="victim@example.com", name="M", is_verified=False, phone="+48 666 666 666")
    squatter = login(squatted)
    support.with_recovery_codes(squatted, "AAAA-BBBB-CCCC")
    secret = support.with_second_factor(squatted)
    with unit_of_work():
        address = Address(
            user_id=squatted.id, kind=AddressKind.SHIPPING, name="M", line1="x", city="x", postal_code="1", country="PL"
        )
        db.session.add(address)
        services.send_set_up_link(squatted, clock.now())
    link = support.link_in(support.deliver()[-1])
    # Changing "their" password in between does not kill the owner's link.
    values = {"current": factories.PASSWORD, "password": "squatter 7 walnut"}
    assert post_form(squatter, "/account/password", values).status_code == 303
    response = post_form(client, link, {"name": "Victim", "password": GOOD_PASSWORD})
    assert response.status_code == 303
    assert is_signed_in(client)
    assert not is_signed_in(squatter)
    assert heard == ["victim@example.com"]
    owner = support.fresh(squatted)
    assert (owner.name, owner.phone, owner.has_second_factor) == ("Victim", "", False)
    assert services.list_addresses(owner) == {}
    assert services.recovery_codes_left(owner) == 0
    for password in (factories.PASSWORD, "squatter 7 walnut"):
        assert log_in(client.application.test_client(), "victim@example.com", password).status_code == 422
    assert support.app_code(secret)


def test_the_squatters_verification_link_does_not_help_them_either(client: FlaskClient, login: Login) -> None:
    """The victim clicks the verification mail that the squatter's registration caused."""
    squatted = factories.make_user(email="victim@example.com", is_verified=False)
    response = post_form(client, f"/verify/{issue(squatted, TokenPurpose.VERIFY_EMAIL)}", {"password": "my own 7"})
    assert response.status_code == 422
    assert not support.fresh(squatted).is_verified


def test_a_link_works_once(client: FlaskClient, buyer: User) -> None:
    link, sibling = link_for(buyer), link_for(buyer)
    post_form(client, link, {"name": "Jan", "password": GOOD_PASSWORD})
    assert client.get(link).status_code == client.get(sibling).status_code == 404
    again = post_form(client, link, {"name": "Thief", "password": "thief 7 walnut"}, page="/account")
    assert again.status_code == 404
    assert support.fresh(buyer).name == "Jan"


@pytest.mark.parametrize(("age", "status"), [(timedelta(minutes=59), 200), (timedelta(hours=1), 404)])
def test_a_link_lives_an_hour(client: FlaskClient, buyer: User, age: timedelta, status: int) -> None:
    assert client.get(link_for(buyer, at=clock.now() - age)).status_code == status


@pytest.mark.parametrize("purpose", [TokenPurpose.VERIFY_EMAIL, TokenPurpose.RESET_PASSWORD])
def test_a_link_for_something_else_is_dead(client: FlaskClient, buyer: User, purpose: TokenPurpose) -> None:
    assert client.get(link_for(buyer, purpose)).status_code == 404


@pytest.mark.parametrize(
    ("name", "password"), [("", GOOD_PASSWORD), ("Jan", ""), ("Jan", "short 1"), ("Jan", "buyer is here 1")]
)
def test_bad_input_is_explained_and_leaves_the_link(client: FlaskClient, buyer: User, name: str, password: str) -> None:
    link = link_for(buyer)
    assert post_form(client, link, {"name": name, "password": password}).status_code == 422
    assert post_form(client, link, {"name": "Jan", "password": GOOD_PASSWORD}).status_code == 303


def test_without_a_token_nothing_changes(client: FlaskClient, buyer: User) -> None:
    assert client.post(link_for(buyer), data={"name": "X", "password": GOOD_PASSWORD}).status_code == 400
    assert support.fresh(buyer).password_hash is None
