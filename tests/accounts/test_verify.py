"""Proving the address, and asking for another mail."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal import accounts
from portal.accounts import hooks
from portal.accounts.models import TokenPurpose, User, UserToken
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from tests import factories
from tests.accounts import support
from tests.accounts.support import is_signed_in, issue
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]


@pytest.fixture
def newby(app: object) -> User:
    """Somebody who has registered and not verified yet."""
    return factories.make_user(email="newby@example.com", name="Newby", is_verified=False)


def link_for(user: User, purpose: TokenPurpose = TokenPurpose.VERIFY_EMAIL, at: datetime | None = None) -> str:
    return f"/verify/{issue(user, purpose, at=at)}"


def test_looking_at_the_link_confirms_nothing(client: FlaskClient, newby: User) -> None:
    link = link_for(newby)
    for _ in range(3):
        response = client.get(link)
        assert response.status_code == 200
        assert client.head(link).status_code == 200
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert not support.fresh(newby).is_verified


def test_the_link_and_the_password_confirm_and_sign_in(client: FlaskClient, newby: User) -> None:
    response = post_form(client, link_for(newby), {"password": factories.PASSWORD})
    assert response.status_code == 303
    assert support.fresh(newby).is_verified
    assert "Your address is confirmed." in client.get("/account").get_data(as_text=True)
    assert is_signed_in(client)
    assert ("account.verified", "newby@example.com") in support.audit_lines()
    assert support.subjects() == ["Welcome to Atelier Nord"]


def test_the_link_alone_does_not_confirm(client: FlaskClient, newby: User) -> None:
    """Or a stranger who registered this address could let its owner confirm the stranger's password."""
    link = link_for(newby)
    for password in ("", "wrong 1"):
        assert post_form(client, link, {"password": password}).status_code == 422
    assert not support.fresh(newby).is_verified
    assert not is_signed_in(client)


def test_guessing_behind_a_link_is_slowed_too(client: FlaskClient, newby: User) -> None:
    link = link_for(newby)
    answers = [post_form(client, link, {"password": f"wrong {number}"}).status_code for number in range(7)]
    assert answers == [422] * 5 + [429] * 2


def test_where_the_account_is_signed_in_one_click_confirms(login: Login, newby: User) -> None:
    browser = login(newby)
    link = link_for(newby)
    assert "password" not in browser.get(link).get_data(as_text=True).split("<h1>")[1]
    assert post_form(browser, link).status_code == 303
    assert support.fresh(newby).is_verified


def test_somebody_elses_session_is_no_proof(login: Login, newby: User, mallory: User) -> None:
    browser = login(mallory)
    link = link_for(newby)
    assert post_form(browser, link).status_code == 422
    assert not support.fresh(newby).is_verified


def test_a_link_works_once(client: FlaskClient, newby: User) -> None:
    link = link_for(newby)
    page = client.application.test_client()
    page.get(link)
    post_form(client, link, {"password": factories.PASSWORD})
    assert client.get(link).status_code == 404
    response = post_form(page, link, {"password": factories.PASSWORD}, page="/login")
    assert response.status_code == 404
    assert "This link does not work any more" in response.get_data(as_text=True)
    assert not is_signed_in(page)


@pytest.mark.parametrize("age", [timedelta(hours=24), timedelta(days=30)])
def test_an_old_link_is_dead(client: FlaskClient, newby: User, age: timedelta) -> None:
    assert client.get(link_for(newby, at=clock.now() - age)).status_code == 404


def test_a_link_of_a_day_less_a_minute_is_good(client: FlaskClient, newby: User) -> None:
    link = link_for(newby, at=clock.now() - timedelta(hours=23, minutes=59))
    assert client.get(link).status_code == 200


@pytest.mark.parametrize("token", ["x", "x" * 43, "x" * 4_000, "%00", "żółć", "..%2f..", "<script>"])
def test_made_up_links_are_dead(client: FlaskClient, newby: User, token: str) -> None:
    assert client.get(f"/verify/{token}").status_code == 404
    assert post_form(client, f"/verify/{token}", {"password": "x"}, page="/login").status_code in (404, 400)


@pytest.mark.parametrize("purpose", [TokenPurpose.RESET_PASSWORD, TokenPurpose.SET_UP_ACCOUNT])
def test_a_link_for_something_else_is_dead(client: FlaskClient, newby: User, purpose: TokenPurpose) -> None:
    assert client.get(link_for(newby, purpose)).status_code == 404


def test_a_link_dies_with_the_password_and_with_the_address(client: FlaskClient, newby: User) -> None:
    first, second = link_for(newby), link_for(newby)
    with unit_of_work():
        newby.password_hash = "another"
    assert client.get(first).status_code == 404
    third = link_for(newby)
    with unit_of_work():
        newby.email = "moved@example.com"
    assert client.get(second).status_code == client.get(third).status_code == 404


