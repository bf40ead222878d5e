"""Model files, the price book, quotes, sales orders, photos and shipments."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_files",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("format", sa.String(length=3), nullable=False),
        sa.Column("size_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("storage_name", sa.String(length=120), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "uploaded",
                "measured",
                "quarantined",
                "destroyed",
                name="model_file_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("unit", sa.String(length=5), nullable=True),
        sa.Column("outcome", sa.String(length=8), nullable=True),
        sa.Column("measures", sa.JSON(), nullable=False),
        sa.Column("picture_name", sa.String(length=120), nullable=True),
        sa.Column("mesh_name", sa.String(length=120), nullable=True),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("virus", sa.String(length=120), nullable=True),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("destroyed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("format IN ('3mf', 'stl', 'obj')", name=op.f("ck_model_files_format")),
        sa.CheckConstraint("size_bytes > 0", name=op.f("ck_model_files_size_positive")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_model_files_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_files")),
        sa.UniqueConstraint("public_id", name=op.f("uq_model_files_public_id")),
        sa.UniqueConstraint("storage_name", name=op.f("uq_model_files_storage_name")),
    )
    with op.batch_alter_table("model_files") as batch_op:
        batch_op.create_index(batch_op.f("ix_model_files_sha256"), ["sha256"], unique=False)
        batch_op.create_index(
            "ix_model_files_to_measure",
            ["id"],
            unique=False,
            postgresql_where=sa.text("status = 'uploaded'"),
            sqlite_where=sa.text("status = 'uploaded'"),
        )
        batch_op.create_index("ix_model_files_user", ["user_id", "id"], unique=False)

    op.create_table(
        "price_book_versions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.Column("based_on", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_by", sa.String(length=255), nullable=True),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("number > 0", name=op.f("ck_price_book_versions_number_positive")),
        sa.ForeignKeyConstraint(["created_by_id"], ["users.id"], name=op.f("fk_price_book_versions_created_by_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price_book_versions")),
        sa.UniqueConstraint("number", name=op.f("uq_price_book_versions_number")),
    )
    with op.batch_alter_table("price_book_versions") as batch_op:
        batch_op.create_index("ix_price_book_versions_published_at", ["published_at"], unique=False)

    op.create_table(
        "model_accesses",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["model_file_id"], ["model_files.id"], name=op.f("fk_model_accesses_model_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_accesses")),
    )
    with op.batch_alter_table("model_accesses") as batch_op:
        batch_op.create_index("ix_model_accesses_file", ["model_file_id", "id"], unique=False)

    op.create_table(
        "quotes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.String(length=24), nullable=True),
        sa.Column("token_hash", sa.String(length=64), nullable=True),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "status",
            sa.Enum(
                "draft",
                "pending",
                "accepted",
                "rejected",
                "cancelled",
                name="quote_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("locale", sa.String(length=8), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("rush", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("price_book_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("pricing", sa.JSON(), nullable=False),
        sa.Column("computed_total_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("total_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("override_reason", sa.Text(), nullable=True),
        sa.Column("review_reasons", sa.JSON(), nullable=False),
        sa.Column("staff_message", sa.Text(), nullable=False),
        sa.Column("reject_reason", sa.Text(), nullable=False),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("approved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("converted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requote_of_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint("status = 'draft' OR number IS NOT NULL", name=op.f("ck_quotes_numbered")),
        sa.CheckConstraint(
            "total_minor >= 0 AND computed_total_minor >= 0", name=op.f("ck_quotes_totals_not_negative")
        ),
        sa.ForeignKeyConstraint(["price_book_id"], ["price_book_versions.id"], name=op.f("fk_quotes_price_book_id")),
        sa.ForeignKeyConstraint(["requote_of_id"], ["quotes.id"], name=op.f("fk_quotes_requote_of_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_quotes_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quotes")),
        sa.UniqueConstraint("number", name=op.f("uq_quotes_number")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_quotes_token_hash")),
    )
    with op.batch_alter_table("quotes") as batch_op:
        batch_op.create_index("ix_quotes_expires_at", ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_quotes_price_book_id"), ["price_book_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_quotes_requote_of_id"), ["requote_of_id"], unique=False)
        batch_op.create_index(
            "ix_quotes_review",
            ["submitted_at", "id"],
            unique=False,
            postgresql_where=sa.text("status = 'pending' AND approved_at IS NULL"),
            sqlite_where=sa.text("status = 'pending' AND approved_at IS NULL"),
        )
        batch_op.create_index("ix_quotes_status", ["status", "id"], unique=False)
        batch_op.create_index("ix_quotes_user", ["user_id", "id"], unique=False)

    op.create_table(
        "quote_items",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("quote_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("model_file_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("revision_of_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("material", sa.String(length=32), nullable=False),
        sa.Column("colour", sa.String(length=32), nullable=False),
        sa.Column("finish", sa.String(length=32), nullable=False),
        sa.Column("infill_percent", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("quantity", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("unit_price_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("total_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.CheckConstraint("infill_percent BETWEEN 0 AND 100", name=op.f("ck_quote_items_infill")),
        sa.CheckConstraint("quantity BETWEEN 1 AND 10000", name=op.f("ck_quote_items_quantity")),
        sa.ForeignKeyConstraint(["model_file_id"], ["model_files.id"], name=op.f("fk_quote_items_model_file_id")),
        sa.ForeignKeyConstraint(["quote_id"], ["quotes.id"], name=op.f("fk_quote_items_quote_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["revision_of_id"], ["model_files.id"], name=op.f("fk_quote_items_revision_of_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quote_items")),
        sa.UniqueConstraint("quote_id", "position", name=op.f("uq_quote_items_quote_id_position")),
    )
    with op.batch_alter_table("quote_items") as batch_op:
        batch_op.create_index(batch_op.f("ix_quote_items_model_file_id"), ["model_file_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_quote_items_revision_of_id"), ["revision_of_id"], unique=False)

    op.create_table(
        "sales_orders",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("quote_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("user_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "pending",
                "confirmed",
                "in_production",
                "quality_check",
                "shipped",
                "delivered",
                "completed",
                "on_hold",
                "cancelled",
                name="sales_order_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("held_from", sa.String(length=32), nullable=True),
        sa.Column("frozen", sa.JSON(), nullable=False),
        sa.Column("machine_minutes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rush", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("shipping_address", sa.JSON(), nullable=False),
        sa.Column("deposit_basis_points", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("promised_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("production_started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("actual_completion_date", sa.Date(), nullable=True),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tracking_key", sa.String(length=43), nullable=False),
        sa.CheckConstraint("deposit_basis_points BETWEEN 1 AND 10000", name=op.f("ck_sales_orders_deposit")),
        sa.CheckConstraint("machine_minutes >= 0", name=op.f("ck_sales_orders_machine_minutes")),
        sa.CheckConstraint("(status = 'on_hold') = (held_from IS NOT NULL)", name=op.f("ck_sales_orders_held_from")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_sales_orders_order_id")),
        sa.ForeignKeyConstraint(["quote_id"], ["quotes.id"], name=op.f("fk_sales_orders_quote_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sales_orders_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sales_orders")),
        sa.UniqueConstraint("order_id", name=op.f("uq_sales_orders_order_id")),
        sa.UniqueConstraint("quote_id", name=op.f("uq_sales_orders_quote_id")),
    )
    with op.batch_alter_table("sales_orders") as batch_op:
        batch_op.create_index(
            "ix_sales_orders_board",
            ["status", "promised_at", "id"],
            unique=False,
            postgresql_where=sa.text("status NOT IN ('completed', 'cancelled')"),
            sqlite_where=sa.text("status NOT IN ('completed', 'cancelled')"),
        )
        batch_op.create_index("ix_sales_orders_status", ["status", "id"], unique=False)
        batch_op.create_index("ix_sales_orders_user", ["user_id", "id"], unique=False)

    op.create_table(
        "production_photos",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("sales_order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("storage_name", sa.String(length=120), nullable=False),
        sa.Column("caption", sa.String(length=200), nullable=False),
        sa.Column("taken_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sales_order_id"], ["sales_orders.id"], name=op.f("fk_production_photos_sales_order_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_production_photos")),
        sa.UniqueConstraint("public_id", name=op.f("uq_production_photos_public_id")),
        sa.UniqueConstraint("storage_name", name=op.f("uq_production_photos_storage_name")),
    )
    with op.batch_alter_table("production_photos") as batch_op:
        batch_op.create_index(batch_op.f("ix_production_photos_sales_order_id"), ["sales_order_id"], unique=False)

    op.create_table(
        "shipments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("sales_order_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "draft",
                "buying",
                "ready",
                "in_transit",
                "delivered",
                "returned",
                "cancelled",
                name="shipment_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("carrier", sa.String(length=64), nullable=False),
        sa.Column("service", sa.String(length=64), nullable=False),
        sa.Column("tracking_number", sa.String(length=64), nullable=True),
        sa.Column("tracking_url", sa.String(length=2048), nullable=True),
        sa.Column("provider_reference", sa.String(length=64), nullable=True),
        sa.Column("tracker_reference", sa.String(length=64), nullable=True),
        sa.Column("parcel", sa.JSON(), nullable=False),
        sa.Column("rates", sa.JSON(), nullable=False),
        sa.Column("chosen_rate", sa.String(length=64), nullable=True),
        sa.Column("cost_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("cost_currency", sa.String(length=3), nullable=True),
        sa.Column("label_name", sa.String(length=120), nullable=True),
        sa.Column("label_url", sa.String(length=2048), nullable=True),
        sa.Column(
            "refund_status",
            sa.Enum(
                "none",
                "asking",
                "submitted",
                "refunded",
                "rejected",
                name="label_refund_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("carrier_state", sa.String(length=32), nullable=False),
        sa.Column("expected_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=True),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("check_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shipped_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("source IN ('easypost', 'by_hand')", name=op.f("ck_shipments_source")),
        sa.CheckConstraint(
            "cost_minor IS NULL OR cost_currency IS NOT NULL", name=op.f("ck_shipments_cost_has_currency")
        ),
        sa.ForeignKeyConstraint(["sales_order_id"], ["sales_orders.id"], name=op.f("fk_shipments_sales_order_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shipments")),
        sa.UniqueConstraint("provider_reference", name=op.f("uq_shipments_provider_reference")),
        sa.UniqueConstraint("public_id", name=op.f("uq_shipments_public_id")),
        sa.UniqueConstraint("tracker_reference", name=op.f("uq_shipments_tracker_reference")),
    )
    with op.batch_alter_table("shipments") as batch_op:
        batch_op.create_index(
            "ix_shipments_check_at",
            ["check_at"],
            unique=False,
            postgresql_where=sa.text("check_at IS NOT NULL"),
            sqlite_where=sa.text("check_at IS NOT NULL"),
        )
        batch_op.create_index(
            "ix_shipments_live",
            ["sales_order_id"],
            unique=True,
            postgresql_where=sa.text("status NOT IN ('cancelled', 'returned')"),
            sqlite_where=sa.text("status NOT IN ('cancelled', 'returned')"),
        )
        batch_op.create_index(batch_op.f("ix_shipments_sales_order_id"), ["sales_order_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_shipments_tracking_number"), ["tracking_number"], unique=False)

    op.create_table(
        "shipment_events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("shipment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("message", sa.String(length=255), nullable=False),
        sa.Column("place", sa.String(length=120), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["shipment_id"], ["shipments.id"], name=op.f("fk_shipment_events_shipment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shipment_events")),
        sa.UniqueConstraint("shipment_id", "key", name=op.f("uq_shipment_events_shipment_id_key")),
    )


def downgrade() -> None:
    op.drop_table("shipment_events")
    op.drop_table("shipments")
    op.drop_table("production_photos")
    op.drop_table("sales_orders")
    op.drop_table("quote_items")
    op.drop_table("quotes")
    op.drop_table("model_accesses")
    op.drop_table("price_book_versions")
    op.drop_table("model_files")
