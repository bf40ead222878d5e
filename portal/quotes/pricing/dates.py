"""When parts are ready: promise dates by rush level, from the machine hours that are still free.

Days are business days in the business's own time zone. What is ordered before a level's cut-off hour counts from that
day, anything later from the next business day; parts are ready by the book's hour of the promised day.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_CEILING, Decimal

from portal.quotes.pricing.book import PriceBook, RushLevel

# A promise further away is none: half a year of work is booked.
_FURTHEST_DAYS = 126
_LONGEST_BREAK = 60


def promise_date(
    book: PriceBook, hours: Decimal, rush: str, *, at: datetime, booked_hours: Mapping[str, Decimal]
) -> datetime | None:
    """When parts that take `hours` of machine time are ready, as an instant in UTC.

    None when the level is not offered for them now: its hours are booked (`booked_hours` of open sales orders, by
    level), or the day it promises is over. Raises ValueError for a word that is no rush level.
    """
    level = book.get_rush(rush)
    local = at.astimezone(book.zone)
    days = _days_needed(level, hours + booked_hours.get(rush, Decimal(0)))
    if days is None:
        return None
    is_late = local.hour >= level.cut_off_hour or not is_business_day(book, local.date())
    if level.lead_days == 0 and not level.stretches and is_late:
        # The same day, and that day is over: the next day is another level's promise.
        return None
    first = local.date() if not is_late else _business_day_after(book, local.date(), 1)
    ready = _business_day_after(book, first, days) if first is not None else None
    if ready is None:
        return None
    return datetime.combine(ready, time(book.ready_hour), tzinfo=book.zone).astimezone(UTC)


def promise_dates(
    book: PriceBook, hours: Decimal, *, at: datetime, booked_hours: Mapping[str, Decimal]
) -> dict[str, datetime | None]:
    """The promise of every level, in the book's order; None for those that are not offered now."""
    return {level.code: promise_date(book, hours, level.code, at=at, booked_hours=booked_hours) for level in book.rush}


def is_business_day(book: PriceBook, day: date) -> bool:
    """Whether anybody works on this day."""
    return day.weekday() < 5 and not {day.isoformat(), f"{day:%m-%d}"} & set(book.holidays)


def _days_needed(level: RushLevel, hours: Decimal) -> int | None:
    """How many business days after the first one the parts are ready, everything that is booked included."""
    if not level.daily_hours:
        return None
    # The day on which the parts are due is a day of work as well.
    working_days = int((hours / level.daily_hours).to_integral_value(ROUND_CEILING))
    if working_days <= max(level.lead_days, 1):
        return level.lead_days
    if not level.stretches or working_days > _FURTHEST_DAYS:
        return None
    return working_days


def _business_day_after(book: PriceBook, day: date, count: int) -> date | None:
    """The business day `count` business days after a day; None when the book's holidays leave none."""
    if count == 0:
        return day
    for later in _days_after(day, count * 2 + _LONGEST_BREAK):
        count -= is_business_day(book, later)
        if count == 0:
            return later
    return None


def _days_after(day: date, most: int) -> Iterator[date]:
    for index in range(1, most + 1):
        yield day + timedelta(days=index)
