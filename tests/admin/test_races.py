"""Twenty people press the same button at one moment: one wins, the others are told how it stands now.

Each race has a control twin without the guards, which shows the bug: or the race would prove nothing.
"""

import itertools
import threading
import time
from datetime import datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import attributes

from portal.accounts.models import User
from portal.core.db import db
from portal.core.outbox import OutboxMessage
from portal.core.state import StatusChange
from portal.orders.models import Order, OrderStatus
from portal.orders.services import cancelling
from portal.payments.models import EventStatus
from tests import factories
from tests.admin import support
from tests.admin.reading import audited
from tests.browser_like import csrf_token

CROWD = 20


def press_at_once(
    app: Flask, user: User, *addresses: str, values: dict[str, str] | None = None
) -> list[tuple[int, str]]:
    """Twenty browsers of one user send the same form, or in turn each of several; status and page of each answer."""
    browsers: list[tuple[FlaskClient, str]] = []
    for _ in range(CROWD):
        browser = app.test_client()
        factories.sign_in(browser, user)
        browsers.append((browser, csrf_token(browser, "/admin/catalogue/new")))
    db.session.rollback()
    barrier = threading.Barrier(CROWD)
    answers: list[tuple[int, str]] = []

    def press(address: str, browser: FlaskClient, token: str) -> None:
        barrier.wait()
        answer = browser.post(address, data={"csrf_token": token, **(values or {})})
        answers.append((answer.status_code, answer.get_data(as_text=True)))

    work = zip(itertools.cycle(addresses), browsers)
    threads = [threading.Thread(target=press, args=(address, *browser)) for address, browser in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _changes(entity: str, became: str) -> int:
    db.session.rollback()
    found = db.select(StatusChange).where(StatusChange.entity == entity, StatusChange.became == became)
    return len(db.session.scalars(found).all())


def _check(answers: list[tuple[int, str]], now: str) -> None:
    assert sorted(status for status, _page in answers) == [303] + [409] * (CROWD - 1)
    assert all(now in page for status, page in answers if status == 409)


def test_cancelling_twenty_times_at_once_cancels_once(app: Flask, staff: User, alice: User) -> None:
    order = support.make_order(alice)
    support.make_session(order)
    answers = press_at_once(app, staff, f"/admin/orders/{order.number}/cancel")
    _check(answers, "Cancelled")
    assert _changes("orders", "cancelled") == 1
    assert len(audited("order.cancelled")) == 1
    assert db.session.get_one(Order, order.id, populate_existing=True).status is OrderStatus.CANCELLED


def test_settling_by_hand_twenty_times_at_once_settles_once(app: Flask, staff: User) -> None:
    event = support.make_conflict()
    answers = press_at_once(app, staff, f"/admin/webhooks/{event.id}/resolve", values={"note": "given back"})
    _check(answers, "Resolved")
    assert _changes("provider_events", "resolved") == 1
    assert len(audited("event.resolved")) == 1


def test_running_again_twenty_times_at_once_runs_once(app: Flask, staff: User) -> None:
    event = support.make_event(status=EventStatus.FAILED)
    message = support.make_message()
    _check(press_at_once(app, staff, f"/admin/webhooks/{event.id}/run-again"), "Waiting to be applied")
    _check(press_at_once(app, staff, f"/admin/jobs/{message.id}/run-again"), "Pending")
    assert _changes("provider_events", "pending") == 1
    assert (len(audited("event.run_again")), len(audited("effect.run_again"))) == (1, 1)


def test_sending_a_mail_again_twenty_times_at_once_sends_it_once(app: Flask, staff: User, alice: User) -> None:
    message = support.make_mail(alice.email, template="account_set_up", user_id=alice.id)
    _check(press_at_once(app, staff, f"/admin/mail/{message.id}/again"), "Queued")
    assert len(db.session.scalars(db.select(OutboxMessage).where(OutboxMessage.topic == "mail.queued")).all()) == 1


def test_two_who_decide_differently_do_not_both_win(app: Flask, staff: User) -> None:
    """One runs the event again while the other marks it as dealt with."""
    event = support.make_event(status=EventStatus.UNMATCHED, session_public_id="nobody")
    address = f"/admin/webhooks/{event.id}"
    answers = press_at_once(app, staff, f"{address}/run-again", f"{address}/resolve", values={"note": "dealt with"})
    assert sorted(status for status, _page in answers) == [303] + [409] * (CROWD - 1)
    assert _changes("provider_events", "pending") + _changes("provider_events", "resolved") == 1


def _careless_look(order_id: int) -> Order:
    """The order without its lock, and time for all the others to look too."""
    found = db.session.scalars(db.select(Order).where(Order.id == order_id)).one()
    time.sleep(1)
    return found


def _careless_transition(row: Order, to: OrderStatus, *, by: str, at: datetime) -> None:
    """Written whatever the row says by now: no compare-and-set."""
    db.session.execute(text("UPDATE orders SET status = :to WHERE id = :id"), {"to": to.value, "id": row.id})
    db.session.add(
        StatusChange(entity="orders", entity_id=row.id, column="status", was=row.status.value, became=to.value,
                     actor=by, at=at)
    )  # fmt: skip
    attributes.set_committed_value(row, "status", to)


# SQLite lets one writer in at a time and cannot show this bug; its guard, BEGIN IMMEDIATE, has its own control.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_control_without_the_guards_an_order_is_cancelled_several_times(
    app: Flask, staff: User, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = support.make_order(alice)
    monkeypatch.setattr(cancelling, "_locked", _careless_look)
    monkeypatch.setattr(cancelling, "transition", _careless_transition)
    answers = press_at_once(app, staff, f"/admin/orders/{order.number}/cancel")
    assert [status for status, _page in answers].count(303) > 1
    assert _changes("orders", "cancelled") > 1
