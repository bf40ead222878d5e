"""The sums of each day: they grow with the money, shrink when it goes back, and are found when they are wrong."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from flask.testing import FlaskClient
from sqlalchemy import update

from portal.accounts.models import User
from portal.admin import nightly
from portal.admin.queries.statistics import sales
from portal.core import clock
from portal.core.db import db, unit_of_work
from portal.core.invariants import Reach, get_invariant
from portal.payments.refund_models import RefundStatus
from portal.payments.sales_models import SalesDay
from portal.payments.services.sales import day_of
from tests.fakes.stripe import FakeStripe
from tests.payments.money_back import deliver, fresh, given, look_again, paid

RULE = "sales_of_a_day_differ"


def figures() -> list[tuple[int, int, int, int]]:
    """Payments, money in, money back and what is left, of each row of the statistics."""
    look_again()
    return [(one.count, one.paid_minor, one.returned_minor, one.net_minor) for one in sales(clock.now())]


def differences(rows: int = 1000) -> list[tuple[str, int]]:
    look_again()
    found = get_invariant(RULE).find(Reach(clock.now(), rows))
    return [(one.name, one.amount.amount_minor) for one in found if one.amount is not None]


def test_what_goes_back_is_taken_off(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    session = paid(client, fake_stripe)
    assert figures() == [(1, 4900, 0, 4900)]
    given(session, 1000)
    assert figures() == [(1, 4900, 1000, 3900)]
    given(session)
    assert figures() == [(1, 4900, 4900, 0)]
    assert differences() == []


def test_a_refund_that_came_back_is_not_taken_off(client: FlaskClient, fake_stripe: FakeStripe, admin: User) -> None:
    refund = given(paid(client, fake_stripe), 1000)
    fake_stripe.control.fail_refund(str(refund.provider_reference))
    deliver(client, fake_stripe)
    assert fresh(refund).status is RefundStatus.FAILED
    assert figures() == [(1, 4900, 0, 4900)]
    assert differences() == []


def test_the_same_news_twice_is_counted_once(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    given(paid(client, fake_stripe), 1000)
    deliver(client, fake_stripe)
    deliver(client, fake_stripe)
    assert figures() == [(1, 4900, 1000, 3900)]


def test_a_wrong_sum_is_found_in_the_night(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    given(paid(client, fake_stripe), 1000)
    with unit_of_work():
        db.session.execute(
            update(SalesDay).where(SalesDay.is_return.is_(True)).values(amount_minor=SalesDay.amount_minor + 5)
        )
    today = day_of(clock.now())
    assert differences() == [(today, 5)]
    assert [one.name for one in nightly.look(at=clock.now(), only=RULE, rows=nightly.FAR)[RULE]] == [today]
    with unit_of_work():
        db.session.execute(db.delete(SalesDay))
    assert differences() == [(today, -4900), (today, -1000)]


def test_a_day_that_is_not_seen_whole_is_left_alone(client: FlaskClient, fake_stripe: FakeStripe) -> None:
    """The newest row alone says nothing about its own day, and all about the days after it."""
    paid(client, fake_stripe)
    paid(client, fake_stripe)
    assert differences(rows=1) == []
    with unit_of_work():
        # Not tomorrow: in the last hour of a day what was written a little earlier may still be of the next.
        later = day_of(clock.now() + timedelta(days=2))
        db.session.execute(
            db.insert(SalesDay).values(
                day=later, line="test", currency="PLN", mode="test", is_return=False, count=1, amount_minor=7
            )
        )
    assert differences(rows=1) == [(later, 7)]


def test_an_instant_belongs_to_the_day_of_the_business(client: FlaskClient) -> None:
    assert client is not None
    assert day_of(datetime(2026, 11, 30, 22, 59, tzinfo=UTC)) == "2026-11-30"
    assert day_of(datetime(2026, 11, 30, 23, 0, tzinfo=UTC)) == "2026-12-01"


def test_the_statistics_cost_the_same_for_one_payment_and_for_many(
    client: FlaskClient, fake_stripe: FakeStripe, count_queries: Callable[[], int]
) -> None:
    """And read as many rows: those of a day are one."""
    given(paid(client, fake_stripe), 1000)
    figures()
    count_queries()
    figures()
    once = count_queries()
    for _number in range(5):
        given(paid(client, fake_stripe), 1000)
    look_again()
    count_queries()
    assert figures() == [(6, 6 * 4900, 6 * 1000, 6 * 3900)]
    assert count_queries() == once == 1
    assert len(db.session.scalars(db.select(SalesDay.id)).all()) == 2
