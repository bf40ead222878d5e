"""Reading a list's address: whatever it says, there is a page; what makes no sense counts as not asked."""

import re
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import TypeVar

from flask import request

from portal.core import settings

E = TypeVar("E", bound=StrEnum)

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]+")
_LONGEST = 200
_EARLIEST, _LATEST = date(2000, 1, 1), date(2199, 12, 31)


def text(name: str = "q") -> str:
    """What was typed into a search box, without what no database takes; at most 200 characters."""
    return " ".join(_CONTROL.sub(" ", request.args.get(name, "")[:_LONGEST]).split())


def choice(name: str, options: type[E]) -> E | None:
    """One of an enumeration, or None."""
    value = request.args.get(name, "")
    return next((option for option in options if option.value == value), None)


def one_of(name: str, options: list[str] | tuple[str, ...]) -> str | None:
    """One of some words, or None."""
    value = request.args.get(name, "")
    return value if value in options else None


def day(name: str) -> date | None:
    """A day as a date field sends it, or None."""
    try:
        value = date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None
    return value if _EARLIEST <= value <= _LATEST else None


def begins(on: date | None) -> datetime | None:
    """The instant a day begins where the business is."""
    if on is None:
        return None
    zone = settings.business_zone()
    return datetime.combine(on, time(), tzinfo=zone).astimezone(UTC)


def ends(on: date | None) -> datetime | None:
    """The instant a day is over: the beginning of the next one."""
    return None if on is None else begins(on + timedelta(days=1))
