"""Payments that repeat, and prices to which tax is added.

Columns are added in place: a table that others refer to cannot be made anew on SQLite once it has rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_MONTHS = "repeat_months IS NULL OR repeat_months BETWEEN 1 AND 36"
_COLUMNS = (
    ("payment_sessions", "repeat_months"),
    ("payment_sessions", "origin_id"),
    ("payment_sessions", "subscription_reference"),
    ("sandbox_payments", "repeat_months"),
    ("sandbox_payments", "ended_at"),
    ("invoice_lines", "unit_net_minor"),
    ("credit_note_lines", "unit_net_minor"),
)


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    whole = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    op.execute(
        f"ALTER TABLE payment_sessions ADD COLUMN repeat_months {whole} "
        f"CONSTRAINT ck_payment_sessions_repeat_months CHECK ({_MONTHS})"
    )
    op.execute(
        f"ALTER TABLE payment_sessions ADD COLUMN origin_id {whole} "
        "CONSTRAINT fk_payment_sessions_origin_id REFERENCES payment_sessions (id)"
    )
    op.add_column("payment_sessions", sa.Column("subscription_reference", sa.String(length=255), nullable=True))
    op.create_index(
        "ix_payment_sessions_subscription",
        "payment_sessions",
        ["subscription_reference"],
        unique=False,
        postgresql_where=sa.text("subscription_reference IS NOT NULL"),
        sqlite_where=sa.text("subscription_reference IS NOT NULL"),
    )
    op.create_index(
        "ix_payment_sessions_origin",
        "payment_sessions",
        ["origin_id", "id"],
        unique=False,
        postgresql_where=sa.text("origin_id IS NOT NULL"),
        sqlite_where=sa.text("origin_id IS NOT NULL"),
    )
    op.add_column("sandbox_payments", sa.Column("repeat_months", number, nullable=True))
    op.add_column("sandbox_payments", sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("invoice_lines", sa.Column("unit_net_minor", number, nullable=True))
    op.add_column("credit_note_lines", sa.Column("unit_net_minor", number, nullable=True))


def downgrade() -> None:
    op.drop_index("ix_payment_sessions_origin", "payment_sessions")
    op.drop_index("ix_payment_sessions_subscription", "payment_sessions")
    for table, column in reversed(_COLUMNS):
        op.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
