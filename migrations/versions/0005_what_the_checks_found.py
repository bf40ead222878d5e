"""What the checks found: broken invariants night by night, and asking the providers hour by hour."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invariant_runs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("found", sa.JSON(), nullable=False),
        sa.Column("new", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invariant_runs")),
        sa.UniqueConstraint("day", name=op.f("uq_invariant_runs_day")),
    )
    op.create_table(
        "provider_checks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("unanswered", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("found", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recoveries", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("recovered", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_provider_checks")),
        sa.UniqueConstraint("provider", "hour", name=op.f("uq_provider_checks_provider_hour")),
    )
    with op.batch_alter_table("provider_checks") as batch_op:
        batch_op.create_index("ix_provider_checks_hour", ["hour"], unique=False)

    with op.batch_alter_table("provider_events") as batch_op:
        batch_op.create_index(
            "ix_provider_events_asked",
            ["id"],
            unique=False,
            postgresql_where=sa.text("source = 'poll'"),
            sqlite_where=sa.text("source = 'poll'"),
        )
        batch_op.create_index("ix_provider_events_received_at", ["received_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("provider_events") as batch_op:
        batch_op.drop_index("ix_provider_events_received_at")
        batch_op.drop_index(
            "ix_provider_events_asked",
            postgresql_where=sa.text("source = 'poll'"),
            sqlite_where=sa.text("source = 'poll'"),
        )

    with op.batch_alter_table("provider_checks") as batch_op:
        batch_op.drop_index("ix_provider_checks_hour")

    op.drop_table("provider_checks")
    op.drop_table("invariant_runs")
