"""The sums of each day are what its payments and refunds add up to."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from flask_babel import lazy_gettext as _l
from sqlalchemy import Row, Select, func, select, type_coerce

from portal.core.db import UTCDateTime, db
from portal.core.invariants import LIMIT, Breach, Reach, invariant
from portal.core.money import Money
from portal.payments.models import Payment, PaymentSession, Standing
from portal.payments.refund_models import Refund, RefundStatus
from portal.payments.sales_models import SalesDay
from portal.payments.services.sales import day_of

# Day, currency and mode.
_Key = tuple[str, str, str]
# When, currency, mode, amount and standing of money, newest first.
_Row = Row[datetime, str, str, int, Standing]
_Newest = Select[datetime, str, str, int, Standing]
# What is written at once may carry instants that are a little out of order.
_SLACK = timedelta(hours=1)


@invariant(
    "sales_of_a_day_differ",
    title=_l("Sales of a day do not add up"),
    advice=_l("The sums in the statistics are not what payments and refunds add up to. Look into the audit log."),
)
def sales_of_a_day_differ(reach: Reach) -> Sequence[Breach]:
    """Recounts the days that lie wholly within the newest payments and refunds."""
    came = (
        select(Payment.received_at, Payment.currency, PaymentSession.mode, Payment.amount_minor, Payment.standing)
        .join(PaymentSession, PaymentSession.id == Payment.session_id)
        .order_by(Payment.id.desc())
    )
    went = (
        select(
            type_coerce(Refund.succeeded_at, UTCDateTime()),
            Refund.currency,
            PaymentSession.mode,
            Refund.amount_minor,
            Payment.standing,
        )
        .join(PaymentSession, PaymentSession.id == Refund.session_id)
        .join(Payment, Payment.id == Refund.payment_id)
        .where(Refund.succeeded_at.is_not(None), Refund.status == RefundStatus.SUCCEEDED)
        .order_by(Refund.succeeded_at.desc())
    )
    return [*_differences(came, reach, is_return=False), *_differences(went, reach, is_return=True)][:LIMIT]


def _differences(newest: _Newest, reach: Reach, *, is_return: bool) -> list[Breach]:
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


def _counted(rows: Sequence[_Row]) -> Counter[_Key]:
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
