"""Name, telephone, language."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from portal.accounts.models import Role, User
from tests.accounts import support
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]
CHANGE = {"name": "Alicja Nowak", "phone": "+48 600 100 200", "locale": "en"}


@pytest.mark.parametrize("htmx", [False, True])
def test_it_is_kept_and_shown(login: Login, alice: User, htmx: bool) -> None:
    browser = login(alice)
    response = post_form(browser, "/account", CHANGE, htmx=htmx)
    assert response.status_code == (200 if htmx else 303)
    if htmx:
        fragment = response.get_data(as_text=True)
        assert fragment.lstrip().startswith('<div class="stack" id="profile">')
        assert "Alicja Nowak" in fragment
        assert "Saved." in fragment
    user = support.fresh(alice)
    assert (user.name, user.phone, user.locale) == ("Alicja Nowak", "+48 600 100 200", "en")
    assert "Alicja Nowak" in browser.get("/account").get_data(as_text=True)
    assert ("profile.changed", "alice@example.com") in support.audit_lines()


@pytest.mark.parametrize("htmx", [False, True])
def test_a_new_language_turns_the_whole_page(login: Login, alice: User, htmx: bool) -> None:
    browser = login(alice)
    response = post_form(browser, "/account", {**CHANGE, "locale": "pl"}, htmx=htmx)
    assert (response.headers["HX-Redirect"] if htmx else response.location) == "/account"
    assert '<html lang="pl">' in browser.get("/account").get_data(as_text=True)
    assert support.fresh(alice).locale == "pl"


def test_saving_the_same_twice_is_one_line_of_the_log(login: Login, alice: User) -> None:
    browser = login(alice)
    for _ in range(2):
        assert post_form(browser, "/account", CHANGE).status_code == 303
    assert support.audit_lines() == [("profile.changed", "alice@example.com")]


@pytest.mark.parametrize("htmx", [False, True])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " \t "),
        ("name", "x" * 121),
        ("phone", "call me"),
        ("phone", "+48"),
        ("phone", "1" * 40),
        ("locale", "de"),
        ("locale", ""),
    ],
)
def test_bad_input_is_explained_and_changes_nothing(
    login: Login, alice: User, field: str, value: str, htmx: bool
) -> None:
    response = post_form(login(alice), "/account", {**CHANGE, field: value}, htmx=htmx)
    assert response.status_code == 422
    assert f'id="{field}-error"' in response.get_data(as_text=True)
    assert support.fresh(alice).name == "Alice Nowak"


def test_a_line_break_in_a_name_is_a_space(login: Login, alice: User) -> None:
    post_form(login(alice), "/account", {**CHANGE, "name": "Alice\r\nBcc: x@example.com\x00"})
    assert support.fresh(alice).name == "Alice Bcc: x@example.com"


def test_the_form_takes_no_rights(login: Login, alice: User, bob: User) -> None:
    forged = {"role": "admin", "is_active": "", "email": "evil@example.com", "id": str(bob.id), "user_id": str(bob.id)}
    post_form(login(alice), "/account", {**CHANGE, **forged})
    user = support.fresh(alice)
    assert (user.role, user.is_active, user.email) == (Role.CUSTOMER, True, "alice@example.com")
    assert support.fresh(bob).name == "Bob Kowalski"


def test_logged_out_visitors_are_sent_to_log_in(client: FlaskClient) -> None:
    assert client.get("/account").location == "/login?next=/account"
    assert post_form(client, "/account", CHANGE, page="/login").location == "/login"


def test_without_a_token_nothing_changes(login: Login, alice: User) -> None:
    assert login(alice).post("/account", data=CHANGE).status_code == 400
    assert support.fresh(alice).name == "Alice Nowak"


def test_an_unverified_user_sees_how_to_confirm(login: Login, alice: User) -> None:
    from portal.core.db import unit_of_work

    with unit_of_work():
        alice.email_verified_at = None
    assert "Not confirmed yet" in login(alice).get("/account").get_data(as_text=True)
