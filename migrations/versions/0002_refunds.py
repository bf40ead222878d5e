"""Money that goes back: refunds, disputes, credit notes, and order lines whose licences went with them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "refunds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column(
            "origin",
            sa.Enum(
                "staff",
                "provider",
                "dispute",
                name="refund_origin",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "status",
            sa.Enum(
                "requested",
                "asking",
                "pending",
                "succeeded",
                "failed",
                name="refund_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column(
            "flag",
            sa.Enum(
                "failed",
                "elsewhere",
                "by_hand",
                "unanswered",
                name="refund_flag",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=True,
        ),
        sa.Column("amount_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column(
            "reason",
            sa.Enum(
                "requested_by_customer",
                "duplicate",
                "fraudulent",
                "other",
                name="refund_reason",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("line_ids", sa.JSON(), nullable=False),
        sa.Column("keeps_access", sa.Boolean(), nullable=False),
        sa.Column("request_key", sa.String(length=80), nullable=False),
        sa.Column("wish", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=128), nullable=False),
        sa.Column("provider_reference", sa.String(length=255), nullable=True),
        sa.Column("hand_reference", sa.String(length=200), nullable=True),
        sa.Column("given_on", sa.Date(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("asks", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("requested_by", sa.String(length=320), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_refunds_amount_positive")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_refunds_payment_id")),
        sa.ForeignKeyConstraint(["session_id"], ["payment_sessions.id"], name=op.f("fk_refunds_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refunds")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_refunds_idempotency_key")),
        sa.UniqueConstraint("request_key", "payment_id", name=op.f("uq_refunds_request_key_payment_id")),
    )
    with op.batch_alter_table("refunds") as batch_op:
        batch_op.create_index(
            "ix_refunds_flag",
            ["id"],
            unique=False,
            postgresql_where=sa.text("flag IS NOT NULL"),
            sqlite_where=sa.text("flag IS NOT NULL"),
        )
        batch_op.create_index("ix_refunds_origin", ["origin", "id"], unique=False)
        batch_op.create_index("ix_refunds_payment", ["payment_id", "id"], unique=False)
        batch_op.create_index("ix_refunds_provider", ["provider", "id"], unique=False)
        batch_op.create_index("ix_refunds_session", ["session_id", "id"], unique=False)
        batch_op.create_index("ix_refunds_status", ["status", "id"], unique=False)
        batch_op.create_index(
            "uq_refunds_reference",
            ["provider", "provider_reference"],
            unique=True,
            postgresql_where=sa.text("provider_reference IS NOT NULL"),
            sqlite_where=sa.text("provider_reference IS NOT NULL"),
        )

    op.create_table(
        "credit_notes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("invoice_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("refund_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("cancels_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("net_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tax_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("gross_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(cancels_id IS NULL) = (gross_minor > 0)", name=op.f("ck_credit_notes_direction")),
        sa.CheckConstraint("net_minor + tax_minor = gross_minor", name=op.f("ck_credit_notes_adds_up")),
        sa.ForeignKeyConstraint(["cancels_id"], ["credit_notes.id"], name=op.f("fk_credit_notes_cancels_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoices.id"], name=op.f("fk_credit_notes_invoice_id")),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name=op.f("fk_credit_notes_refund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
        sa.UniqueConstraint("cancels_id", name=op.f("uq_credit_notes_cancels_id")),
        sa.UniqueConstraint("number", name=op.f("uq_credit_notes_number")),
    )
    with op.batch_alter_table("credit_notes") as batch_op:
        batch_op.create_index("ix_credit_notes_invoice", ["invoice_id", "id"], unique=False)
        batch_op.create_index("ix_credit_notes_refund", ["refund_id", "id"], unique=False)
        batch_op.create_index(
            "uq_credit_notes_refund",
            ["refund_id"],
            unique=True,
            postgresql_where=sa.text("cancels_id IS NULL"),
            sqlite_where=sa.text("cancels_id IS NULL"),
        )

    op.create_table(
        "disputes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("payment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("session_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("provider", sa.String(length=32), nullable=False),
        sa.Column("provider_reference", sa.String(length=255), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "needs_response",
                "under_review",
                "won",
                "lost",
                "withdrawn",
                name="dispute_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("amount_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("reason", sa.String(length=255), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("refund_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_disputes_amount_positive")),
        sa.ForeignKeyConstraint(["payment_id"], ["payments.id"], name=op.f("fk_disputes_payment_id")),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name=op.f("fk_disputes_refund_id")),
        sa.ForeignKeyConstraint(["session_id"], ["payment_sessions.id"], name=op.f("fk_disputes_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_disputes")),
        sa.UniqueConstraint("provider", "provider_reference", name=op.f("uq_disputes_provider_provider_reference")),
        sa.UniqueConstraint("refund_id", name=op.f("uq_disputes_refund_id")),
    )
    with op.batch_alter_table("disputes") as batch_op:
        batch_op.create_index(
            "ix_disputes_open",
            ["due_at", "id"],
            unique=False,
            postgresql_where=sa.text("status IN ('needs_response', 'under_review')"),
            sqlite_where=sa.text("status IN ('needs_response', 'under_review')"),
        )
        batch_op.create_index("ix_disputes_payment", ["payment_id", "id"], unique=False)
        batch_op.create_index("ix_disputes_provider", ["provider", "id"], unique=False)
        batch_op.create_index("ix_disputes_session", ["session_id", "id"], unique=False)
        batch_op.create_index("ix_disputes_status", ["status", "id"], unique=False)

    op.create_table(
        "credit_note_lines",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("credit_note_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("invoice_line_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("description", sa.String(length=200), nullable=True),
        sa.Column("quantity", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("unit_gross_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tax_rate_basis_points", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("net_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("tax_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("gross_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.CheckConstraint("net_minor + tax_minor = gross_minor", name=op.f("ck_credit_note_lines_adds_up")),
        sa.ForeignKeyConstraint(
            ["credit_note_id"],
            ["credit_notes.id"],
            name=op.f("fk_credit_note_lines_credit_note_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["invoice_line_id"], ["invoice_lines.id"], name=op.f("fk_credit_note_lines_invoice_line_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_note_lines")),
        sa.UniqueConstraint("credit_note_id", "position", name=op.f("uq_credit_note_lines_credit_note_id_position")),
    )
    with op.batch_alter_table("credit_note_lines") as batch_op:
        batch_op.create_index(batch_op.f("ix_credit_note_lines_invoice_line_id"), ["invoice_line_id"], unique=False)

    op.create_table(
        "order_line_returns",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_line_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("refund_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("is_named", sa.Boolean(), nullable=False),
        sa.Column("had_access", sa.Boolean(), nullable=False),
        sa.Column("returned_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("restored_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["order_line_id"], ["order_lines.id"], name=op.f("fk_order_line_returns_order_line_id")
        ),
        sa.ForeignKeyConstraint(["refund_id"], ["refunds.id"], name=op.f("fk_order_line_returns_refund_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order_line_returns")),
    )
    with op.batch_alter_table("order_line_returns") as batch_op:
        batch_op.create_index(batch_op.f("ix_order_line_returns_refund_id"), ["refund_id"], unique=False)
        batch_op.create_index(
            "uq_order_line_returns_standing",
            ["order_line_id"],
            unique=True,
            postgresql_where=sa.text("restored_at IS NULL"),
            sqlite_where=sa.text("restored_at IS NULL"),
        )

    with op.batch_alter_table("payments") as batch_op:
        batch_op.add_column(
            sa.Column(
                "returned_minor",
                sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
                server_default="0",
                nullable=False,
            )
        )
        batch_op.create_check_constraint(
            op.f("ck_payments_returned_within_amount"), "returned_minor BETWEEN 0 AND amount_minor"
        )


def downgrade() -> None:
    with op.batch_alter_table("payments") as batch_op:
        batch_op.drop_constraint(op.f("ck_payments_returned_within_amount"), type_="check")
        batch_op.drop_column("returned_minor")

    with op.batch_alter_table("order_line_returns") as batch_op:
        batch_op.drop_index(
            "uq_order_line_returns_standing",
            postgresql_where=sa.text("restored_at IS NULL"),
            sqlite_where=sa.text("restored_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_order_line_returns_refund_id"))

    op.drop_table("order_line_returns")
    with op.batch_alter_table("credit_note_lines") as batch_op:
        batch_op.drop_index(batch_op.f("ix_credit_note_lines_invoice_line_id"))

    op.drop_table("credit_note_lines")
    with op.batch_alter_table("disputes") as batch_op:
        batch_op.drop_index("ix_disputes_status")
        batch_op.drop_index("ix_disputes_session")
        batch_op.drop_index("ix_disputes_provider")
        batch_op.drop_index("ix_disputes_payment")
        batch_op.drop_index(
            "ix_disputes_open",
            postgresql_where=sa.text("status IN ('needs_response', 'under_review')"),
            sqlite_where=sa.text("status IN ('needs_response', 'under_review')"),
        )

    op.drop_table("disputes")
    with op.batch_alter_table("credit_notes") as batch_op:
        batch_op.drop_index(
            "uq_credit_notes_refund",
            postgresql_where=sa.text("cancels_id IS NULL"),
            sqlite_where=sa.text("cancels_id IS NULL"),
        )
        batch_op.drop_index("ix_credit_notes_refund")
        batch_op.drop_index("ix_credit_notes_invoice")

    op.drop_table("credit_notes")
    with op.batch_alter_table("refunds") as batch_op:
        batch_op.drop_index(
            "uq_refunds_reference",
            postgresql_where=sa.text("provider_reference IS NOT NULL"),
            sqlite_where=sa.text("provider_reference IS NOT NULL"),
        )
        batch_op.drop_index("ix_refunds_status")
        batch_op.drop_index("ix_refunds_session")
        batch_op.drop_index("ix_refunds_provider")
        batch_op.drop_index("ix_refunds_payment")
        batch_op.drop_index("ix_refunds_origin")
        batch_op.drop_index(
            "ix_refunds_flag", postgresql_where=sa.text("flag IS NOT NULL"), sqlite_where=sa.text("flag IS NOT NULL")
        )

    op.drop_table("refunds")
