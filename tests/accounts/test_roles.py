"""What staff do to other people's accounts."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts import services
from portal.accounts.errors import LastAdmin, OwnAccount, UserNotFound
from portal.accounts.models import Role, TokenPurpose, User, UserToken
from portal.core import clock
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.errors import Forbidden
from tests import factories
from tests.accounts import support
from tests.accounts.support import is_signed_in, issue, log_in

Login = Callable[[User], FlaskClient]

ACTIONS: dict[str, Callable[[int, User], Any]] = {
    "set_role": lambda user_id, by: services.set_role(user_id, Role.PAID, by=by),
    "deactivate": lambda user_id, by: services.deactivate_user(user_id, by=by, reason="spam", at=clock.now()),
    "reactivate": lambda user_id, by: services.reactivate_user(user_id, by=by, reason="mistake"),
    "sign_out": lambda user_id, by: services.sign_out_user(user_id, by=by),
    "second_factor": lambda user_id, by: services.reset_second_factor(user_id, by=by, at=clock.now()),
}


@pytest.mark.parametrize("role", list(Role))
def test_a_new_role_counts_from_the_next_log_in(login: Login, alice: User, admin: User, role: Role) -> None:
    browser = login(alice)
    with unit_of_work():
        services.set_role(alice.id, role, by=admin)
    assert support.fresh(alice).role is role
    # A change of rights ends the sessions that had the old ones.
    assert is_signed_in(browser) is (role is Role.CUSTOMER)
    lines = db.session.scalars(select(AuditEvent).where(AuditEvent.event == "role.changed")).all()
    expected = [] if role is Role.CUSTOMER else [({"role": "customer"}, {"role": str(role)})]
    assert [(line.before, line.after) for line in lines] == expected


def test_a_closed_account_is_out_at_once_and_its_links_are_dead(
    client: FlaskClient, login: Login, alice: User, staff: User
) -> None:
    browser = login(alice)
    link = issue(alice, TokenPurpose.RESET_PASSWORD)
    with unit_of_work():
        services.deactivate_user(alice.id, by=staff, reason="chargeback fraud", at=clock.now())
    assert not is_signed_in(browser)
    assert log_in(client, "alice@example.com").status_code == 403
    assert client.get(f"/password/reset/{link}").status_code == 404
    line = db.session.scalars(select(AuditEvent).where(AuditEvent.event == "account.deactivated")).one()
    assert (line.actor, line.subject, line.detail) == ("staff@example.com", f"users:{alice.id}", "chargeback fraud")
    with unit_of_work():
        services.reactivate_user(alice.id, by=staff, reason="a mistake")
    assert log_in(client, "alice@example.com").status_code == 303
    assert client.get(f"/password/reset/{link}").status_code == 404


def test_staff_sign_somebody_out(login: Login, alice: User, staff: User) -> None:
    browsers = [login(alice), login(alice)]
    with unit_of_work():
        assert services.sign_out_user(alice.id, by=staff) == 2
    assert not any(is_signed_in(browser) for browser in browsers)


def test_staff_help_who_lost_the_second_factor_and_the_owner_hears_of_it(
    login: Login, alice: User, staff: User
) -> None:
    support.with_second_factor(alice)
    browser = login(alice)
    with unit_of_work():
        services.reset_second_factor(alice.id, by=staff, at=clock.now())
    assert not support.fresh(alice).has_second_factor
    assert not is_signed_in(browser)
    assert support.subjects() == ["Two-step login was switched off"]
    assert ("second_factor.turned_off", "staff@example.com") in support.audit_lines()


@pytest.mark.parametrize("action", ACTIONS)
def test_doing_it_twice_changes_nothing_more(alice: User, admin: User, action: str) -> None:
    for _ in range(2):
        with unit_of_work():
            ACTIONS[action](alice.id, admin)
    events = [event for event, _ in support.audit_lines()]
    assert len(events) <= 2 if action == "sign_out" else len(events) <= 1


@pytest.mark.parametrize("action", ACTIONS)
def test_customers_do_nothing_to_anyone(alice: User, mallory: User, action: str) -> None:
    with pytest.raises(Forbidden), unit_of_work():
        ACTIONS[action](alice.id, mallory)


@pytest.mark.parametrize("action", ACTIONS)
def test_staff_do_nothing_to_staff(staff: User, admin: User, action: str) -> None:
    other = factories.make_user(role=Role.STAFF)
    for target in (other, admin):
        with pytest.raises(Forbidden), unit_of_work():
            ACTIONS[action](target.id, staff)


def test_staff_do_not_give_out_roles(staff: User, alice: User) -> None:
    with pytest.raises(Forbidden), unit_of_work():
        services.set_role(alice.id, Role.ADMIN, by=staff)
    assert support.fresh(alice).role is Role.CUSTOMER


@pytest.mark.parametrize("action", ACTIONS)
def test_nobody_does_it_to_themselves(admin: User, action: str) -> None:
    factories.make_user(role=Role.ADMIN)
    with pytest.raises(OwnAccount), unit_of_work():
        ACTIONS[action](admin.id, admin)


@pytest.mark.parametrize("action", ACTIONS)
def test_nobody_at_all_is_not_found(admin: User, action: str) -> None:
    with pytest.raises(UserNotFound), unit_of_work():
        ACTIONS[action](10**9, admin)


@pytest.mark.parametrize("action", ["set_role", "deactivate"])
def test_the_last_administrator_stays(admin: User, action: str) -> None:
    """The one who asks may have lost their own rights a moment ago, in another transaction."""
    gone = factories.make_user(role=Role.ADMIN)
    asking = User(id=gone.id, email=gone.email, role=Role.ADMIN)
    with unit_of_work():
        db.session.execute(User.__table__.update().where(User.id == gone.id).values(is_active=False))
    with pytest.raises(LastAdmin), unit_of_work():
        ACTIONS[action](admin.id, asking)
    assert support.fresh(admin).is_admin


def test_an_administrator_demotes_another(admin: User) -> None:
    other = factories.make_user(role=Role.ADMIN)
    with unit_of_work():
        services.set_role(other.id, Role.STAFF, by=admin)
    assert support.fresh(other).role is Role.STAFF


def test_a_closed_account_does_not_set_itself_up(client: FlaskClient, alice: User, staff: User) -> None:
    with unit_of_work():
        services.deactivate_user(alice.id, by=staff, reason="x", at=clock.now())
    token = issue(alice, TokenPurpose.SET_UP_ACCOUNT)
    assert client.get(f"/set-up/{token}").status_code == 404
    assert db.session.scalars(select(UserToken.used_at).where(UserToken.used_at.is_not(None))).all() == []
