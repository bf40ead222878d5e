"""Month arithmetic: the last days of months, leap years, and nights when the clocks change."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from portal.subscriptions.months import add_months, month_of

WARSAW = ZoneInfo("Europe/Warsaw")


@pytest.mark.parametrize(
    ("begins", "months", "ends"),
    [
        ("2027-01-31T10:00", 1, "2027-02-28T10:00"),
        ("2027-01-31T10:00", 2, "2027-03-31T10:00"),
        ("2028-01-31T10:00", 1, "2028-02-29T10:00"),
        ("2028-02-29T10:00", 12, "2029-02-28T10:00"),
        ("2028-02-29T10:00", 48, "2032-02-29T10:00"),
        ("2027-11-30T10:00", 3, "2028-02-29T10:00"),
        ("2027-12-15T23:59", 1, "2028-01-15T23:59"),
        ("2027-12-15T10:00", 0, "2027-12-15T10:00"),
    ],
)
def test_months_are_counted_from_the_first_day(begins: str, months: int, ends: str) -> None:
    anchor = datetime.fromisoformat(begins).replace(tzinfo=WARSAW)
    assert add_months(anchor, months, WARSAW) == datetime.fromisoformat(ends).replace(tzinfo=WARSAW)


def test_the_day_is_the_business_zones_and_not_utcs() -> None:
    # Half past midnight on 1 February in Warsaw, still 31 January in UTC.
    anchor = datetime(2027, 1, 31, 23, 30, tzinfo=UTC)
    assert add_months(anchor, 1, WARSAW) == datetime(2027, 2, 28, 23, 30, tzinfo=UTC)
    assert month_of(anchor, WARSAW) == "2027-02"


def test_the_wall_clock_stays_when_the_clocks_change() -> None:
    winter = datetime(2027, 3, 10, 9, 0, tzinfo=UTC)
    assert add_months(winter, 1, WARSAW) == datetime(2027, 4, 10, 8, 0, tzinfo=UTC)
    # 28 March 2027, 2:30 does not exist: an hour later is meant. 31 October, 2:30 comes twice: the first is meant.
    assert add_months(datetime(2027, 2, 28, 1, 30, tzinfo=UTC), 1, WARSAW) == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)
    assert add_months(datetime(2027, 8, 31, 0, 30, tzinfo=UTC), 2, WARSAW) == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)


def test_two_years_of_periods_have_no_gap_and_no_overlap() -> None:
    anchor = datetime(2027, 1, 31, 22, 15, tzinfo=UTC)
    ends = [add_months(anchor, number, WARSAW) for number in range(25)]
    assert ends == sorted(set(ends))
    assert ends[0] == anchor
    assert {one.astimezone(WARSAW).day for one in ends} <= {28, 29, 30, 31}
