"""The settings of the running application, for code that knows no Flask."""

from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo

from flask import current_app

if TYPE_CHECKING:
    from portal.config import Settings


def current() -> "Settings":
    """The typed settings the application was created with."""
    return cast("Settings", current_app.config["SETTINGS"])


def business_zone() -> ZoneInfo:
    """The time zone of the business, in which its days, months and years begin."""
    return ZoneInfo(current().business_timezone)
