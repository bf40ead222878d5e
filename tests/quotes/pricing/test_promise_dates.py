"""Promise dates: business days, cut-off hours, holidays, and what is booked already."""

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from portal.quotes.pricing.dates import promise_date, promise_dates
from tests.quotes.books import NOTHING_BOOKED, book_content, make_book

WARSAW = ZoneInfo("Europe/Warsaw")
BOOK = make_book()


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=WARSAW)


def _promised(rush: str, at: str, hours: str = "1", booked: str = "0") -> str | None:
    ready = promise_date(BOOK, Decimal(hours), rush, at=_at(at), booked_hours={rush: Decimal(booked)})
    return ready.astimezone(WARSAW).strftime("%a %Y-%m-%d %H:%M") if ready else None


@pytest.mark.parametrize(
    ("rush", "at", "ready"),
    [
        # Wednesday.
        ("standard", "2026-12-02 09:00", "Wed 2026-12-09 17:00"),
        ("standard", "2026-12-02 14:59", "Wed 2026-12-09 17:00"),
        ("standard", "2026-12-02 15:00", "Thu 2026-12-10 17:00"),
        ("rush", "2026-12-02 09:00", "Mon 2026-12-07 17:00"),
        ("super_rush", "2026-12-02 11:59", "Thu 2026-12-03 17:00"),
        ("super_rush", "2026-12-02 12:00", "Fri 2026-12-04 17:00"),
        ("emergency", "2026-12-02 09:59", "Wed 2026-12-02 17:00"),
        ("emergency", "2026-12-02 10:00", None),
        # Friday evening, Saturday, Sunday.
        ("super_rush", "2026-12-04 20:00", "Tue 2026-12-08 17:00"),
        ("super_rush", "2026-12-05 08:00", "Tue 2026-12-08 17:00"),
        ("rush", "2026-12-06 08:00", "Thu 2026-12-10 17:00"),
        ("emergency", "2026-12-06 08:00", None),
        # Christmas: 24 to 26 December are holidays, 27 a Sunday.
        ("super_rush", "2026-12-23 09:00", "Mon 2026-12-28 17:00"),
        ("emergency", "2026-12-24 08:00", None),
        # Easter Monday is a holiday of one year alone.
        ("super_rush", "2027-03-26 09:00", "Tue 2027-03-30 17:00"),
        ("super_rush", "2028-03-28 09:00", "Wed 2028-03-29 17:00"),
    ],
)
def test_days_are_business_days_counted_from_the_cut_off(rush: str, at: str, ready: str | None) -> None:
    assert _promised(rush, at) == ready


def test_the_day_is_the_business_s_own() -> None:
    """23:30 in London on Tuesday is half past midnight on Wednesday in Warsaw, before the cut-off."""
    at = datetime(2026, 12, 1, 23, 30, tzinfo=UTC)
    ready = promise_date(BOOK, Decimal(1), "emergency", at=at, booked_hours=NOTHING_BOOKED)
    assert ready == datetime(2026, 12, 2, 16, 0, tzinfo=UTC)


def test_ready_by_the_same_hour_in_summer_and_winter() -> None:
    for at, hour in (("2026-10-22 09:00", 15), ("2026-10-26 09:00", 16)):
        ready = promise_date(BOOK, Decimal(1), "super_rush", at=_at(at), booked_hours=NOTHING_BOOKED)
        assert ready is not None
        assert (ready.tzinfo, ready.hour) == (UTC, hour)


@pytest.mark.parametrize(
    ("rush", "hours", "booked", "is_offered"),
    [
        ("emergency", "4", "0", True),
        ("emergency", "4.0001", "0", False),
        ("emergency", "1", "3", True),
        ("emergency", "1", "3.1", False),
        ("super_rush", "12", "0", True),
        ("super_rush", "6", "6.1", False),
        ("rush", "60", "0", True),
        ("rush", "30", "30.1", False),
    ],
)
def test_a_full_level_is_not_offered(rush: str, hours: str, booked: str, is_offered: bool) -> None:
    assert (_promised(rush, "2026-12-02 09:00", hours, booked) is not None) is is_offered


@pytest.mark.parametrize(
    ("hours", "booked", "ready"),
    [
        ("200", "0", "Wed 2026-12-09 17:00"),
        ("201", "0", "Thu 2026-12-10 17:00"),
        ("1", "240", "Fri 2026-12-11 17:00"),
        ("400", "0", "Wed 2026-12-16 17:00"),
    ],
)
def test_standard_moves_out_when_it_is_full(hours: str, booked: str, ready: str) -> None:
    """40 hours a day: five days hold 200."""
    assert _promised("standard", "2026-12-02 09:00", hours, booked) == ready


def test_a_promise_beyond_half_a_year_is_none() -> None:
    assert _promised("standard", "2026-12-02 09:00", "5040") is not None
    assert _promised("standard", "2026-12-02 09:00", "5041") is None


def test_what_one_level_has_booked_takes_nothing_from_another() -> None:
    booked = {"rush": Decimal(1000), "super_rush": Decimal(1000)}
    dates = promise_dates(BOOK, Decimal(1), at=_at("2026-12-02 09:00"), booked_hours=booked)
    assert [code for code, ready in dates.items() if ready is None] == ["rush", "super_rush"]


def test_a_level_without_hours_is_not_offered() -> None:
    content = book_content()
    content["rush"][3]["daily_hours"] = "0"
    dates = promise_dates(make_book(**content), Decimal(0), at=_at("2026-12-02 09:00"), booked_hours=NOTHING_BOOKED)
    assert dates["emergency"] is None
    assert dates["super_rush"] is not None


def test_a_book_of_nothing_but_holidays_promises_nothing() -> None:
    every_day = [f"{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    every_day += ["01-29", "01-30", "01-31", "12-29", "12-30", "12-31"]
    book = make_book(holidays=every_day)
    at = _at("2026-12-02 09:00")
    assert promise_date(book, Decimal(1), "standard", at=at, booked_hours=NOTHING_BOOKED) is None


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="not a rush level"):
        _promised("tomorrow", "2026-12-02 09:00")