def test_a_closed_accounts_link_is_dead(client: FlaskClient, newby: User) -> None:
    link = link_for(newby)
    with unit_of_work():
        newby.is_active = False
    assert client.get(link).status_code == 404


def test_the_token_is_stored_as_a_hash_only(newby: User) -> None:
    token = issue(newby, TokenPurpose.VERIFY_EMAIL)
    row = db.session.scalars(select(UserToken)).one()
    assert len(token) >= 43
    assert token not in (row.token_hash, row.binding)


def test_the_mail_log_keeps_no_link(client: FlaskClient, newby: User) -> None:
    post_form(client, "/verify/resend", {"email": "newby@example.com"}, page="/verify")
    link = support.link_in(support.deliver()[-1])
    logged = db.session.scalars(select(MailMessage)).one()
    assert logged.text_body is not None
    assert link.rpartition("/")[2] not in logged.text_body


def test_no_token_is_needed_to_look_but_one_to_confirm(client: FlaskClient, newby: User) -> None:
    assert client.post(link_for(newby), data={"password": factories.PASSWORD}).status_code == 400
    assert not support.fresh(newby).is_verified


def test_hooks_hear_of_a_proven_address_once_and_in_the_transaction(
    login: Login, newby: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, bool]] = []

    def claim(user: User, *, at: datetime) -> None:
        heard.append((user.email, bool(db.session().info["in_unit"]) and user.email_verified_at == at))

    monkeypatch.setattr(hooks, "_verified", {})
    accounts.on_verified(claim)
    first, second = link_for(newby), link_for(newby)
    browser = login(newby)
    post_form(browser, first)
    post_form(browser, second)
    assert heard == [("newby@example.com", True)]


def test_a_failing_hook_leaves_the_link_unused(login: Login, newby: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(user: User, *, at: datetime) -> None:
        raise RuntimeError("the shop is away")

    link = link_for(newby)
    browser = login(newby)
    with monkeypatch.context() as patch:
        patch.setattr(hooks, "_verified", {"fail": fail})
        assert post_form(browser, link).status_code == 500
    db.session.rollback()
    assert not support.fresh(newby).is_verified
    assert post_form(browser, link).status_code == 303
    assert support.fresh(newby).is_verified


def test_confirming_asks_for_the_second_step_where_there_is_one(client: FlaskClient, newby: User) -> None:
    support.with_second_factor(newby)
    response = post_form(client, link_for(newby), {"password": factories.PASSWORD})
    assert response.location == "/login/code"
    assert support.fresh(newby).is_verified
    assert not is_signed_in(client)


# --- Asking for another mail -----------------------------------------------------------------------------------------


def test_a_signed_in_user_gets_another_mail_with_one_click(login: Login, newby: User) -> None:
    browser = login(newby)
    response = post_form(browser, "/verify/resend", page="/verify")
    assert response.location == "/verify"
    assert support.subjects() == ["Confirm your e-mail address"]


@pytest.mark.parametrize("email", ["newby@example.com", "alice@example.com", "nobody@example.com"])
def test_asking_tells_nothing(
    client: FlaskClient, newby: User, alice: User, email: str, count_queries: Callable[[], int]
) -> None:
    client.get("/verify")
    count_queries()
    response = post_form(client, "/verify/resend", {"email": email}, page="/verify")
    assert count_queries() == 1  # One line for the outbox, whoever it is.
    assert response.status_code == 303
    page = client.get("/verify").get_data(as_text=True)
    assert "If that address waits to be confirmed, a new mail is on its way." in page
    assert len(support.deliver()) == (1 if email.startswith("newby") else 0)


def test_asking_again_and_again_fills_no_mail_box(client: FlaskClient, newby: User) -> None:
    for _ in range(10):
        post_form(client, "/verify/resend", {"email": "newby@example.com"}, page="/verify")
    assert len(support.deliver()) == 1
    for minute in range(1, 9):
        with clock.shifted(timedelta(minutes=minute)):
            post_form(client, "/verify/resend", {"email": "newby@example.com"}, page="/verify")
            sent = support.deliver()
    assert len(sent) == 5


def test_asking_with_a_bad_address_says_so(client: FlaskClient) -> None:
    assert post_form(client, "/verify/resend", {"email": "nonsense"}, page="/verify").status_code == 422


def test_a_buyer_without_a_password_gets_the_set_up_link_instead(client: FlaskClient) -> None:
    buyer = factories.make_user(email="buyer@example.com", is_verified=False)
    with unit_of_work():
        buyer.password_hash = None
    post_form(client, "/verify/resend", {"email": "buyer@example.com"}, page="/verify")
    assert support.link_in(support.deliver()[-1]).startswith("/set-up/")


def test_a_verified_user_is_sent_on_from_the_waiting_page(login: Login, alice: User) -> None:
    assert login(alice).get("/verify").status_code == 302
    assert login(alice).get("/verify/resend").location == "/verify"
