"""What came in and went back, by day, with the sums of what there is already: without them the statistics would begin
today, and the check of these sums would find every day before wrong."""

from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from alembic import op
from flask import current_app

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    days = op.create_table(
        "sales_days",
        sa.Column("id", _number(), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("line", sa.String(length=32), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("mode", sa.String(length=4), nullable=False),
        sa.Column("is_return", sa.Boolean(), nullable=False),
        sa.Column("count", _number(), nullable=False),
        sa.Column("amount_minor", _number(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sales_days")),
        sa.UniqueConstraint(
            "day", "line", "currency", "mode", "is_return", name=op.f("uq_sales_days_day_line_currency_mode_is_return")
        ),
    )
    is_done = sa.text("succeeded_at IS NOT NULL")
    op.create_index(
        "ix_refunds_succeeded_at", "refunds", ["succeeded_at"], postgresql_where=is_done, sqlite_where=is_done
    )
    rows = [*_sums(*_PAYMENTS, is_return=False), *_sums(*_REFUNDS, is_return=True)]
    if rows:
        op.bulk_insert(days, rows)


def downgrade() -> None:
    op.drop_index("ix_refunds_succeeded_at", "refunds")
    op.drop_table("sales_days")


_payments = sa.table(
    "payments",
    sa.column("id"),
    sa.column("session_id"),
    sa.column("standing"),
    sa.column("amount_minor"),
    sa.column("received_at", sa.DateTime(timezone=True)),
)
_refunds = sa.table(
    "refunds",
    sa.column("payment_id"),
    sa.column("status"),
    sa.column("amount_minor"),
    sa.column("succeeded_at", sa.DateTime(timezone=True)),
)
_sessions = sa.table(
    "payment_sessions",
    sa.column("id"),
    sa.column("purpose"),
    sa.column("subject_id"),
    sa.column("currency"),
    sa.column("mode"),
)
_lines = sa.table("order_lines", sa.column("order_id"), sa.column("position"), sa.column("kind"))
_sold = _payments.join(_sessions, _sessions.c.id == _payments.c.session_id).outerjoin(
    _lines,
    sa.and_(_sessions.c.purpose == "order", _lines.c.order_id == _sessions.c.subject_id, _lines.c.position == 1),
)
_PAYMENTS = (_sold, _payments.c.received_at, _payments.c.amount_minor, sa.true())
_REFUNDS = (
    _sold.join(_refunds, _refunds.c.payment_id == _payments.c.id),
    _refunds.c.succeeded_at,
    _refunds.c.amount_minor,
    _refunds.c.status == "succeeded",
)


def _sums(
    tables: sa.Join,
    at: sa.ColumnClause[datetime],
    amount: sa.ColumnClause[int],
    condition: sa.ColumnElement[bool],
    *,
    is_return: bool,
) -> list[dict[str, object]]:
    zone = ZoneInfo(current_app.config["BUSINESS_TIMEZONE"])
    line = sa.func.coalesce(_lines.c.kind, _sessions.c.purpose)
    counts: Counter[tuple[str, ...]] = Counter()
    totals: Counter[tuple[str, ...]] = Counter()
    found = op.get_bind().execute(
        sa.select(at, line, _sessions.c.currency, _sessions.c.mode, amount)
        .select_from(tables)
        .where(_payments.c.standing == "counted", condition)
        .execution_options(yield_per=1000)
    )
    for instant, *named, amount_minor in found:
        # SQLite keeps instants in UTC and does not say so.
        aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
        key = (f"{aware.astimezone(zone):%Y-%m-%d}", *named)
        counts[key] += 1
        totals[key] += amount_minor
    return [
        {"day": day, "line": line, "currency": currency, "mode": mode, "is_return": is_return,
         "count": counts[day, line, currency, mode], "amount_minor": totals[day, line, currency, mode]}
        for day, line, currency, mode in sorted(counts)
    ]  # fmt: skip
