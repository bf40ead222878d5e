"""Merchants: requests to become one, API keys, repeatable answers, customers' access links."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "merchant_requests",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("contact_email", sa.String(length=320), nullable=False),
        sa.Column("website", sa.String(length=300), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "requested",
                "approved",
                "declined",
                name="merchant_request_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_merchant_requests_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchant_requests")),
    )
    with op.batch_alter_table("merchant_requests") as batch_op:
        batch_op.create_index("ix_merchant_requests_status", ["status", "id"], unique=False)
        batch_op.create_index("ix_merchant_requests_user", ["user_id", "id"], unique=False)
        batch_op.create_index(
            "uq_merchant_requests_waiting",
            ["user_id"],
            unique=True,
            postgresql_where=sa.text("status = 'requested'"),
            sqlite_where=sa.text("status = 'requested'"),
        )

    op.create_table(
        "merchants",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("owner_user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("brand_name", sa.String(length=60), nullable=False),
        sa.Column("brand_color", sa.String(length=7), nullable=False),
        sa.Column("contact_email", sa.String(length=320), nullable=False),
        sa.Column("address", sa.String(length=300), nullable=False),
        sa.Column("tax_id", sa.String(length=32), nullable=False),
        sa.Column("tax_rate_basis_points", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("allowed_providers", sa.JSON(), nullable=False),
        sa.Column("return_hosts", sa.JSON(), nullable=False),
        sa.Column("webhook_url", sa.String(length=2048), nullable=False),
        sa.Column("first_key_mode", sa.String(length=4), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "active", "suspended", name="merchant_status", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("first_key_mode IN ('test', 'live')", name=op.f("ck_merchants_first_key_mode")),
        sa.CheckConstraint("tax_rate_basis_points BETWEEN 0 AND 10000", name=op.f("ck_merchants_tax_rate")),
        sa.ForeignKeyConstraint(["owner_user_id"], ["users.id"], name=op.f("fk_merchants_owner_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merchants")),
        sa.UniqueConstraint("owner_user_id", name=op.f("uq_merchants_owner_user_id")),
        sa.UniqueConstraint("public_id", name=op.f("uq_merchants_public_id")),
    )
    with op.batch_alter_table("merchants") as batch_op:
        batch_op.create_index("ix_merchants_contact", ["contact_email", "id"], unique=False)
        batch_op.create_index("ix_merchants_status", ["status", "id"], unique=False)

    op.create_table(
        "access_links",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("merchant_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_access_links_merchant_id")),
        sa.ForeignKeyConstraint(["session_id"], ["payment_sessions.id"], name=op.f("fk_access_links_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_links")),
        sa.UniqueConstraint("reference", name=op.f("uq_access_links_reference")),
        sa.UniqueConstraint("session_id", name=op.f("uq_access_links_session_id")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("merchant_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mode", sa.String(length=4), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=8), nullable=False),
        sa.Column("last_four", sa.String(length=4), nullable=False),
        sa.Column("label", sa.String(length=120), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("sealed_secret", sa.Text(), nullable=True),
        sa.Column("made_by_session_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("replaced_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_by", sa.String(length=320), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('test', 'live')", name=op.f("ck_api_keys_mode")),
        sa.ForeignKeyConstraint(
            ["made_by_session_id"], ["payment_sessions.id"], name=op.f("fk_api_keys_made_by_session_id")
        ),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_api_keys_merchant_id")),
        sa.ForeignKeyConstraint(["replaced_by_id"], ["api_keys.id"], name=op.f("fk_api_keys_replaced_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    with op.batch_alter_table("api_keys") as batch_op:
        batch_op.create_index("ix_api_keys_merchant", ["merchant_id", "id"], unique=False)
        batch_op.create_index(
            "ix_api_keys_sealed",
            ["created_at"],
            unique=False,
            postgresql_where=sa.text("sealed_secret IS NOT NULL"),
            sqlite_where=sa.text("sealed_secret IS NOT NULL"),
        )
        batch_op.create_index(
            "uq_api_keys_by_itself",
            ["merchant_id"],
            unique=True,
            postgresql_where=sa.text("made_by_session_id IS NOT NULL"),
            sqlite_where=sa.text("made_by_session_id IS NOT NULL"),
        )

    op.create_table(
        "repeatable_answers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("merchant_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("mode", sa.String(length=4), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("http_code", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"], name=op.f("fk_repeatable_answers_merchant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repeatable_answers")),
        sa.UniqueConstraint("merchant_id", "mode", "key", name=op.f("uq_repeatable_answers_merchant_id_mode_key")),
    )
    with op.batch_alter_table("repeatable_answers") as batch_op:
        batch_op.create_index(batch_op.f("ix_repeatable_answers_created_at"), ["created_at"], unique=False)

    with op.batch_alter_table("payment_sessions") as batch_op:
        batch_op.create_index(
            "ix_payment_sessions_merchant",
            ["merchant_id", "mode", "id"],
            unique=False,
            postgresql_where=sa.text("merchant_id IS NOT NULL"),
            sqlite_where=sa.text("merchant_id IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_payment_sessions_merchant_status",
            ["merchant_id", "mode", "status", "id"],
            unique=False,
            postgresql_where=sa.text("merchant_id IS NOT NULL"),
            sqlite_where=sa.text("merchant_id IS NOT NULL"),
        )


def downgrade() -> None:
    with op.batch_alter_table("payment_sessions") as batch_op:
        batch_op.drop_index(
            "ix_payment_sessions_merchant_status",
            postgresql_where=sa.text("merchant_id IS NOT NULL"),
            sqlite_where=sa.text("merchant_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_payment_sessions_merchant",
            postgresql_where=sa.text("merchant_id IS NOT NULL"),
            sqlite_where=sa.text("merchant_id IS NOT NULL"),
        )

    with op.batch_alter_table("repeatable_answers") as batch_op:
        batch_op.drop_index(batch_op.f("ix_repeatable_answers_created_at"))

    op.drop_table("repeatable_answers")
    with op.batch_alter_table("api_keys") as batch_op:
        batch_op.drop_index(
            "uq_api_keys_by_itself",
            postgresql_where=sa.text("made_by_session_id IS NOT NULL"),
            sqlite_where=sa.text("made_by_session_id IS NOT NULL"),
        )
        batch_op.drop_index(
            "ix_api_keys_sealed",
            postgresql_where=sa.text("sealed_secret IS NOT NULL"),
            sqlite_where=sa.text("sealed_secret IS NOT NULL"),
        )
        batch_op.drop_index("ix_api_keys_merchant")

    op.drop_table("api_keys")
    op.drop_table("access_links")
    with op.batch_alter_table("merchants") as batch_op:
        batch_op.drop_index("ix_merchants_status")
        batch_op.drop_index("ix_merchants_contact")

    op.drop_table("merchants")
    with op.batch_alter_table("merchant_requests") as batch_op:
        batch_op.drop_index(
            "uq_merchant_requests_waiting",
            postgresql_where=sa.text("status = 'requested'"),
            sqlite_where=sa.text("status = 'requested'"),
        )
        batch_op.drop_index("ix_merchant_requests_user")
        batch_op.drop_index("ix_merchant_requests_status")

    op.drop_table("merchant_requests")
