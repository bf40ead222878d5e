"""Adding to the sums of a day, in the transaction that makes them grow."""

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy.dialects import postgresql, sqlite

from portal.core.db import db, is_postgresql
from portal.core.settings import business_zone
from portal.payments import hooks
from portal.payments.models import PaymentSession
from portal.payments.sales_models import SalesDay

_KEY = ("day", "line", "currency", "mode", "is_return")


def day_of(at: datetime) -> str:
    """The day in which an instant lies where the business is, as "2026-11-30"."""
    return f"{at.astimezone(business_zone()):%Y-%m-%d}"


def span_of(day: date) -> tuple[datetime, datetime]:
    """When a day begins where the business is, and when the next one does."""
    begins, ends = (datetime.combine(one, time(), tzinfo=business_zone()) for one in (day, day + timedelta(days=1)))
    return begins.astimezone(UTC), ends.astimezone(UTC)


def count_payment(session: PaymentSession, *, at: datetime) -> None:
    """A session's money is here and counts."""
    _add(session, session.amount_minor, 1, at=at, is_return=False)


def count_return(session: PaymentSession, amount_minor: int, *, at: datetime) -> None:
    """Money that counted went back."""
    _add(session, amount_minor, 1, at=at, is_return=True)


def uncount_return(session: PaymentSession, amount_minor: int, *, at: datetime) -> None:
    """It came back after all; `at` is when it had been counted."""
    _add(session, -amount_minor, -1, at=at, is_return=True)


def _add(session: PaymentSession, amount_minor: int, count: int, *, at: datetime, is_return: bool) -> None:
    """Added up by the database: two at once both count."""
    insert = postgresql.insert if is_postgresql() else sqlite.insert
    row = insert(SalesDay).values(
        day=day_of(at), line=hooks.line_of(session), currency=session.currency, mode=session.mode,
        is_return=is_return, count=count, amount_minor=amount_minor,
    )  # fmt: skip
    added = {
        "count": SalesDay.count + row.excluded.count,
        "amount_minor": SalesDay.amount_minor + row.excluded.amount_minor,
    }
    db.session.execute(
        row.on_conflict_do_update(index_elements=_KEY, set_=added).execution_options(synchronize_session=False)
    )
