"""The other name of a domain's pair, what is proven of both, tries of whose end nobody has heard; damaged releases."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_STANDING = sa.text("removed_at IS NULL AND proven_at IS NOT NULL")


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _move_index(column: str) -> None:
    with op.batch_alter_table("domains") as batch_op:
        batch_op.drop_index("uq_domains_proven")
    with op.batch_alter_table("domains") as batch_op:
        batch_op.create_index(
            "uq_domains_proven", [column], unique=True, postgresql_where=_STANDING, sqlite_where=_STANDING
        )


def upgrade() -> None:
    with op.batch_alter_table("domains") as batch_op:
        batch_op.add_column(sa.Column("twin", sa.String(length=253), nullable=True))
        batch_op.add_column(sa.Column("proof_of", sa.String(length=253), nullable=True))
        batch_op.add_column(sa.Column("is_twin_pointing", sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column("unfinished", _number(), nullable=False, server_default="0"))
    # What was asked for before stays the one name that it was.
    op.execute("UPDATE domains SET proof_of = name")
    with op.batch_alter_table("domains") as batch_op:
        batch_op.alter_column("proof_of", existing_type=sa.String(length=253), nullable=False)
    _move_index("proof_of")
    with op.batch_alter_table("domain_certificates") as batch_op:
        batch_op.add_column(sa.Column("has_twin", sa.Boolean(), nullable=False, server_default=sa.false()))
    with op.batch_alter_table("deployments") as batch_op:
        batch_op.add_column(sa.Column("inspected_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("damaged_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("deployments") as batch_op:
        batch_op.drop_column("damaged_at")
        batch_op.drop_column("inspected_at")
    with op.batch_alter_table("domain_certificates") as batch_op:
        batch_op.drop_column("has_twin")
    _move_index("name")
    with op.batch_alter_table("domains") as batch_op:
        for column in ("unfinished", "is_twin_pointing", "proof_of", "twin"):
            batch_op.drop_column(column)
