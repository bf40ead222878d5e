"""Deposits on chains: an address for each try, where it is watched, and what came."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_accounts",
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("next_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_chain_accounts")),
    )
    op.create_table(
        "chain_deposits",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=128), nullable=False),
        sa.Column("session_public_id", sa.String(length=64), nullable=False),
        sa.Column("attempt", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("address_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("address", sa.String(length=42), nullable=False),
        sa.Column("description", sa.String(length=200), nullable=False),
        sa.Column("amount_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("success_url", sa.Text(), nullable=False),
        sa.Column("cancel_url", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paid_network", sa.String(length=32), nullable=True),
        sa.Column("looked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_chain_deposits_amount_positive")),
        sa.ForeignKeyConstraint(["account"], ["chain_accounts.fingerprint"], name=op.f("fk_chain_deposits_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_deposits")),
        sa.UniqueConstraint("account", "address_index", name=op.f("uq_chain_deposits_account_address_index")),
        sa.UniqueConstraint("address", name=op.f("uq_chain_deposits_address")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_chain_deposits_idempotency_key")),
        sa.UniqueConstraint("reference", name=op.f("uq_chain_deposits_reference")),
    )
    with op.batch_alter_table("chain_deposits") as batch_op:
        batch_op.create_index("ix_chain_deposits_expires_at", ["expires_at", "id"], unique=False)

    op.create_table(
        "chain_watches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("deposit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("network", sa.String(length=32), nullable=False),
        sa.Column("chain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("token", sa.String(length=42), nullable=True),
        sa.Column("expected_units", sa.String(length=78), nullable=False),
        sa.Column("from_block", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("scanned_block", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.ForeignKeyConstraint(["deposit_id"], ["chain_deposits.id"], name=op.f("fk_chain_watches_deposit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_watches")),
        sa.UniqueConstraint("deposit_id", "network", name=op.f("uq_chain_watches_deposit_id_network")),
    )
    op.create_table(
        "chain_transfers",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("watch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("chain_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tx_hash", sa.String(length=66), nullable=False),
        sa.Column("log_index", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("block_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("units", sa.String(length=78), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("depth", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["watch_id"], ["chain_watches.id"], name=op.f("fk_chain_transfers_watch_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain_transfers")),
        sa.UniqueConstraint(
            "chain_id", "tx_hash", "log_index", name=op.f("uq_chain_transfers_chain_id_tx_hash_log_index")
        ),
    )
    with op.batch_alter_table("chain_transfers") as batch_op:
        batch_op.create_index(batch_op.f("ix_chain_transfers_watch_id"), ["watch_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("chain_transfers") as batch_op:
        batch_op.drop_index(batch_op.f("ix_chain_transfers_watch_id"))

    op.drop_table("chain_transfers")
    op.drop_table("chain_watches")
    with op.batch_alter_table("chain_deposits") as batch_op:
        batch_op.drop_index("ix_chain_deposits_expires_at")

    op.drop_table("chain_deposits")
    op.drop_table("chain_accounts")
