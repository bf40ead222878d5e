"""Month arithmetic as people mean it: in the business's own zone, counted from the day on which it all began."""

from calendar import monthrange
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def add_months(anchor: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The instant so many months after an anchor, on the same day and at the same time of the wall clock in a zone.

    A month that lacks the day gives its last one: 31 January, 28 February, 31 March. So months are always counted from
    the anchor and never from the last result, which would lose the 31st for ever. A time that the clocks skip is the
    one they skip to; of a time that they show twice it is the first. The answer is in UTC.
    """
    local = anchor.astimezone(zone)
    years, month = divmod(local.year * 12 + local.month - 1 + months, 12)
    day = min(local.day, monthrange(years, month + 1)[1])
    moved = local.replace(year=years, month=month + 1, day=day, fold=0)
    return moved.astimezone(UTC)


def month_of(at: datetime, zone: ZoneInfo) -> str:
    """The month in which an instant lies in a zone, as "2026-11"."""
    return f"{at.astimezone(zone):%Y-%m}"
