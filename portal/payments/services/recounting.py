"""Counting a day's sales anew from what they are sums of: payments that count, and refunds of such payments."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import Row, Select, select, type_coerce

from portal.core import audit, numbering
from portal.core.db import UTCDateTime, db
from portal.core.invariants import AlreadyRight
from portal.payments import credit_notes, hooks, invoices
from portal.payments.models import Payment, PaymentSession, Standing
from portal.payments.refund_models import Refund, RefundStatus
from portal.payments.sales_models import SalesDay
from portal.payments.services.sales import day_of, span_of

# When, currency, mode, amount and standing of money.
MoneyRow = Row[datetime, str, str, int, Standing]
MoneyRows = Select[datetime, str, str, int, Standing]
# Line of business, currency and mode.
_Key = tuple[str, str, str]


def came() -> MoneyRows:
    """Every payment."""
    return select(
        Payment.received_at, Payment.currency, PaymentSession.mode, Payment.amount_minor, Payment.standing
    ).join(PaymentSession, PaymentSession.id == Payment.session_id)


def went() -> MoneyRows:
    """Every refund that stands."""
    return (
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
    )


@dataclass
class _Sums:
    """How often, and how much, by key."""

    counts: Counter[_Key] = field(default_factory=Counter)
    totals: Counter[_Key] = field(default_factory=Counter)

    def facts(self) -> dict[str, list[int]]:
        """As the audit log keeps them."""
        return {" ".join(key): [self.counts[key], self.totals[key]] for key in sorted(self.counts)}


def recount_day(day: date, *, is_return: bool, by: str, at: datetime) -> None:
    """Write the sums of a day anew: of what came in, or of what went back. Raises AlreadyRight."""
    lines: dict[int, str] = {}
    # A payment's line never changes, so it is asked for before anybody has to wait.
    _count(day, lines, is_return=is_return)
    _hold_numbers(day, is_return=is_return, at=at)
    rows = _held(day, is_return=is_return)
    kept = _sums_of((row.line, row.currency, row.mode, row.count, row.amount_minor) for row in rows)
    counted = _count(day, lines, is_return=is_return)
    if kept == counted:
        raise AlreadyRight
    _write(rows, counted, day, is_return=is_return)
    audit.record(
        "sales.recounted",
        actor=by,
        subject=f"sales_days:{day}",
        before=kept.facts(),
        after=counted.facts(),
        detail="went back" if is_return else "came in",
    )


def _hold_numbers(day: date, *, is_return: bool, at: datetime) -> None:
    """Wait for whoever is adding to the day, and let nobody begin to.

    A payment is counted under the numbers of invoices, a refund under those of credit notes, and one that came back
    after all under those of the year in which it does. Whoever waits for a number from here on is not read, having
    committed nothing yet, and adds to what is written here.
    """
    if is_return:
        prefixes = [credit_notes.SERIES]
        years = {day.year, int(day_of(at)[:4])}
    else:
        prefixes = [invoices.SERIES, invoices.TEST_SERIES]
        years = {day.year}
    numbering.hold(prefixes, years)


def _held(day: date, *, is_return: bool) -> list[SalesDay]:
    """The rows of a day, held as well: money whose invoice was lost goes back without a number."""
    return list(
        db.session.scalars(
            select(SalesDay)
            .where(SalesDay.day == day.isoformat(), SalesDay.is_return.is_(is_return))
            .order_by(SalesDay.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )


def _count(day: date, lines: dict[int, str], *, is_return: bool) -> _Sums:
    """What a day's money adds up to; `lines` remembers the line of each session."""
    source, instant = (went(), Refund.succeeded_at) if is_return else (came(), Payment.received_at)
    begins, ends = span_of(day)
    found = db.session.execute(
        source.add_columns(PaymentSession).where(
            instant >= begins, instant < ends, Payment.standing == Standing.COUNTED
        )
    ).all()
    for *_money, session in found:
        if session.id not in lines:
            lines[session.id] = hooks.line_of(session)
    return _sums_of(
        (lines[session.id], currency, mode, 1, amount_minor)
        for _at, currency, mode, amount_minor, _standing, session in found
    )


def _sums_of(rows: Iterable[tuple[str, str, str, int, int]]) -> _Sums:
    sums = _Sums()
    for line, currency, mode, count, amount_minor in rows:
        if count or amount_minor:
            sums.counts[line, currency, mode] += count
            sums.totals[line, currency, mode] += amount_minor
    return sums


def _write(rows: list[SalesDay], counted: _Sums, day: date, *, is_return: bool) -> None:
    """Each row as it was counted; a key without money keeps its row, at nothing."""
    by_key = {(row.line, row.currency, row.mode): row for row in rows}
    for key in counted.counts.keys() - by_key.keys():
        line, currency, mode = key
        by_key[key] = SalesDay(day=day.isoformat(), line=line, currency=currency, mode=mode, is_return=is_return)
        db.session.add(by_key[key])
    for key, row in by_key.items():
        row.count, row.amount_minor = counted.counts[key], counted.totals[key]
    db.session.flush()
