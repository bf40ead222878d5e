"""The sums of each day are what its payments and refunds add up to."""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, select

from portal.core.db import db
from portal.core.errors import NotFound
from portal.core.invariants import LIMIT, Breach, Reach, invariant
from portal.core.money import Money
from portal.payments.models import Payment, Standing
from portal.payments.refund_models import Refund
from portal.payments.sales_models import SalesDay
from portal.payments.services import recounting
from portal.payments.services.sales import day_of

# Day, currency and mode.
_Key = tuple[str, str, str]
# A breach is about a day of one direction: 202611300 is what came in on 30 November, 202611301 what went back.
_SUBJECT = re.compile(r"(2[0-9]{7})([01])")
# What is written at once may carry instants that are a little out of order.
_SLACK = timedelta(hours=1)


def _recount(subject_id: int, *, by: str, at: datetime) -> None:
    named = _SUBJECT.fullmatch(str(subject_id))
    if named is None:
        raise NotFound
    try:
        day = date.fromisoformat(named[1])
    except ValueError:
        raise NotFound from None
    recounting.recount_day(day, is_return=named[2] == "1", by=by, at=at)


@invariant(
    "sales_of_a_day_differ",
    title=_l("Sales of a day do not add up"),
    advice=_l(
        "The statistics do not say what payments and refunds add up to. Count the day anew; the audit log keeps both."
    ),
    repair=_recount,
    action=_l("Count anew"),
)
def sales_of_a_day_differ(reach: Reach) -> Sequence[Breach]:
    """Recounts the days that lie wholly within the newest payments and refunds."""
    came = recounting.came().order_by(Payment.id.desc())
    went = recounting.went().order_by(Refund.succeeded_at.desc())
    return [*_differences(came, reach, is_return=False), *_differences(went, reach, is_return=True)][:LIMIT]


def _differences(newest: recounting.MoneyRows, reach: Reach, *, is_return: bool) -> list[Breach]:
    rows = db.session.execute(newest.limit(reach.rows)).all()
    # Of the day of the oldest row some others may lie further back.
    seen_whole = day_of(rows[-1][0] + _SLACK) if len(rows) == reach.rows else ""
    counted, kept = _counted(rows), _kept(seen_whole, is_return=is_return)
    return [
        Breach(
            f"sales_days:{day.replace('-', '')}{int(is_return)}", day, mode,
            Money(kept[day, currency, mode] - counted[day, currency, mode], currency), reach.at,
        )
        for day, currency, mode in sorted({*counted, *kept})
        if day > seen_whole and kept[day, currency, mode] != counted[day, currency, mode]
    ]  # fmt: skip


def _counted(rows: Sequence[recounting.MoneyRow]) -> Counter[_Key]:
    sums: Counter[_Key] = Counter()
    for at, currency, mode, amount_minor, standing in rows:
        if standing is Standing.COUNTED:
            sums[day_of(at), currency, mode] += amount_minor
    return sums


def _kept(after: str, *, is_return: bool) -> Counter[_Key]:
    found = db.session.execute(
        select(SalesDay.day, SalesDay.currency, SalesDay.mode, func.sum(SalesDay.amount_minor))
        .where(SalesDay.day > after, SalesDay.is_return.is_(is_return))
        .group_by(SalesDay.day, SalesDay.currency, SalesDay.mode)
    )
    return Counter({(day, currency, mode): int(total) for day, currency, mode, total in found})
