"""Counting a day's sales anew: one click on the board, and nothing is lost that is counted at the same moment."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import delete, insert, select, update
from werkzeug.test import TestResponse

from portal.accounts.models import User
from portal.admin import services
from portal.core import clock, numbering
from portal.core.audit import AuditEvent
from portal.core.db import db, unit_of_work
from portal.core.faults import arm
from portal.core.invariants import AlreadyRight, Breach, Reach, get_invariant
from portal.payments.sales_models import SalesDay
from portal.payments.services import draining, recounting
from portal.payments.services.sales import day_of
from tests import invariants
from tests.browser_like import csrf_token, post_form
from tests.crowd import all_at_once, somebody_waits, wait_until
from tests.fakes.stripe import FakeStripe
from tests.payments import signed
from tests.payments.money_back import given, look_again, paid
from tests.structure.world import everything

RULE = "sales_of_a_day_differ"
BOARD = "/admin/invariants"
BY = "staff@example.com"


def breaches() -> list[Breach]:
    look_again()
    return list(get_invariant(RULE).find(Reach(clock.now())))


def sums() -> list[tuple[str, str, bool, int, int]]:
    """Every row: line, currency, direction, count and amount."""
    look_again()
    rows = db.session.scalars(select(SalesDay).order_by(SalesDay.is_return, SalesDay.line, SalesDay.currency))
    return [(one.line, one.currency, one.is_return, one.count, one.amount_minor) for one in rows]


def audited(event: str) -> list[AuditEvent]:
    look_again()
    return list(db.session.scalars(select(AuditEvent).where(AuditEvent.event == event).order_by(AuditEvent.id)))


def subject_id(*, is_return: bool = False) -> int:
    """What today is called on the board."""
    return int(day_of(clock.now()).replace("-", "")) * 10 + is_return


def spoil(statement: Any) -> None:
    """Break a sum as no code of ours would."""
    with unit_of_work():
        db.session.execute(statement.execution_options(synchronize_session=False))


def spoil_amount(by: int = 5) -> None:
    spoil(update(SalesDay).values(amount_minor=SalesDay.amount_minor + by))


def press(browser: FlaskClient, number: int) -> TestResponse:
    return post_form(browser, f"{BOARD}/{RULE}/{number}/repair", page="/admin/webhooks/check")


def mend() -> str:
    with unit_of_work():
        services.repair(get_invariant(RULE), subject_id(), by=BY, at=clock.now())
    return "mended"


def sell(app: Flask) -> None:
    """A payment of 49.00 that is announced and not applied yet."""
    session = signed.make_session()
    assert signed.post(app.test_client(), signed.checkout_event(session)).status_code == 200
    look_again()


@pytest.fixture
def office(login: Callable[[User], FlaskClient], staff: User) -> FlaskClient:
    return login(staff)


DAMAGES = {
    "too much": update(SalesDay).values(amount_minor=SalesDay.amount_minor + 5, count=SalesDay.count + 1),
    "too little": update(SalesDay).values(amount_minor=SalesDay.amount_minor - 5),
    "lost": delete(SalesDay),
    "another line": update(SalesDay).values(line="nobody", amount_minor=SalesDay.amount_minor + 1),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_wrong_sum_is_counted_anew_by_one_click(
    client: FlaskClient, fake_stripe: FakeStripe, office: FlaskClient, damage: str
) -> None:
    session = paid(client, fake_stripe)
    paid(client, fake_stripe, currency="EUR", amount_minor=700)
    given(session, 1000)
    right = sums()
    assert right == [
        ("test", "EUR", False, 1, 700), ("test", "PLN", False, 1, 4900), ("test", "PLN", True, 1, 1000),
    ]  # fmt: skip
    spoil(DAMAGES[damage])
    assert [one.subject_id for one in breaches()] == [subject_id(), subject_id(), subject_id(is_return=True)]
    shown = office.get(BOARD).get_data(as_text=True)
    for is_return in (False, True):
        assert f'action="{BOARD}/{RULE}/{subject_id(is_return=is_return)}/repair"' in shown
        assert press(office, subject_id(is_return=is_return)).status_code == 303
    assert breaches() == []
    # What no money is behind stays as a row, at nothing.
    assert [row for row in sums() if row[3:] != (0, 0)] == right
    assert invariants.check(db.session) == []
    assert f"{BOARD}/{RULE}/" not in office.get(BOARD).get_data(as_text=True)
    came, went = audited("sales.recounted")
    assert (came.actor, came.subject, came.detail) == (BY, f"sales_days:{day_of(clock.now())}", "came in")
    assert came.after == {"test EUR test": [1, 700], "test PLN test": [1, 4900]}
    assert (went.before == {}) is (damage == "lost")
    assert [line.after for line in audited("invariant.repaired")] == [
        {"invariant": RULE, "id": subject_id()}, {"invariant": RULE, "id": subject_id(is_return=True)},
    ]  # fmt: skip


def test_what_is_right_stays_as_it_is(client: FlaskClient, fake_stripe: FakeStripe, office: FlaskClient) -> None:
    given(paid(client, fake_stripe), 1000)
    spoil_amount()
    for is_return in (False, True):
        assert press(office, subject_id(is_return=is_return)).status_code == 303
        before = everything()
        assert press(office, subject_id(is_return=is_return)).status_code == 409
        assert everything() == before


def test_other_days_are_left_alone(client: FlaskClient, fake_stripe: FakeStripe, office: FlaskClient) -> None:
    paid(client, fake_stripe)
    other = {"day": "2027-01-01", "line": "test", "currency": "PLN", "mode": "test", "is_return": False}
    spoil(insert(SalesDay).values(**other, count=1, amount_minor=7))
    assert press(office, subject_id()).status_code == 409
    assert press(office, 202701011).status_code == 409
    assert [one.name for one in breaches()] == ["2027-01-01"]
    assert press(office, 202701010).status_code == 303
    assert breaches() == []


def test_what_is_no_day_is_not_found(office: FlaskClient) -> None:
    for number in (0, 7, 20261130, 202611302, 202613010, 202602300, 999912311, 2026113000, 2**63 - 1):
        assert press(office, number).status_code == 404, number


def test_only_staff_and_only_with_the_pages_token(
    client: FlaskClient, login: Callable[[User], FlaskClient], office: FlaskClient, mallory: User, app: Flask
) -> None:
    sell(app)
    draining.drain_inbox()
    spoil_amount()
    address = f"{BOARD}/{RULE}/{subject_id()}/repair"
    before = sums()
    assert office.post(address).status_code == 400
    stranger = login(mallory)
    assert stranger.post(address, data={"csrf_token": csrf_token(stranger, "/account")}).status_code == 403
    answer = client.post(address, data={"csrf_token": csrf_token(client, "/login")})
    assert answer.status_code == 303
    assert "/login" in answer.headers["Location"]
    assert sums() == before
    assert audited("sales.recounted") == []


def test_of_many_who_count_anew_at_once_one_does(app: Flask) -> None:
    sell(app)
    draining.drain_inbox()
    spoil_amount()
    results = all_at_once(app, [mend] * 6)
    assert sorted(map(str, results)) == sorted(["mended", *[str(AlreadyRight())] * 5])
    assert len(audited("sales.recounted")) == len(audited("invariant.repaired")) == 1
    assert sums() == [("test", "PLN", False, 1, 4900)]


def test_money_that_comes_at_the_same_time_is_counted(app: Flask) -> None:
    sell(app)
    draining.drain_inbox()
    spoil_amount()
    for _number in range(3):
        sell(app)
    results = all_at_once(app, [mend, draining.drain_inbox, mend, draining.drain_inbox])
    assert "mended" in (results[0], results[2]), results
    draining.drain_inbox()
    assert sums() == [("test", "PLN", False, 4, 4 * 4900)]


# --- forced: one is in the middle when the other comes. SQLite lets one writer in at a time and cannot show this. ---

forced = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


def count_between(app: Flask, *, has_looked: threading.Event) -> None:
    """Money is added to the day and not committed; the day is counted anew; then the money is committed, as soon as
    whoever counts waits for it, or has looked without waiting."""
    sell(app)
    draining.drain_inbox()
    spoil_amount()
    sell(app)
    added = threading.Event()

    def linger() -> None:
        added.set()
        wait_until(lambda: has_looked.is_set() or somebody_waits())

    def count_anew() -> str:
        assert added.wait(20)
        return mend()

    with arm("settle-before-commit", linger):
        results = all_at_once(app, [draining.drain_inbox, count_anew])
    assert results == [1, "mended"]


@forced
def test_who_counts_anew_waits_for_money_that_is_being_added(app: Flask) -> None:
    count_between(app, has_looked=threading.Event())
    assert sums() == [("test", "PLN", False, 2, 9800)]
    assert breaches() == []


@forced
def test_control_without_the_locks_money_that_is_being_added_gets_lost(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_looked, write = threading.Event(), recounting._write

    def careless_look(_day: Any, **_named: Any) -> list[SalesDay]:
        return list(db.session.scalars(select(SalesDay)))

    def write_late(*given: Any, **named: Any) -> None:
        has_looked.set()
        write(*given, **named)

    monkeypatch.setattr(numbering, "hold", lambda _prefixes, _years: None)
    monkeypatch.setattr(recounting, "_held", careless_look)
    monkeypatch.setattr(recounting, "_write", write_late)
    count_between(app, has_looked=has_looked)
    assert [row[-1] for row in sums()] == [4900]
    assert [one.amount.amount_minor for one in breaches() if one.amount is not None] == [-4900]


@forced
def test_money_that_comes_while_somebody_counts_anew_is_added_to_it(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    sell(app)
    draining.drain_inbox()
    spoil_amount()
    sell(app)
    has_counted, write = threading.Event(), recounting._write

    def write_late(*given: Any, **named: Any) -> None:
        has_counted.set()
        wait_until(somebody_waits)
        write(*given, **named)

    def settle() -> int:
        assert has_counted.wait(20)
        return draining.drain_inbox()

    monkeypatch.setattr(recounting, "_write", write_late)
    assert all_at_once(app, [mend, settle]) == ["mended", 1]
    assert sums() == [("test", "PLN", False, 2, 9800)]
    assert breaches() == []
