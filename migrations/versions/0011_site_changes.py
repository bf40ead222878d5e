"""Changes that owners of sites ask for, and their drafts."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _words(name: str, *words: str) -> sa.Enum:
    return sa.Enum(*words, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    op.create_table(
        "site_changes",
        sa.Column("id", _ID, nullable=False),
        sa.Column("site_id", _ID, nullable=False),
        sa.Column("number", _ID, nullable=False),
        sa.Column("asked_by_id", _ID, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("page", sa.String(length=200), nullable=False),
        sa.Column("picture_name", sa.String(length=100), nullable=True),
        sa.Column("wish", sa.Text(), nullable=False),
        sa.Column(
            "status",
            _words("site_change_status", "received", "drafting", "preview_ready", "accepted", "declined", "live"),
            nullable=False,
        ),
        sa.Column("drafter", _words("site_change_drafter", "editor", "staff"), nullable=False),
        sa.Column("tries", _ID, nullable=False),
        sa.Column("draft_count", _ID, nullable=False),
        sa.Column(
            "trouble",
            _words("site_change_trouble", "away", "refused", "nonsense", "cannot", "risky"),
            nullable=True,
        ),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("version_id", _ID, nullable=True),
        sa.Column("version_number", _ID, nullable=True),
        sa.Column("accepted_count", _ID, nullable=True),
        sa.Column("piece_count", _ID, nullable=True),
        sa.Column("undone_by_number", _ID, nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("number > 0", name=op.f("ck_site_changes_number_positive")),
        sa.CheckConstraint(
            "status NOT IN ('accepted', 'live') OR version_number IS NOT NULL",
            name=op.f("ck_site_changes_decided_with_a_version"),
        ),
        sa.ForeignKeyConstraint(["asked_by_id"], ["users.id"], name=op.f("fk_site_changes_asked_by_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_site_changes_site_id")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["site_versions.id"], name=op.f("fk_site_changes_version_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_changes")),
        sa.UniqueConstraint("site_id", "number", name=op.f("uq_site_changes_site_id_number")),
    )
    with op.batch_alter_table("site_changes") as batch_op:
        batch_op.create_index(batch_op.f("ix_site_changes_asked_by_id"), ["asked_by_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_site_changes_version_id"), ["version_id"], unique=False)
        batch_op.create_index("ix_site_changes_status", ["status", "id"], unique=False)
        batch_op.create_index(
            "ix_site_changes_waiting",
            ["updated_at", "id"],
            unique=False,
            postgresql_where=sa.text("status IN ('received', 'drafting', 'accepted')"),
            sqlite_where=sa.text("status IN ('received', 'drafting', 'accepted')"),
        )

    op.create_table(
        "site_change_drafts",
        sa.Column("id", _ID, nullable=False),
        sa.Column("change_id", _ID, nullable=False),
        sa.Column("site_id", _ID, nullable=False),
        sa.Column("number", _ID, nullable=False),
        sa.Column("base_id", _ID, nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("pieces", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("preview_key", sa.String(length=32), nullable=False),
        sa.Column("author", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["base_id"], ["site_versions.id"], name=op.f("fk_site_change_drafts_base_id")),
        sa.ForeignKeyConstraint(["change_id"], ["site_changes.id"], name=op.f("fk_site_change_drafts_change_id")),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_site_change_drafts_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_site_change_drafts")),
        sa.UniqueConstraint("change_id", name=op.f("uq_site_change_drafts_change_id")),
    )
    with op.batch_alter_table("site_change_drafts") as batch_op:
        batch_op.create_index(batch_op.f("ix_site_change_drafts_base_id"), ["base_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_site_change_drafts_site_id"), ["site_id"], unique=False)


def downgrade() -> None:
    op.drop_table("site_change_drafts")
    op.drop_table("site_changes")
