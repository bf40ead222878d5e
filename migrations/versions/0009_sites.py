"""Hosted sites: their versions, the bytes these consist of, and deployments with their logs."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sites",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_id", sa.String(length=36), nullable=False),
        sa.Column("slug", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("summary", sa.String(length=300), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "preview", "owned", "active", name="site_status", native_enum=False, create_constraint=True, length=32
            ),
            nullable=False,
        ),
        sa.Column("owner_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("purchase_price_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("monthly_price_minor", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("current_version_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("last_version_number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("notes", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purged_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'preview') = (owner_id IS NULL)", name=op.f("ck_sites_owner")),
        sa.CheckConstraint("monthly_price_minor > 0", name=op.f("ck_sites_monthly_price_positive")),
        sa.CheckConstraint("purchase_price_minor > 0", name=op.f("ck_sites_purchase_price_positive")),
        sa.CheckConstraint("purged_at IS NULL OR deleted_at IS NOT NULL", name=op.f("ck_sites_purged_after_deleted")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_sites_owner_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sites")),
        sa.UniqueConstraint("public_id", name=op.f("uq_sites_public_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_sites_slug")),
    )
    with op.batch_alter_table("sites") as batch_op:
        batch_op.create_index(
            "ix_sites_deleted",
            ["deleted_at"],
            unique=False,
            postgresql_where=sa.text("deleted_at IS NOT NULL AND purged_at IS NULL"),
            sqlite_where=sa.text("deleted_at IS NOT NULL AND purged_at IS NULL"),
        )
        batch_op.create_index(batch_op.f("ix_sites_owner_id"), ["owner_id"], unique=False)
        batch_op.create_index("ix_sites_status", ["status", "id"], unique=False)

    op.create_table(
        "site_blobs",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("size_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_site_blobs_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_blobs")),
        sa.UniqueConstraint("name", name=op.f("uq_site_blobs_name")),
        sa.UniqueConstraint("site_id", "sha256", name=op.f("uq_site_blobs_site_id_sha256")),
    )
    op.create_table(
        "site_versions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("manifest_sha256", sa.String(length=64), nullable=False),
        sa.Column("storage_prefix", sa.String(length=80), nullable=False),
        sa.Column("preview_key", sa.String(length=32), nullable=False),
        sa.Column("file_count", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("size_bytes", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column(
            "origin",
            sa.Enum(
                "import",
                "upload",
                "edit",
                "change",
                "restore",
                name="site_version_origin",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("based_on_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("number > 0", name=op.f("ck_site_versions_number_positive")),
        sa.ForeignKeyConstraint(
            ["based_on_id"], ["site_versions.id"], name=op.f("fk_site_versions_based_on_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_site_versions_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_versions")),
        sa.UniqueConstraint("site_id", "number", name=op.f("uq_site_versions_site_id_number")),
    )
    with op.batch_alter_table("site_versions") as batch_op:
        batch_op.create_index("ix_site_versions_based_on", ["based_on_id"], unique=False)

    op.create_table(
        "deployments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("site_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("version_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("host", sa.String(length=16), nullable=False),
        sa.Column(
            "status",
            sa.Enum(
                "queued",
                "running",
                "live",
                "failed",
                "rolled_back",
                "superseded",
                name="deployment_status",
                native_enum=False,
                create_constraint=True,
                length=32,
            ),
            nullable=False,
        ),
        sa.Column("release", sa.String(length=60), nullable=True),
        sa.Column("previous_release", sa.String(length=60), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("asked_by", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_deployments_site_id")),
        sa.ForeignKeyConstraint(["version_id"], ["site_versions.id"], name=op.f("fk_deployments_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployments")),
    )
    with op.batch_alter_table("deployments") as batch_op:
        batch_op.create_index("ix_deployments_site", ["site_id", "host", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_deployments_version_id"), ["version_id"], unique=False)
        batch_op.create_index(
            "uq_deployments_live",
            ["site_id", "host"],
            unique=True,
            postgresql_where=sa.text("status = 'live'"),
            sqlite_where=sa.text("status = 'live'"),
        )

    op.create_table(
        "deployment_steps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("deployment_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("step", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployments.id"], name=op.f("fk_deployment_steps_deployment_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployment_steps")),
    )
    with op.batch_alter_table("deployment_steps") as batch_op:
        batch_op.create_index(batch_op.f("ix_deployment_steps_deployment_id"), ["deployment_id"], unique=False)


def downgrade() -> None:
    op.drop_table("deployment_steps")
    op.drop_table("deployments")
    op.drop_table("site_versions")
    op.drop_table("site_blobs")
    op.drop_table("sites")
