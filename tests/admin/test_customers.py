"""Customers: finding them, one with everything on it, closing, opening, signing out, roles."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient

from portal.accounts.models import LoginSession, Role, SignIn, SignInOutcome, User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.mail import MailMessage
from portal.orders.models import Enrolment
from tests import factories
from tests.admin import support
from tests.admin.reading import audited, page, rows, words
from tests.browser_like import post_form

Login = Callable[[User], FlaskClient]


def _user(user: User) -> User:
    db.session.rollback()
    return db.session.get_one(User, user.id, populate_existing=True)


@pytest.mark.parametrize("query", ["zofia@shop.example", "ZOFIA@", "zofia", "łąka", "Łąka Zofia"])
def test_a_customer_is_found_by_address_and_name(office: FlaskClient, query: str) -> None:
    factories.make_user(email="zofia@shop.example", name="Zofia Łąka")
    assert rows(office.get("/admin/customers", query_string={"q": query})) == ["Zofia Łąka"]


def test_customers_are_filtered(office: FlaskClient, staff: User) -> None:
    closed = factories.make_user(name="Closed", is_active=False)
    unproven = factories.make_user(name="Unproven", is_verified=False, role=Role.PAID)
    assert rows(office.get("/admin/customers?state=closed")) == [closed.name]
    assert rows(office.get("/admin/customers?state=unverified")) == [unproven.name]
    assert rows(office.get("/admin/customers?state=active&role=staff")) == [staff.name]
    assert rows(office.get("/admin/customers?role=paid")) == [unproven.name]
    assert "Nothing fits these filters" in page(office, "/admin/customers?role=admin")


def test_the_list_costs_the_same_with_one_row_and_with_a_hundred(
    office: FlaskClient, count_queries: Callable[[], int]
) -> None:
    count_queries()
    office.get("/admin/customers")
    with_one = count_queries()
    for _ in range(99):
        factories.make_user()
    count_queries()
    office.get("/admin/customers")
    assert count_queries() == with_one <= 4


def test_a_customer_shows_everything_about_them(office: FlaskClient, alice: User, login: Login) -> None:
    login(alice)
    order = support.make_paid_order(alice)
    package = factories.make_package(name="Chatbot RAG")
    with unit_of_work():
        db.session.add(Enrolment(user_id=alice.id, package_id=package.id, licences=3, enrolled_at=clock.now()))
        db.session.add(
            SignIn(user_id=alice.id, account_key="k", ip_address="192.0.2.7", user_agent="<b>Firefox</b>",
                   outcome=SignInOutcome.WRONG_PASSWORD, at=clock.now())
        )  # fmt: skip
    text = page(office, f"/admin/customers/{alice.id}")
    for part in (alice.email, order.number, "Chatbot RAG", "192.0.2.7", "<b>Firefox</b>", "Wrong password"):
        assert part in text


def test_a_customer_costs_the_same_however_long_they_are_one(
    office: FlaskClient, alice: User, count_queries: Callable[[], int]
) -> None:
    support.make_order(alice)
    count_queries()
    office.get(f"/admin/customers/{alice.id}")
    with_little = count_queries()
    for _ in range(20):
        support.make_order(alice)
    count_queries()
    office.get(f"/admin/customers/{alice.id}")
    assert count_queries() == with_little <= 8


def test_an_unknown_customer_is_not_found(office: FlaskClient) -> None:
    for number in ("999999", "9223372036854775807", "9" * 40, "-1", "x"):
        assert office.get(f"/admin/customers/{number}").status_code == 404


def test_closing_an_account_signs_it_out(office: FlaskClient, alice: User, staff: User, login: Login) -> None:
    browser = login(alice)
    address = f"/admin/customers/{alice.id}"
    answer = post_form(office, f"{address}/deactivate", {"reason": "asked for it"}, page=address)
    assert answer.status_code == 303
    assert not _user(alice).is_active
    assert browser.get("/dashboard").status_code == 303
    [line] = audited("account.deactivated")
    assert (line.actor, line.detail) == (staff.email, "asked for it")
    # Twice changes nothing more.
    assert post_form(office, f"{address}/deactivate", {"reason": "again"}, page=address).status_code == 303
    assert len(audited("account.deactivated")) == 1
    assert post_form(office, f"{address}/reactivate", {"reason": "a mistake"}, page=address).status_code == 303
    assert _user(alice).is_active


@pytest.mark.parametrize("action", ["deactivate", "reactivate"])
def test_a_reason_is_needed(office: FlaskClient, alice: User, action: str) -> None:
    address = f"/admin/customers/{alice.id}"
    answer = post_form(office, f"{address}/{action}", {"reason": "  "}, page=address)
    assert answer.status_code == 422
    assert "Give a reason" in words(answer)
    assert _user(alice).is_active


def test_sessions_are_ended(office: FlaskClient, alice: User, login: Login) -> None:
    browsers = [login(alice), login(alice)]
    address = f"/admin/customers/{alice.id}"
    assert post_form(office, f"{address}/sign-out", page=address).status_code == 303
    assert [browser.get("/dashboard").status_code for browser in browsers] == [303, 303]
    assert db.session.scalars(db.select(LoginSession).where(LoginSession.user_id == alice.id)).all() == []
    assert audited("session.all_ended")[0].detail == "2 sessions"


def test_a_set_up_link_is_sent_to_who_has_none_yet(office: FlaskClient, alice: User) -> None:
    new = factories.make_user(email="new@example.com", is_verified=False)
    address = f"/admin/customers/{new.id}"
    assert post_form(office, f"{address}/link", page=address).status_code == 303
    assert db.session.scalars(db.select(MailMessage.to)).all() == ["new@example.com"]
    proven = f"/admin/customers/{alice.id}"
    assert post_form(office, f"{proven}/link", page=proven).status_code == 409
    assert [line.subject for line in audited("set_up_link.sent")] == [f"users:{new.id}"]


def test_staff_touch_no_colleague_and_not_themselves(office: FlaskClient, staff: User, admin: User) -> None:
    for user, status in ((admin, 403), (staff, 409)):
        address = f"/admin/customers/{user.id}"
        shown = office.get(address).get_data(as_text=True)
        assert "/deactivate" not in shown
        for action in ("deactivate", "sign-out"):
            answer = post_form(office, f"{address}/{action}", {"reason": "because"}, page=address)
            assert answer.status_code == status
        assert _user(user).is_active


def test_only_an_administrator_changes_roles(office: FlaskClient, owner: FlaskClient, alice: User) -> None:
    address = f"/admin/customers/{alice.id}/role"
    assert office.get(address).status_code == 403
    assert post_form(office, address, {"role": "admin"}, page="/admin/customers/1").status_code == 403
    assert _user(alice).role is Role.CUSTOMER
    assert post_form(owner, address, {"role": "staff"}).status_code == 303
    assert _user(alice).role is Role.STAFF
    [line] = audited("role.changed")
    assert (line.before, line.after) == ({"role": "customer"}, {"role": "staff"})


def test_a_role_needs_the_password_once_more(app: Flask, alice: User, admin: User) -> None:
    browser = app.test_client()
    signed_in = factories.sign_in(browser, admin)
    with unit_of_work():
        row = db.session.get_one(LoginSession, signed_in.id)
        row.authenticated_at = clock.now() - timedelta(minutes=20)
    address = f"/admin/customers/{alice.id}/role"
    assert "/confirm" in browser.get(address).location or "password" in browser.get(address).location
    answer = post_form(browser, address, {"role": "admin"}, page="/admin")
    assert answer.status_code == 303
    assert _user(alice).role is Role.CUSTOMER


def test_a_role_nobody_knows_is_refused(owner: FlaskClient, alice: User) -> None:
    address = f"/admin/customers/{alice.id}/role"
    assert post_form(owner, address, {"role": "emperor"}).status_code == 422
    assert _user(alice).role is Role.CUSTOMER


def test_an_administrator_keeps_their_own_role(owner: FlaskClient, admin: User) -> None:
    address = f"/admin/customers/{admin.id}/role"
    answer = post_form(owner, address, {"role": "customer"})
    assert answer.status_code == 409
    assert _user(admin).role is Role.ADMIN


def test_a_lost_second_factor_is_switched_off(office: FlaskClient, staff: User) -> None:
    user = factories.make_user(totp_confirmed_at=clock.now(), totp_secret_sealed="sealed")
    address = f"/admin/customers/{user.id}"
    for _ in range(2):
        assert post_form(office, f"{address}/second-factor", page=address).status_code == 303
    assert not _user(user).has_second_factor
    assert [line.actor for line in audited("second_factor.turned_off")] == [staff.email]
    assert f"{address}/second-factor" not in office.get(address).get_data(as_text=True)


def test_staff_leave_an_administrators_second_factor_alone(office: FlaskClient) -> None:
    user = factories.make_user(role=Role.ADMIN, totp_confirmed_at=clock.now(), totp_secret_sealed="sealed")
    address = f"/admin/customers/{user.id}"
    assert post_form(office, f"{address}/second-factor", page=address).status_code == 403
    assert _user(user).has_second_factor
