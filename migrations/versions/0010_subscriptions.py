"""Subscriptions with their periods and sums by month, and who is buying which site."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "subscription_months",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("started_count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ended_count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("added_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lost_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_months")),
        sa.UniqueConstraint("month", "currency", name=op.f("uq_subscription_months_month_currency")),
    )
    op.create_table(
        "subscriptions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("subject_kind", sa.String(length=16), nullable=False),
        sa.Column("subject_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "inactive",
                "active",
                "past_due",
                "cancelled",
                name="subscription_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("price_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("tax_rate_basis_points", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("interval_months", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("anchor_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("period_starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("origin_session_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("grace_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_notice_day", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("cancels_at_period_end", sa.Boolean(), nullable=False),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "end_cause",
            sa.Enum(
                "by_customer",
                "by_staff",
                "by_provider",
                "grace_over",
                name="subscription_end_cause",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("end_note", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(status = 'past_due') = (grace_ends_at IS NOT NULL)", name=op.f("ck_subscriptions_grace")),
        sa.CheckConstraint(
            "status = 'active' OR NOT cancels_at_period_end", name=op.f("ck_subscriptions_cancels_while_active")
        ),
        sa.CheckConstraint(
            "status = 'inactive' OR period_ends_at > period_starts_at", name=op.f("ck_subscriptions_period")
        ),
        sa.CheckConstraint("interval_months BETWEEN 1 AND 36", name=op.f("ck_subscriptions_interval")),
        sa.CheckConstraint("price_minor > 0", name=op.f("ck_subscriptions_price_positive")),
        sa.ForeignKeyConstraint(
            ["origin_session_id"], ["payment_sessions.id"], name=op.f("fk_subscriptions_origin_session_id")
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_subscriptions_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscriptions")),
        sa.UniqueConstraint("public_id", name=op.f("uq_subscriptions_public_id")),
        sa.UniqueConstraint("subject_kind", "subject_id", name=op.f("uq_subscriptions_subject_kind_subject_id")),
    )
    with op.batch_alter_table("subscriptions") as batch_op:
        batch_op.create_index(
            "ix_subscriptions_grace",
            ["grace_ends_at"],
            unique=False,
            postgresql_where=sa.text("grace_ends_at IS NOT NULL"),
            sqlite_where=sa.text("grace_ends_at IS NOT NULL"),
        )
        batch_op.create_index(batch_op.f("ix_subscriptions_origin_session_id"), ["origin_session_id"], unique=False)
        batch_op.create_index("ix_subscriptions_period_end", ["status", "period_ends_at"], unique=False)
        batch_op.create_index("ix_subscriptions_status", ["status", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_subscriptions_user_id"), ["user_id"], unique=False)

    op.create_table(
        "billing_periods",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("subscription_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("amount_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("session_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("paid_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_billing_periods_not_empty")),
        sa.ForeignKeyConstraint(["session_id"], ["payment_sessions.id"], name=op.f("fk_billing_periods_session_id")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscriptions.id"], name=op.f("fk_billing_periods_subscription_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billing_periods")),
        sa.UniqueConstraint("session_id", name=op.f("uq_billing_periods_session_id")),
        sa.UniqueConstraint("subscription_id", "starts_at", name=op.f("uq_billing_periods_subscription_id_starts_at")),
    )
    op.create_table(
        "site_purchases",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reserved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_site_purchases_order_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_site_purchases_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_purchases")),
        sa.UniqueConstraint("order_id", name=op.f("uq_site_purchases_order_id")),
    )
    with op.batch_alter_table("site_purchases") as batch_op:
        batch_op.create_index(
            "uq_site_purchases_standing",
            ["site_id"],
            unique=True,
            postgresql_where=sa.text("released_at IS NULL"),
            sqlite_where=sa.text("released_at IS NULL"),
        )


def downgrade() -> None:
    op.drop_table("site_purchases")
    op.drop_table("billing_periods")
    op.drop_table("subscriptions")
    op.drop_table("subscription_months")
