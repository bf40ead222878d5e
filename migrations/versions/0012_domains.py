"""Customers' own domains: what was seen of them, their certificates, and our accounts at certificate authorities."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_REASONS = (
    "no_proof",
    "no_address",
    "elsewhere",
    "dns_away",
    "taken",
    "caa",
    "unreachable",
    "authority_refused",
    "authority_limits",
    "authority_away",
    "nginx_refused",
    "not_served",
    "expired",
    "site_off",
)


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _words(name: str, *values: str) -> sa.Enum:
    return sa.Enum(*values, name=name, native_enum=False, create_constraint=True, length=32)


def upgrade() -> None:
    op.create_table(
        "acme_accounts",
        sa.Column("id", _number(), nullable=False),
        sa.Column("directory_url", sa.String(length=255), nullable=False),
        sa.Column("key_sealed", sa.Text(), nullable=False),
        sa.Column("thumbprint", sa.String(length=43), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acme_accounts")),
        sa.UniqueConstraint("directory_url", name=op.f("uq_acme_accounts_directory_url")),
    )
    op.create_table(
        "domains",
        sa.Column("id", _number(), nullable=False),
        sa.Column("site_id", _number(), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("token", sa.String(length=43), nullable=False),
        sa.Column(
            "status",
            _words("domain_status", "requested", "verified", "issuing", "live", "failing"),
            nullable=False,
        ),
        sa.Column("reason", _words("domain_reason", *_REASONS), nullable=True),
        sa.Column("reason_detail", sa.Text(), nullable=False),
        sa.Column("proven_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("live_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", _number(), nullable=False),
        sa.Column("attempted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("no_attempt_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("certificate_id", _number(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["site_id"], ["sites.id"], name=op.f("fk_domains_site_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domains")),
    )
    with op.batch_alter_table("domains") as batch_op:
        batch_op.create_index(
            "ix_domains_due",
            ["next_check_at"],
            unique=False,
            postgresql_where=sa.text("removed_at IS NULL"),
            sqlite_where=sa.text("removed_at IS NULL"),
        )
        batch_op.create_index("ix_domains_status", ["status", "id"], unique=False)
        batch_op.create_index(
            "uq_domains_proven",
            ["name"],
            unique=True,
            postgresql_where=sa.text("removed_at IS NULL AND proven_at IS NOT NULL"),
            sqlite_where=sa.text("removed_at IS NULL AND proven_at IS NOT NULL"),
        )
        batch_op.create_index(
            "uq_domains_site",
            ["site_id"],
            unique=True,
            postgresql_where=sa.text("removed_at IS NULL"),
            sqlite_where=sa.text("removed_at IS NULL"),
        )

    op.create_table(
        "domain_checks",
        sa.Column("id", _number(), nullable=False),
        sa.Column("domain_id", _number(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sightings", sa.JSON(), nullable=False),
        sa.Column("is_proven", sa.Boolean(), nullable=False),
        sa.Column("is_pointing", sa.Boolean(), nullable=False),
        sa.Column("reason", _words("domain_check_reason", *_REASONS), nullable=True),
        sa.Column("reason_detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_domain_checks_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_checks")),
    )
    with op.batch_alter_table("domain_checks") as batch_op:
        batch_op.create_index(batch_op.f("ix_domain_checks_domain_id"), ["domain_id"], unique=False)

    op.create_table(
        "domain_certificates",
        sa.Column("id", _number(), nullable=False),
        sa.Column("domain_id", _number(), nullable=False),
        sa.Column("chain_pem", sa.Text(), nullable=False),
        sa.Column("key_sealed", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("renew_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["domain_id"], ["domains.id"], name=op.f("fk_domain_certificates_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain_certificates")),
    )
    with op.batch_alter_table("domain_certificates") as batch_op:
        batch_op.create_index(batch_op.f("ix_domain_certificates_domain_id"), ["domain_id"], unique=False)


def downgrade() -> None:
    op.drop_table("domain_certificates")
    op.drop_table("domain_checks")
    op.drop_table("domains")
    op.drop_table("acme_accounts")
