"""Every action from every state, from the table; what each stamps; and two people at one moment."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from portal.accounts.models import User
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.errors import Conflict
from portal.core.faults import arm
from portal.core.mail import MailMessage
from portal.core.state import InvalidTransition, StatusChange, history
from portal.orders.models import Order, OrderStatus, PaymentStatus
from portal.production import jobs
from portal.production.errors import NotPaidEnough, NotPaidInFull, ReasonMissing
from portal.production.models import SALES_ORDER_TRANSITIONS, SalesOrder, SalesOrderStatus
from portal.production.services import cancelling, lifecycle
from tests import invariants
from tests.crowd import all_at_once
from tests.production import factories
from tests.production.factories import BY, make_sales_order, reloaded

_S = SalesOrderStatus
Action = Callable[[SalesOrder, datetime], Any]


# What each action makes of each state; a state that is not named refuses it and stays as it is.
ACTIONS: dict[str, tuple[Action, dict[SalesOrderStatus, SalesOrderStatus]]] = {
    "confirm": (lambda one, at: lifecycle.confirm_order(one, by=BY, at=at), {_S.PENDING: _S.CONFIRMED}),
    "start": (lambda one, at: lifecycle.start_production(one, by=BY, at=at), {_S.CONFIRMED: _S.IN_PRODUCTION}),
    "finish": (lambda one, at: lifecycle.finish_printing(one, by=BY, at=at), {_S.IN_PRODUCTION: _S.QUALITY_CHECK}),
    "rework": (
        lambda one, at: lifecycle.rework(one, reason="Warped", by=BY, at=at),
        {_S.QUALITY_CHECK: _S.IN_PRODUCTION},
    ),
    "hold": (
        lambda one, at: lifecycle.hold(one, reason="No filament", by=BY, at=at),
        dict.fromkeys((_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK), _S.ON_HOLD),
    ),
    "resume": (lambda one, at: lifecycle.resume(one, by=BY, at=at), {_S.ON_HOLD: _S.CONFIRMED}),
    "ship": (factories.ship, {_S.QUALITY_CHECK: _S.SHIPPED}),
    "deliver": (
        lambda one, at: lifecycle.mark_delivered(one, by=BY, at=at),
        # Carriers repeat themselves.
        {_S.SHIPPED: _S.DELIVERED, _S.DELIVERED: _S.DELIVERED, _S.COMPLETED: _S.COMPLETED},
    ),
    "complete": (lambda one, at: lifecycle.complete(one, by=BY, at=at), {_S.DELIVERED: _S.COMPLETED}),
    "cancel": (
        lambda one, at: cancelling.cancel(one, reason="Not needed", by=BY, at=at, may_give_back=True),
        dict.fromkeys((_S.PENDING, _S.CONFIRMED, _S.ON_HOLD), _S.CANCELLED),
    ),
}


@pytest.fixture
def paid(app: Flask, alice: User) -> SalesOrder:
    """A sales order that is paid in full, and by that confirmed."""
    return make_sales_order(alice, app=app, paid=1)


def put(sales_order: SalesOrder, status: SalesOrderStatus) -> SalesOrder:
    """Put a paid order into any state, whatever it takes."""
    if status is _S.PENDING:
        values = {"status": _S.PENDING, "confirmed_at": None}
        with unit_of_work():
            db.session.execute(db.update(SalesOrder).where(SalesOrder.id == sales_order.id).values(**values))
    elif status is not _S.CONFIRMED:
        factories.bring_to(sales_order, status)
    found = reloaded(sales_order)
    assert found.status is status
    return found


class _Undo(Exception):
    """Takes back what an action has done, so that the next one finds the same state."""


@pytest.mark.parametrize("state", _S)
def test_every_action_from_every_state(app: Flask, paid: SalesOrder, state: SalesOrderStatus) -> None:
    sales_order = put(paid, state)
    before = len(history(sales_order))
    for name, (work, table) in ACTIONS.items():
        sales_order = reloaded(paid)
        became, changes = state, before
        try:
            with unit_of_work():
                work(sales_order, clock.now())
                db.session.flush()
                became, changes = sales_order.status, len(history(sales_order))
                assert became in {state, *SALES_ORDER_TRANSITIONS.get(state, ())}
                assert changes == before or history(sales_order)[-1].actor == BY
                raise _Undo
        except _Undo:
            assert state in table, f"{name} was allowed"
        except Conflict:
            assert state not in table, f"{name} was refused"
        assert became is table.get(state, state), name
        assert changes == before + (became is not state), name
        after = reloaded(paid)
        assert (after.status, len(history(after))) == (state, before)


def test_every_arrow_of_the_table_belongs_to_an_action() -> None:
    """No arrow that nobody can take, and no action beside the table. On hold goes back to where it came from."""
    taken = {(was, became) for _work, table in ACTIONS.values() for was, became in table.items() if was is not became}
    back = {(_S.ON_HOLD, was) for was in lifecycle.HOLDABLE}
    arrows = {(was, became) for was, goals in SALES_ORDER_TRANSITIONS.items() for became in goals}
    assert taken | back == arrows


def test_the_way_is_stamped(app: Flask, alice: User) -> None:
    # Half past eleven at night in UTC is the next day in Warsaw.
    start = datetime(2026, 6, 1, 23, 30, tzinfo=UTC)
    one = make_sales_order(alice, app=app, paid=1)
    factories.bring_to(one, _S.COMPLETED, at=start)
    one = reloaded(one)
    assert one.confirmed_at is not None
    assert (one.production_started_at, one.shipped_at, one.delivered_at) == (start, start, start)
    assert one.actual_completion_date is not None
    assert one.actual_completion_date.isoformat() == "2026-06-02"
    assert invariants.check(db.session()) == []


def test_a_paid_order_is_fulfilled_by_its_delivery_and_not_before(app: Flask, paid: SalesOrder) -> None:
    for status in (_S.IN_PRODUCTION, _S.QUALITY_CHECK, _S.SHIPPED):
        factories.bring_to(paid, status)
        order = db.session.get_one(Order, reloaded(paid).order_id)
        assert (order.payment_status, order.status) == (PaymentStatus.PAID, OrderStatus.OPEN)
    factories.bring_to(paid, _S.DELIVERED)
    assert db.session.get_one(Order, reloaded(paid).order_id).status is OrderStatus.FULFILLED
    assert invariants.check(db.session()) == []


def test_production_waits_for_its_share(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, pays_deposit=True, status=_S.CONFIRMED)
    with pytest.raises(NotPaidEnough), unit_of_work():
        lifecycle.start_production(one, by=BY, at=clock.now())
    assert reloaded(one).status is _S.CONFIRMED
    factories.pay_next(app, one)
    with unit_of_work():
        lifecycle.start_production(one, by=BY, at=clock.now())
    assert reloaded(one).status is _S.IN_PRODUCTION


def test_parts_leave_when_all_is_paid(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, pays_deposit=True, paid=1, status=_S.QUALITY_CHECK)
    with pytest.raises(NotPaidInFull):
        factories.bring_to(one, _S.SHIPPED)
    assert reloaded(one).status is _S.QUALITY_CHECK
    factories.pay_next(app, one)
    factories.bring_to(one, _S.SHIPPED)
    assert reloaded(one).shipped_at is not None


def test_a_parcel_of_another_order_ships_nothing(app: Flask, alice: User, paid: SalesOrder) -> None:
    other = make_sales_order(alice)
    factories.bring_to(paid, _S.QUALITY_CHECK)
    with pytest.raises(ValueError, match="is not of sales order"), unit_of_work():
        from portal.production.models import Shipment

        lifecycle.mark_shipped(paid, Shipment(sales_order_id=other.id), by=BY, at=clock.now())
    assert reloaded(paid).status is _S.QUALITY_CHECK


@pytest.mark.parametrize("state", [_S.PENDING, _S.CONFIRMED, _S.IN_PRODUCTION, _S.QUALITY_CHECK])
def test_what_was_held_goes_on_where_it_was(app: Flask, paid: SalesOrder, state: SalesOrderStatus) -> None:
    one = put(paid, state)
    with unit_of_work():
        lifecycle.hold(one, reason="  Which   colour? ", by=BY, at=clock.now())
    held = reloaded(one)
    assert (held.status, held.held_from) == (_S.ON_HOLD, state.value)
    assert history(held)[-1].reason == "Which colour?"
    with unit_of_work():
        lifecycle.resume(held, by=BY, at=clock.now())
    after = reloaded(one)
    assert after.held_from is None
    # A pending order whose share is paid is confirmed by that, also when it is resumed.
    assert after.status is (_S.CONFIRMED if state is _S.PENDING else state)


def test_money_that_comes_on_hold_confirms_when_it_is_resumed(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, status=_S.ON_HOLD)
    factories.pay_next(app, one)
    assert reloaded(one).status is _S.ON_HOLD
    with unit_of_work():
        lifecycle.resume(one, by=BY, at=clock.now())
    assert reloaded(one).status is _S.CONFIRMED
    assert reloaded(one).confirmed_at is not None


@pytest.mark.parametrize("reason", ["", "  ", "no"])
def test_holding_and_rework_need_a_reason(app: Flask, paid: SalesOrder, reason: str) -> None:
    put(paid, _S.QUALITY_CHECK)
    for work in (lifecycle.hold, lifecycle.rework):
        with pytest.raises(ReasonMissing), unit_of_work():
            work(paid, reason=reason, by=BY, at=clock.now())
    assert reloaded(paid).status is _S.QUALITY_CHECK


def test_rework_keeps_the_first_start(app: Flask, paid: SalesOrder) -> None:
    put(paid, _S.QUALITY_CHECK)
    started = reloaded(paid).production_started_at
    with unit_of_work():
        lifecycle.rework(paid, reason="Warped", by=BY, at=clock.now() + timedelta(hours=1))
    assert reloaded(paid).production_started_at == started
    assert [mail.params["step"] for mail in mails("sales_order_moved")] == ["in_production"]


def mails(template: str) -> list[MailMessage]:
    factories.look_again()
    statement = select(MailMessage).where(MailMessage.template == template).order_by(MailMessage.id)
    return list(db.session.scalars(statement))


def test_each_step_is_told_once(app: Flask, alice: User) -> None:
    one = make_sales_order(alice, app=app, status=_S.CONFIRMED)
    factories.pay_next(app, one)
    factories.bring_to(one, _S.QUALITY_CHECK)
    with unit_of_work():
        lifecycle.rework(one, reason="Warped", by=BY, at=clock.now())
    factories.bring_to(one, _S.DELIVERED)
    with unit_of_work():
        lifecycle.mark_delivered(one, by=BY, at=clock.now())
    assert [mail.params["step"] for mail in mails("sales_order_moved")] == ["confirmed", "in_production", "delivered"]
    assert len(mails("sales_order_paid")) == 1


def test_delivered_orders_are_put_away_after_two_weeks(app: Flask, alice: User) -> None:
    old = make_sales_order(alice, app=app, paid=1)
    new = make_sales_order(alice, app=app, paid=1)
    factories.bring_to(old, _S.DELIVERED, at=clock.now() - timedelta(days=14, minutes=1))
    factories.bring_to(new, _S.DELIVERED, at=clock.now() - timedelta(days=13))
    factories.look_again()
    jobs.complete_delivered()
    assert (reloaded(old).status, reloaded(new).status) == (_S.COMPLETED, _S.DELIVERED)
    assert history(reloaded(old))[-1].actor == "job:production"


def race(app: Flask, sales_order_id: int, *names: str) -> list[Any]:
    """Several actions at one moment, each as a route does it: load, decide, write."""

    def act(name: str) -> str:
        with unit_of_work():
            ACTIONS[name][0](db.session.get_one(SalesOrder, sales_order_id), clock.now())
        return name

    found = all_at_once(app, [lambda name=name: act(name) for name in names])  # type: ignore[misc]  # bound now
    factories.look_again()
    return found


@pytest.mark.parametrize("names", [("start", "cancel"), ("start",) * 8, ("cancel", "start", "cancel", "start")])
def test_of_several_at_once_one_wins(app: Flask, paid: SalesOrder, names: tuple[str, ...]) -> None:
    found = race(app, paid.id, *names)
    winners = [one for one in found if isinstance(one, str)]
    losers = [one for one in found if not isinstance(one, str)]
    assert len(winners) == 1, found
    assert all(isinstance(one, Conflict) for one in losers), found
    assert invariants.check(db.session()) == []


def test_without_lock_and_comparison_both_win(app: Flask, paid: SalesOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what locks and compare-and-set are for."""
    monkeypatch.setattr(lifecycle, "lock", lambda one: db.session.get_one(Order, one.order_id))

    def careless(row: SalesOrder, to: SalesOrderStatus, *, by: str, at: datetime, **_more: Any) -> None:
        time.sleep(0.3)
        row.status = to
        db.session.add(
            StatusChange(
                entity="sales_orders",
                entity_id=row.id,
                column="status",
                was="confirmed",
                became=to.value,
                actor=by,
                at=at,
            )
        )

    monkeypatch.setattr(lifecycle, "transition", careless)
    found = race(app, paid.id, "start", "start")
    # SQLite has one writer at a time by itself: there is nothing to take away.
    assert len([one for one in found if isinstance(one, str)]) == (2 if db.engine.dialect.name == "postgresql" else 1)


