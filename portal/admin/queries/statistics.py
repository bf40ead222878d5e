"""Figures over months: recurring revenue from its sums, sales of each line, and how many orders are paid.

Recurring revenue is a few rows whatever there is, and sales are at most one of each day, line and currency. Of
orders the newest are read, by the index of when they were placed.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import case, func, select

from portal.core import settings
from portal.core.db import db
from portal.orders.models import Order, OrderLine, PaymentStatus
from portal.payments.sales_models import SalesDay
from portal.subscriptions.models import Subscription, SubscriptionMonth

MONTHS = 12
# What the share of paid orders is worked out of, at most.
MOST_ORDERS = 10_000


@dataclass(frozen=True, slots=True)
class RecurringMonth:
    """What subscriptions were worth when a month was over, in one currency; churn in 1/100 of a percent of those that
    ran when it began, None when none did."""

    month: str
    currency: str
    started_count: int
    ended_count: int
    running_count: int
    revenue_minor: int
    churn_basis_points: int | None


@dataclass(frozen=True, slots=True)
class Sales:
    """What came in for one line of business in a month, and what went back, of whichever payment."""

    month: str
    line: str
    currency: str
    count: int
    paid_minor: int
    returned_minor: int

    @property
    def net_minor(self) -> int:
        """What the month left; below zero when more went back than came in."""
        return self.paid_minor - self.returned_minor


@dataclass(frozen=True, slots=True)
class Conversion:
    """How many orders of a line were placed in the months shown, and how many of them were paid."""

    line: str
    placed_count: int
    paid_count: int

    @property
    def paid_percent(self) -> int:
        """The share that was paid, rounded down."""
        return self.paid_count * 100 // self.placed_count


def month_starts(at: datetime, count: int = MONTHS) -> list[tuple[str, datetime]]:
    """The last months, oldest first, each with the instant it begins where the business is."""
    zone = settings.business_zone()
    today = at.astimezone(zone)
    last = today.year * 12 + today.month - 1
    found = []
    for number in range(last - count + 1, last + 1):
        year, month = divmod(number, 12)
        begins = datetime(year, month + 1, 1, tzinfo=zone).astimezone(UTC)
        found.append((f"{year:04}-{month + 1:02}", begins))
    return found


def recurring_months(at: datetime) -> dict[str, list[RecurringMonth]]:
    """Recurring revenue by currency, the last months, oldest first; a currency that never had any is left out."""
    rows = db.session.scalars(select(SubscriptionMonth).order_by(SubscriptionMonth.month)).all()
    by_currency: dict[str, dict[str, SubscriptionMonth]] = defaultdict(dict)
    for row in rows:
        by_currency[row.currency][row.month] = row
    shown = [month for month, _begins in month_starts(at)]
    return {currency: _sum_up(currency, months, shown) for currency, months in sorted(by_currency.items())}


def _sum_up(currency: str, months: dict[str, SubscriptionMonth], shown: Sequence[str]) -> list[RecurringMonth]:
    earlier = [row for month, row in months.items() if month < shown[0]]
    running = sum(row.started_count - row.ended_count for row in earlier)
    revenue = sum(row.added_minor - row.lost_minor for row in earlier)
    found = []
    for month in shown:
        row, began_with = months.get(month), running
        started, ended = (row.started_count, row.ended_count) if row is not None else (0, 0)
        running += started - ended
        revenue += row.added_minor - row.lost_minor if row is not None else 0
        churn = ended * 10_000 // began_with if began_with else None
        found.append(RecurringMonth(month, currency, started, ended, running, revenue, churn))
    return found


def grace_count(limit: int = 100) -> int:
    """How many subscriptions wait for a payment; no more than `limit` are counted."""
    waiting = select(Subscription.id).where(Subscription.grace_ends_at.is_not(None)).limit(limit).subquery()
    return db.session.scalar(select(func.count()).select_from(waiting)) or 0


def sales(at: datetime) -> list[Sales]:
    """What each line took in the last months, by the day on which the money came or went back."""
    month = func.substr(SalesDay.day, 1, 7)
    amount = SalesDay.amount_minor
    found = db.session.execute(
        select(
            month.label("month"),
            SalesDay.line,
            SalesDay.currency,
            func.sum(case((SalesDay.is_return, 0), else_=SalesDay.count)),
            func.sum(case((SalesDay.is_return, 0), else_=amount)),
            func.sum(case((SalesDay.is_return, amount), else_=0)),
        )
        .where(SalesDay.day >= f"{month_starts(at)[0][0]}-01", SalesDay.mode == settings.current().payment_mode)
        # By its name: PostgreSQL takes an expression with values in it for another one when it stands twice.
        .group_by("month", SalesDay.line, SalesDay.currency)
    )
    rows = [Sales(when, line, currency, *map(int, sums)) for when, line, currency, *sums in found]
    return sorted(rows, key=lambda one: (one.month, one.line, one.currency))


def conversions(at: datetime) -> list[Conversion]:
    """How many of the orders that were placed in the last months were paid, by line; of the newest, when there are
    more of them than say anything new."""
    newest = (
        select(Order.id, Order.payment_status)
        .where(Order.placed_at >= month_starts(at)[0][1])
        .order_by(Order.placed_at.desc())
        .limit(MOST_ORDERS)
        .subquery()
    )
    is_paid = case((newest.c.payment_status != PaymentStatus.PENDING, 1), else_=0)
    found = db.session.execute(
        select(OrderLine.kind, func.count(), func.sum(is_paid))
        .join(newest, newest.c.id == OrderLine.order_id)
        .where(OrderLine.position == 1)
        .group_by(OrderLine.kind)
    )
    return sorted((Conversion(kind.value, placed, int(paid)) for kind, placed, paid in found), key=lambda one: one.line)