def test_a_payment_and_a_cancellation_at_once_lose_no_money(app: Flask, alice: User) -> None:
    """A paid order that is cancelled gives the money back; money for a cancelled one is kept apart."""
    one = make_sales_order(alice)
    session = factories.open_payment(one)
    from portal.payments.services.starting import start_attempt
    from tests import sandbox

    page = start_attempt(session.id, "sandbox", at=clock.now())
    sandbox.press(app.test_client(), page, "pay_card")
    factories.look_again()
    with arm("fulfil-after-payment", "sleep:0.2"):
        all_at_once(app, [lambda: sandbox.settle(app), lambda: race_cancel(one.id)])
    factories.look_again()
    order = db.session.get_one(Order, one.order_id)
    assert (reloaded(one).status, order.status) == (_S.CANCELLED, OrderStatus.CANCELLED)
    sandbox.settle(app)
    from tests.orders import shop

    shop.work(app)
    assert invariants.check(db.session()) == []


def race_cancel(sales_order_id: int) -> None:
    with unit_of_work():
        one = db.session.get_one(SalesOrder, sales_order_id)
        cancelling.cancel(one, reason="Not needed", by=BY, at=clock.now(), may_give_back=True)


def test_an_order_that_is_gone_from_its_state_says_so(app: Flask, paid: SalesOrder) -> None:
    with pytest.raises(InvalidTransition, match="not possible in the current state"), unit_of_work():
        lifecycle.complete(paid, by=BY, at=clock.now())
